"""Read a run folder for the report: what its events say of its sessions."""

import json
from pathlib import Path
from typing import Any

import pytest

from expkit.records.epochs import Epoch
from expkit.records.report.curves import run_charts
from expkit.records.report.report import _environment, _figures, _record, _subtitle
from expkit.records.run_folder import RunFolder


def test_a_run_that_was_killed_and_gone_on_with_lasted_as_long_as_all_its_sessions(tmp_path: Path) -> None:
    moments = [("started", "00"), ("checkpoint", "07"), ("resumed", "30"), ("checkpoint", "40"), ("ended", "41")]
    events = [{"time": f"2026-01-01T10:00:{second}+00:00", "event": event} for event, second in moments]
    events.insert(2, {"time": "yesterday", "event": "checkpoint"})
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "result.json").write_text('{"seconds": 12.5}')
    run = RunFolder(tmp_path)
    assert run.sessions() == [7, 11]
    assert ("duration", "20 s in 2 sessions") in _figures(run)


def test_a_run_that_was_left_alone_lasted_as_long_as_its_one_session(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"seconds": 12.5}')
    assert ("duration", "12 s") in _figures(RunFolder(tmp_path))


def test_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"status": "finished"}')
    (tmp_path / "result.json").write_text("{")
    (tmp_path / "metrics.jsonl").write_text(
        '{"kind": "step", "step": 1}\n{"kind": "epoch", "epoch": 0, "step": 2}\n[]\n'
    )
    run = RunFolder(tmp_path)
    assert (run.status, [(epoch.number, epoch.step) for epoch in run.epochs], run.problems) == (
        "finished",
        [(1, 2)],
        [],
    )
    assert (run.result, [point["step"] for point in run.points]) == ({}, [1, 2])
    assert [problem.split(":")[0] for problem in run.problems] == ["result.json is damaged", "metrics.jsonl"]
    assert "skipped 1 damaged line" in run.problems[1]


def test_nothing_of_a_folder_that_is_empty_is_known(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert (run.status, run.config, run.epochs, run.last_epoch()) == ("broken", {}, [], (0, {}))
    assert run.problems == ["record.json is missing", "config.yaml is missing"]


# file, key, value, whether a run may write the like, so that nothing is said of it
ODD: list[tuple[str, str, Any, bool]] = [
    *(("data.json", "train", {"images": value}, False) for value in (None, "8", [], {}, 0.5, 10**400)),
    *(("data.json", split, value, value is None) for split in ("train", "val") for value in (None, 8, [])),
    *(("data.json", key, value, value is None)
      for key in ("class_names", "notes", "changes") for value in (None, 8, {"cat": 0})),
    *(("result.json", key, value, value is None)
      for key in ("steps", "epochs", "seconds", "scores", "best") for value in (None, [8], {"x": "y"}, 10**400)),
    *(("result.json", "scores", value, False) for value in ({"val/loss": 10**400}, {"val/loss": None})),
    *(("env.json", "packages", value, value is None) for value in (None, 8, [])),
    *(("record.json", "rebuilt", value, True) for value in (None, 8, [8], [{}], [{"lost": 8}], [{"lost": {}}])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value", "is_usual"), ODD, ids=lambda part: str(part)[:20])
def test_what_is_of_another_kind_than_a_run_writes_is_left_out(
    name: str, key: str, value: Any, is_usual: bool, tmp_path: Path
) -> None:
    for file in ("record.json", "env.json", "config.yaml", "overrides.yaml", "metrics.jsonl"):
        (tmp_path / file).write_text("[]" if file == "overrides.yaml" else "{}" * (file != "metrics.jsonl"))
    (tmp_path / "data.json").write_text('{"train": {"images": 8}, "val": {"images": 2}}')
    facts = json.loads(path.read_text()) if (path := tmp_path / name).is_file() else {}
    path.write_text(json.dumps(facts | {key: value}))
    run = RunFolder(tmp_path)
    assert _record(run) + _figures(run) + _environment(run)
    assert _subtitle(run) is not None
    assert run.problems == ([] if is_usual else [f"{name} is damaged: `{key}` is left out"])


@pytest.mark.parametrize("value", [10**400, "x", None, [], {}, True], ids=lambda part: str(part)[:20])
@pytest.mark.parametrize("key", ["step", "epoch", "val/loss", "kind"])
def test_a_point_of_which_a_value_is_none_is_read_without_it(key: str, value: Any, tmp_path: Path) -> None:
    points = [{"kind": "epoch", "epoch": number, "step": 2 * number, "val/loss": 0.5} for number in range(2)]
    points[1][key] = value
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in points))
    run = RunFolder(tmp_path)
    assert (run.epochs[0], run.points[0]) == (Epoch(1, 0, {"val/loss": 0.5}), points[0])
    assert all(epoch.scores.get("val/loss", 0.5) == 0.5 for epoch in run.epochs)
    assert run_charts(run)
