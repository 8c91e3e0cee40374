"""python -m expkit.folds RUN...: the scores of k-fold cross-validation, with their mean and standard deviation."""

import argparse
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from expkit.command import mistakes_told, run_as_program
from expkit.differences import differences
from expkit.registry import ConfigError
from expkit.terminal import Console
from expkit.vetting import vet

Config = Mapping[str, Any]
Scores = dict[str, float]


@dataclass
class Folds:
    """The finished runs of one config, which differ in dataset.fold alone: fold -> its folder, fold -> its scores."""

    config: Config
    folders: dict[int, Path] = field(default_factory=dict)
    scores: dict[int, Scores] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """The folds of which no run is finished."""
        return [fold for fold in range(self.config["dataset"].get("folds", 5)) if fold not in self.scores]

    def summary(self, score: str) -> tuple[float, float]:
        """Return a score's mean over the folds and its standard deviation (of a sample: n - 1), 0 for one fold."""
        values = [scores[score] for scores in self.scores.values()]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def gather_folds(runs: Iterable[Path]) -> list[Folds]:
    """Return the finished runs that trained on a fold, those of one config together; a later one of a fold counts.

    runs: run folders. Raises ConfigError for a config or result that cannot be read.
    """
    found: list[Folds] = []
    for folder in runs:
        config, result = _read(folder / "config.yaml"), _read(folder / "result.json")
        fold = config.get("dataset", {}).get("fold")
        if fold is None or _read(folder / "record.json").get("status") != "finished":
            continue
        same = [one for one in found if _is_same(one.config, config)]
        if not same:
            same = [Folds(config)]
            found += same
        scores = {name: value for name, value in result["scores"].items() if name.startswith("val/")}
        if result.get("best_score") is not None:
            scores[f"best val/{result['monitor']}"] = result["best_score"]
        same[0].folders[fold], same[0].scores[fold] = folder, scores
    return found


def _is_same(one: Config, other: Config) -> bool:
    return all(change.kind == "free" or change.key == "dataset.fold" for change in differences(one, other))


def _read(path: Path) -> dict[str, Any]:
    try:
        vet(path, path.parent)
        found = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; give run folders") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: is no file of a run; give run folders")
    return found


def show_folds(runs: Iterable[Path]) -> bool:
    """Print a table for each config of which two folds or more are finished; returns whether there was one."""
    groups = [group for group in gather_folds(runs) if len(group.scores) > 1]
    for group in groups:
        told = ", ".join(_what_differs(group, groups))
        Console(highlight=False).print(table_of(group, f"{len(group.scores)} folds{': ' if told else ''}{told}"))
        if group.missing:
            print(f"not finished: {', '.join(f'dataset.fold={fold}' for fold in group.missing)}")
    return bool(groups)


def _what_differs(group: Folds, groups: Sequence[Folds]) -> list[str]:
    changes = [change for other in groups for change in differences(other.config, group.config)]
    kept = {change.key: change.ours for change in changes if change.kind != "free" and change.key != "dataset.fold"}
    return [f"{key}={value}" for key, value in kept.items()]


def table_of(group: Folds, title: str) -> Table:
    """Return a row for each fold, and one with mean ± standard deviation."""
    names = list(next(iter(group.scores.values())))
    table = Table("fold", *names, title=title, title_justify="left")
    for fold, scores in sorted(group.scores.items()):
        table.add_row(str(fold), *(f"{scores[name]:.4f}" for name in names))
    table.add_section()
    table.add_row("mean", *("{:.4f} ± {:.4f}".format(*group.summary(name)) for name in names))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m expkit.folds", description=__doc__)
    parser.add_argument("places", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of them")
    places: list[Path] = parser.parse_args(arguments).places
    with mistakes_told():
        runs = [path.parent for place in places for path in place.glob("**/result.json")]
        runs.sort(key=lambda folder: (folder / "record.json").stat().st_mtime_ns)
        if not show_folds(runs):
            raise ConfigError(
                "folds: there are no two finished folds of one config here; python -m expkit.run -m"
                " 'dataset.fold=range(5)' trains all"
            )


if __name__ == "__main__":
    run_as_program(main)
