"""python -m expkit folds RUN...: scores of k-fold cross-validation, with mean and standard deviation."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from expkit.config.diff import differences
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.core.terminal import Console
from expkit.records.epochs import best_of, mean_and_deviation, monitor_of, numbers
from expkit.records.run_folder import RunFolder

Config = Mapping[str, Any]
Scores = dict[str, float]
Seed = tuple[Any, ...]
_SEEDS = ("seed", "dataset.split_seed")


@dataclass
class Folds:
    """The finished runs of one config, which differ only in fold and seed.

    seeds: (seed, split seed) -> fold -> its scores, of the best checkpoint's epoch and of the last.
    """

    config: Config
    seeds: dict[Seed, dict[int, Scores]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of folds in the config."""
        found = self.config["dataset"].get("folds", 5)
        return found if isinstance(found, int) else 5

    @property
    def names(self) -> list[str]:
        """The columns; without the last epoch's if it is the best one in all folds."""
        rows = [scores for folds in self.seeds.values() for scores in folds.values()]
        names = list(dict.fromkeys(name for scores in rows for name in scores))
        best, last = ([name for name in names if name.startswith(f"{when} val/")] for when in ("best", "last"))
        same = all(scores.get(name) == scores.get(f"best{name[4:]}") for scores in rows for name in last)
        return ["best epoch"] * ("best epoch" in names) + best + ([] if same else last)

    @property
    def missing(self) -> list[str]:
        """The folds without a finished run, as overrides."""
        return [
            " ".join([*self.label(seed), f"dataset.fold={fold}"])
            for seed, folds in self.seeds.items()
            for fold in range(self.count)
            if fold not in folds
        ]

    def label(self, seed: Seed) -> list[str]:
        """Return the overrides that distinguish a seed's runs from the others, [] for a single seed."""
        several = [len({one[place] for one in self.seeds}) > 1 for place in range(2)]
        return [f"{key}={one}" for key, one, differs in zip(_SEEDS, seed, several, strict=True) if differs]

    def summary(self, score: str, seed: Seed) -> tuple[float, float]:
        """Return a score's mean and sample standard deviation over a seed's folds."""
        return mean_and_deviation([scores[score] for scores in self.seeds[seed].values() if score in scores])

    def over_seeds(self, score: str) -> tuple[float, float] | None:
        """Return mean and standard deviation of the means of seeds with all folds, None for fewer than two seeds."""
        whole = [seed for seed, folds in self.seeds.items() if len(folds) == self.count]
        return mean_and_deviation([self.summary(score, seed)[0] for seed in whole]) if len(whole) > 1 else None


def gather_folds(runs: Iterable[Path]) -> list[Folds]:
    """Return the finished runs of folds, grouped by config; of several runs of a fold the last counts.

    runs: run folders. Raises ConfigError for a config or result that cannot be read.
    """
    found: list[Folds] = []
    for run in map(RunFolder, runs):
        config, dataset = run.config, run.config.get("dataset")
        fold = dataset.get("fold") if isinstance(dataset, dict) else None
        is_finished = run.result and run.status == "finished"
        if run.problems:
            raise ConfigError(*(f"{run.path}: {problem}; give run folders" for problem in run.problems))
        if not isinstance(fold, int) or not is_finished:
            continue
        same = [one for one in found if not _what_differs(one.config, config)]
        if not same:
            same = [Folds(config)]
            found += same
        seeds = (config.get("seed"), config["dataset"].get("split_seed"))
        seed = tuple(one if isinstance(one, Hashable) else str(one) for one in seeds)
        same[0].seeds.setdefault(seed, {})[fold] = _scores(run)
    return found


def _scores(run: RunFolder) -> Scores:
    best = best_of(run.epochs, run.result, *monitor_of(run.result, run.config, run.epochs))
    scores: Scores = {"best epoch": best.number} if best else {}
    for when, found in (("best", best.scores if best else {}), ("last", numbers(run.result.get("scores")))):
        scores |= {f"{when} {name}": value for name, value in found.items() if name.startswith("val/")}
    return scores


def _what_differs(one: Config, other: Config) -> dict[str, Any]:
    """Return the differing settings of two configs, without fold and seed: key -> the other's."""
    changes = [change for change in differences(one, other) if change.key not in ("dataset.fold", *_SEEDS)]
    return {change.key: change.ours for change in changes if change.affects.what in ("result", "place")}


def show_folds(runs: Iterable[Path]) -> bool:
    """Print a table for each config with two or more finished folds; return True if there is one."""
    groups = [group for group in gather_folds(runs) if any(len(folds) > 1 for folds in group.seeds.values())]
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # lines of a pipe or file are not wrapped
    for group in groups:
        changed = {key: value for other in groups for key, value in _what_differs(other.config, group.config).items()}
        settings = ", ".join(f"{key}={value}" for key, value in changed.items())
        seeds = f", {len(group.seeds)} seeds" if len(group.seeds) > 1 else ""
        done = len({fold for folds in group.seeds.values() for fold in folds})
        console.print(table_of(group, f"{count_noun(done, 'fold')}{seeds}{': ' * bool(settings)}{settings}"))
        if group.missing:
            print(f"not finished: {', '.join(group.missing)}")
    return bool(groups)


def table_of(group: Folds, title: str) -> Table:
    """Return a table with a row for each fold, and one with mean ± standard deviation for each seed and for all."""
    names = group.names
    scores = [name for name in names if name != "best epoch"]
    several = len(group.seeds) > 1
    table = Table(*(["seed"] * several), "fold", *names, title=title, title_justify="left")
    for seed, folds in group.seeds.items():
        label = [", ".join(group.label(seed))] * several
        for fold, found in sorted(folds.items()):
            table.add_row(*label, str(fold), *(_text(found.get(name)) for name in names))
        means = ["{:.4f} ± {:.4f}".format(*group.summary(name, seed)) for name in scores]
        table.add_section()
        table.add_row(*label, "mean", *[""] * (len(names) - len(scores)), *means)
        table.add_section()
    over = [group.over_seeds(name) for name in scores]
    if all(over):
        means = ["{:.4f} ± {:.4f}".format(*one) for one in over if one]
        table.add_row("all", "mean", *[""] * (len(names) - len(scores)), *means)
    return table


def _text(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"
