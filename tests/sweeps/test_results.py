"""The ranking: seeds together, intervals against known values, ties, and what is written."""

import csv
import json
import math
from pathlib import Path

import pytest

from expkit.sweeps.job import Outcome, SweepJob, differing
from expkit.sweeps.results import grouped, last_epoch, quantile, write_results


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
    assert last_epoch(tmp_path) == (0, {})
    lines = [{"kind": "epoch", "epoch": 0, "val/loss": 2.0}, {"kind": "epoch", "epoch": 1, "val/loss": 1.0}]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "step", "epoch": 2}\n{"kind": "epo'
    (tmp_path / "metrics.jsonl").write_text(text)
    assert last_epoch(tmp_path)[0] == 2
    assert last_epoch(tmp_path)[1]["val/loss"] == 1.0


def test_what_sets_a_job_apart() -> None:
    assert differing(["model=a", "+x.y=3", "seed=1"], ["model", "+x.y"]) == {"model": "a", "x.y": "3"}
