"""The seal of a run that is stopped, killed, extended, shown again and looked into from outside: never an edit."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import expkit
from expkit.cli.evaluate import main as evaluate
from expkit.cli.export import main as export
from expkit.cli.predict import main as predict
from expkit.cli.report import main as report
from expkit.cli.reproduce import main as reproduce
from expkit.records.integrity import check_record
from expkit.training.trainer import Trainer
from tests import killed
from tests.inference.runs import overrides

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
Stop = Callable[[int], None]


def at_step(step: int, act: Callable[[], object]) -> Callable[[], None]:
    """Return what makes this process act before an update."""
    update = Trainer.update

    def updated(trainer: Trainer) -> None:
        if trainer.state.position.step + 1 == step:
            act()
        update(trainer)

    return lambda: setattr(Trainer, "update", updated)


def train(folder: Path, *more: str, stop: int | None = None) -> Path:
    """Train in this process, up to a SIGTERM before the update `stop`; returns the run folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "update", Trainer.update)
        if stop:
            at_step(stop, lambda: signal.raise_signal(signal.SIGTERM))()
            with pytest.raises(KeyboardInterrupt):
                expkit.train([*overrides(folder), *more])
        else:
            expkit.train([*overrides(folder), *more])
    return max((folder / "outputs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def code_of(main: Callable[[list[str]], object], *arguments: str | Path) -> int:
    """Return the exit code of a command, run in this process."""
    try:
        main([str(one) for one in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def assert_whole(run: Path) -> None:
    """Check and export it, as a .zip and as one text, and check these."""
    assert check_record(run)[0] == []
    for name in ("shared.zip", "shared.yaml"):
        target = run.parent.parent / name
        assert code_of(reproduce, run, "--export", target) == 0
        assert code_of(reproduce, target, "--check") == 0


def test_a_run_that_is_stopped_resumed_extended_and_shown_again(tmp_path: Path) -> None:
    run = train(tmp_path, stop=2)
    assert (run / "report.html").exists()
    assert_whole(run)
    for more, stop in [([], 5), ([], None), (["epochs=3"], 10), (["epochs=3"], None)]:
        assert train(tmp_path, f"checkpoint.resume={run}", *more, stop=stop) == run
        assert_whole(run)
        assert code_of(report, run) == 0
        assert_whole(run)
    assert code_of(report, run) == 0
    assert_whole(run)
    assert "report.html" in json.loads((run / "record.json").read_text())["files"]
    (run / "report.html").write_text("nothing")
    assert check_record(run)[0] == [f"report.html: was changed; python -m expkit report {run} writes it again"]
    assert code_of(report, run) == 0
    assert_whole(run)


def test_a_report_vouches_for_nothing_but_itself(tmp_path: Path) -> None:
    run = train(tmp_path)
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "# mine\n")
    assert code_of(report, run) == 0
    assert check_record(run)[0] == ["config.yaml: was changed"]
    (run / "record.json").write_text((run / "record.json").read_text().replace("finished", "improved"))
    assert code_of(report, run) == 0
    assert check_record(run)[0] == ["record.json: was changed: it does not match the digest at its end"]


def test_a_killed_run_that_is_resumed(tmp_path: Path) -> None:
    words = [*overrides(tmp_path), "checkpoint.every_steps=1"]
    child = killed.start(words, tmp_path / "outputs", at_step(3, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    assert killed.wait(child) == -signal.SIGKILL
    (run,) = (tmp_path / "outputs").iterdir()
    assert code_of(report, run) == 0  # of a run that has not ended
    assert check_record(run)[0] == []
    assert train(tmp_path, "checkpoint.every_steps=1", f"checkpoint.resume={run}", stop=5) == run
    assert_whole(run)
    assert train(tmp_path, "checkpoint.every_steps=1", f"checkpoint.resume={run}") == run
    assert_whole(run)


def test_what_others_put_into_a_run_folder_is_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An evaluation, predictions and exports are neither vouched for nor handed on, also once the run was extended."""
    run = train(tmp_path, stop=2)
    picture = tmp_path / "picture.png"
    for colour in (90, 190) if IS_LONG else (190,):
        Image.new("RGB", (32, 32), (colour, 30, 30)).save(picture)
        (run / "predictions.csv").unlink(missing_ok=True)
        assert code_of(evaluate, run, "--output", run / "evaluation", "--workers", 0, "--views",
                       "flip" if colour > 100 else "none") == 0  # fmt: skip
        assert code_of(predict, run, picture, "--output", run / "predictions.csv", "--workers", 0) == 0
        assert code_of(export, run, "--to", "safetensors", "--output", run / "model.safetensors") == 0
        assert code_of(reproduce, run, "--export", run / "own.zip") == 0
        assert_whole(run)
        capsys.readouterr()
        assert code_of(reproduce, run, "--export", run / "own.zip") == 0  # the one before is not in it
        others = "checkpoints, evaluation, log.txt, model.safetensors, own.zip, predictions.csv, report.html"
        assert f"not in it: {others}" in (capsys.readouterr().out)
        train(tmp_path, f"checkpoint.resume={run}", f"epochs={2 + colour // 100}")
        assert_whole(run)
