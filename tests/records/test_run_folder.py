"""Read a run folder for the report: what its events say of its sessions."""

import json
from pathlib import Path

from expkit.records.report.report import _figures
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
    assert "1 damaged line passed over" in run.problems[1]


def test_nothing_of_a_folder_that_is_empty_is_known(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert (run.status, run.config, run.epochs, run.last_epoch()) == ("broken", {}, [], (0, {}))
    assert run.problems == ["record.json is missing", "config.yaml is missing"]
