"""The ranking: seeds together, intervals against known values, ties, and what is written."""

import csv
import io
import json
import math
from pathlib import Path

import pytest
import yaml

from expkit.core.terminal import Console
from expkit.records.run_folder import RunFolder
from expkit.sweeps.display import show_results
from expkit.sweeps.groups import grouped, quantile, rankings
from expkit.sweeps.job import Outcome, SweepJob, differing
from expkit.sweeps.results import take_result, write_results


def job(number: int, higher: bool = True, **differs: str) -> SweepJob:
    words = [f"{key}={value}" for key, value in differs.items()]
    config = {"seed": 0, "epochs": 3, "model": {"name": "x"}}
    return SweepJob(number, words, config, "", dict(differs), "accuracy", higher)


def sweep(scores: dict[str, list[float]], higher: bool = True) -> tuple[list[SweepJob], dict[int, Outcome]]:
    jobs, outcomes = [], {}
    for name, values in scores.items():
        for seed, value in enumerate(values):
            jobs.append(job(len(jobs), higher, model=name, seed=str(seed)))
            outcomes[jobs[-1].number] = Outcome("finished", score=value, scores={"val/accuracy": value})
    return jobs, outcomes


def test_mean_spread_and_interval() -> None:
    group = grouped(*sweep({"a": [0.2, 0.4, 0.9]}))[0]
    assert group.mean == pytest.approx(0.5)
    assert group.std == pytest.approx(0.360555, abs=1e-6)
    assert group.half == pytest.approx(0.895671, abs=1e-4)  # R: t.test(c(.2, .4, .9)) gives -0.3956709 to 1.3956709


def test_one_seed_has_no_interval() -> None:
    group = grouped(*sweep({"a": [0.2]}))[0]
    assert math.isnan(group.std)
    assert math.isnan(group.half)


@pytest.mark.parametrize(("higher", "order"), [(True, ["b", "a"]), (False, ["a", "b"])])
def test_the_best_comes_first(higher: bool, order: list[str]) -> None:
    groups = grouped(*sweep({"a": [0.1, 0.2], "b": [0.5, 0.6]}, higher))
    assert [group.differs["model"] for group in groups] == order


def test_ties_are_told_apart_seed_by_seed() -> None:
    far = [0.50, 0.70, 0.90]
    near = [value - 0.01 - number / 1000 for number, value in enumerate(far)]  # always a little worse
    mixed = [0.55, 0.60, 0.92]
    groups = {group.differs["model"]: group for group in grouped(*sweep({"far": far, "near": near, "mixed": mixed}))}
    assert not groups["far"].is_tied
    assert groups["mixed"].is_tied
    assert not groups["near"].is_tied  # though the intervals of the two means overlap almost wholly


def test_equal_scores_are_a_tie() -> None:
    assert [group.is_tied for group in grouped(*sweep({"a": [0.5], "b": [0.5], "c": [0.4]}))] == [False, True, False]


def test_what_is_not_finished_or_no_number_is_not_ranked() -> None:
    jobs, outcomes = sweep({"a": [0.5], "b": [math.nan], "c": [0.9]})
    outcomes[2].status = "failed"
    assert [group.differs["model"] for group in grouped(jobs, outcomes)] == ["a"]


def test_the_quantiles_of_student() -> None:
    assert [quantile(1), quantile(2), quantile(10), quantile(30), quantile(500)] == [12.706, 4.303, 2.228, 2.042, 2.042]


def test_tables_are_written(tmp_path: Path) -> None:
    jobs, outcomes = sweep({"a": [0.5, 0.7], "b, c": [0.1, 0.2]})
    outcomes[3] = Outcome("failed", reason='said "no", twice')
    write_results(tmp_path, jobs, outcomes)
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["a", "a", "b, c", "b, c"]
    assert rows[3]["reason"] == 'said "no", twice'
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["groups"][0]["mean"] == pytest.approx(0.6)
    assert found["monitor"] == "val/accuracy"


def test_the_last_epoch_of_a_run_that_goes_on(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).last_epoch() == (0, {})
    lines = [{"kind": "epoch", "epoch": 0, "val/loss": 2.0}, {"kind": "epoch", "epoch": 1, "val/loss": 1.0}]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "step", "epoch": 2}\n{"kind": "epo'
    (tmp_path / "metrics.jsonl").write_text(text)
    assert RunFolder(tmp_path).last_epoch()[0] == 2
    assert RunFolder(tmp_path).last_epoch()[1]["val/loss"] == 1.0


def test_what_sets_a_job_apart() -> None:
    assert differing(["model=a", "+x.y=3", "seed=1"], ["model", "+x.y"]) == {"model": "a", "x.y": "3"}


def measured(*jobs: tuple[dict[str, str], str, float]) -> tuple[list[SweepJob], dict[int, Outcome]]:
    """Return finished jobs of their swept values, monitor, and best score, which the third epoch had."""
    made, outcomes = [], {}
    for number, (differs, monitor, score) in enumerate(jobs):
        one = job(number, monitor != "loss", **differs)
        one.monitor = monitor
        one.scale = json.dumps({"images": differs["dataset"]}) if "dataset" in differs else ""
        made.append(one)
        scores = {f"val/{monitor}": score, "val/f1": score / 2}
        outcomes[number] = Outcome("finished", score=score, scores={"val/f1": 0.1}, best_scores=scores, best_epoch=3)
    return made, outcomes


def shown(jobs: list[SweepJob], outcomes: dict[int, Outcome], folder: Path) -> str:
    text = io.StringIO()
    show_results(Console(file=text, width=200), folder, jobs, outcomes, None)
    return text.getvalue()


@pytest.mark.parametrize("key", ["dataset.fold", "dataset.split_seed", "seed"])
def test_folds_count_like_seeds(key: str, tmp_path: Path) -> None:
    easy = [0.5, 0.9, 0.6]  # one fold is easy: the other model's best fold is below it, and its mean is above
    jobs, outcomes = measured(
        *(({"model": "a", key: str(number)}, "accuracy", score) for number, score in enumerate(easy)),
        *(({"model": "b", key: str(number)}, "accuracy", score) for number, score in enumerate([0.7, 0.8, 0.8])),
    )
    for one in jobs:
        one.config = {"seed": 0, "model": {"name": one.differs["model"]}, "dataset": {"name": "fake", "fold": 1}}
    best, other = grouped(jobs, outcomes)
    assert (best.differs, best.mean) == ({"model": "b"}, pytest.approx(0.7667, abs=1e-4))
    assert best.scores == {f"{key}=0": 0.7, f"{key}=1": 0.8, f"{key}=2": 0.8}
    assert other.is_tied
    write_results(tmp_path, jobs, outcomes)
    recipe = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert recipe == {"defaults": [{"override /model": "b"}], "dataset": {"fold": None}}
    kind = {"dataset.fold": "fold", "dataset.split_seed": "split", "seed": "seed"}[key]
    assert f"over 3 {kind}s: model=b" in (tmp_path / "best.yaml").read_text()
    assert f"{kind}s" in shown(jobs, outcomes, tmp_path)


def test_seeds_and_folds_together_are_one_row() -> None:
    tries = [{"model": "a", "seed": str(seed), "dataset.fold": str(fold)} for seed in (0, 1) for fold in (0, 1, 2)]
    jobs, outcomes = measured(*((one, "accuracy", number / 10) for number, one in enumerate(tries)))
    outcomes[5].status = "failed"
    (group,) = grouped(jobs, outcomes)
    assert (len(group.scores), group.planned, group.mean) == (5, 6, pytest.approx(0.2))
    assert "seed=1 dataset.fold=1" in group.scores
    assert "5 of 6" in shown(jobs, outcomes, Path())


@pytest.mark.parametrize(
    ("one", "other"),
    [(({"checkpoint.monitor": "loss"}, "loss"), ({"checkpoint.monitor": "accuracy"}, "accuracy")),
     (({"dataset": "mnist"}, "accuracy"), ({"dataset": "cifar10"}, "accuracy")),
     (({"task": "x"}, "map"), ({"task": "y"}, "accuracy"))],
    ids=["monitor", "dataset", "metric"],
)  # fmt: skip
def test_other_scores_and_other_images_have_a_ranking_of_their_own(
    one: tuple[dict[str, str], str], other: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    jobs, outcomes = measured(
        *(({"lr": str(lr), **differs}, monitor, 0.3 + lr / 10) for differs, monitor in (one, other) for lr in (1, 2))
    )
    first, second = rankings(jobs, outcomes)
    assert [len(first.groups), len(second.groups)] == [2, 2]
    assert [ranking.monitor for ranking in (first, second)] == [one[1], other[1]]
    assert first.groups[0].differs["lr"] == ("1" if one[1] == "loss" else "2")  # less of a loss is better
    write_results(tmp_path, jobs, outcomes)
    assert sorted(path.name for path in tmp_path.glob("best*")) == ["best_1.yaml", "best_2.yaml"]
    found = json.loads((tmp_path / "results.json").read_text())
    assert "monitor" not in found
    assert [group["ranking"] for group in found["groups"]] == [1, 1, 2, 2]
    text = shown(jobs, outcomes, tmp_path)
    assert "each kind has its own ranking" in text
    assert f"ranking 1 of 2: val/{one[1]}" in text
    assert f"ranking 2 of 2: val/{other[1]}" in text


def test_all_scores_of_a_row_are_of_one_epoch(tmp_path: Path) -> None:
    points = [{"kind": "epoch", "epoch": number, "step": 10 * number + 10, "val/accuracy": accuracy, "val/loss": loss}
              for number, (accuracy, loss) in enumerate([(0.5, 0.9), (0.8, 0.7), (0.6, 0.2)])]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    result = {"epochs": 3, "scores": {"val/accuracy": 0.6, "val/loss": 0.2}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / "record.json").write_text('{"status": "finished"}')
    outcome = Outcome("finished")
    take_result(outcome, tmp_path, "accuracy", True)
    assert (outcome.score, outcome.best_epoch, outcome.best_scores["val/loss"]) == (0.8, 2, 0.7)
    jobs = [job(0, model="a")]
    header, row = (line.split() for line in shown(jobs, {0: outcome}, tmp_path).splitlines()[:2])
    assert row[header.index("epoch") - 1] == "2"  # "best val/accuracy" is two words
    assert "0.7000" in row
    assert "0.2000" not in row
    write_results(tmp_path, jobs, {0: outcome})
    (found,) = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    names = ("monitor", "score", "best epoch", "best val/accuracy", "best val/loss", "last val/accuracy")
    assert [found[name] for name in names] == ["val/accuracy", "0.8", "2", "0.8", "0.7", "0.6"]
