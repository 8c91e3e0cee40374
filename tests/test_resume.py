"""A run that is stopped, killed or sent elsewhere ends bit for bit as one that was left alone."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from expkit.config.compose import compose_one, plain
from expkit.data.dataset import ImageDataset
from expkit.runs.train import train as train_run
from expkit.training.trainer import Trainer
from tests import killed
from tests.forks import Forks

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
QUICK = ["dataset.num_workers=0", "epochs=2", "early_stopping_patience=null"]
Go = Callable[..., int]
GROUP_SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)] * 10


@pytest.fixture
def recipe(tmp_path: Path) -> list[str]:
    killed.draw(tmp_path / "pets")
    return [*killed.recipe(tmp_path / "pets"), *QUICK]


@pytest.fixture
def go(recipe: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Return a function that runs the recipe in tmp_path/NAME, with a signal before update `at`; the exit code."""

    def going(name: str, *more: str, at: int | None = None, number: int = signal.SIGTERM) -> int:
        update = Trainer.update

        def updated(trainer: Trainer) -> None:
            if trainer.state.position.step + 1 == at:
                signal.raise_signal(number)
            update(trainer)

        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "update", updated)
            overrides = [*recipe, *more, f"output_dir={tmp_path / name}"]
            try:
                train_run(plain(compose_one(overrides)), overrides, "python -m expkit.run …")
            except SystemExit as end:
                return int(end.code or 0)
        return 0

    return going


def test_stopped_at_any_step_a_run_ends_as_if_it_was_not(go: Go, tmp_path: Path) -> None:
    assert go("whole") == 0
    expected = killed.outcome(tmp_path / "whole")
    for step in range(1, expected["steps"]):
        assert go(f"at_{step}", at=step) == 143
        assert go(f"at_{step}", "checkpoint.resume=auto") == 0
        assert killed.outcome(tmp_path / f"at_{step}") == expected, step


@pytest.mark.parametrize("chain", range(20 if IS_LONG else 1))
def test_five_stops_in_one_epoch(chain: int, go: Go, tmp_path: Path) -> None:
    assert go("whole", f"seed={chain}") == 0
    first = 2 if chain % 2 else 1
    for step in range(first, first + 5):
        assert go("chain", f"seed={chain}", "checkpoint.resume=auto", at=step) == 143
    assert go("chain", f"seed={chain}", "checkpoint.resume=auto") == 0
    assert killed.outcome(tmp_path / "chain") == killed.outcome(tmp_path / "whole")


EXTRAS = {
    "taught, unfrozen by layers, averaged equally": [
        "ema_decay=null", "swa_from=0.3", "loss=distill", "optimizer.layer_decay=0.7", "optimizer.unfreeze_every=1",
        "dataset.fold=1", "dataset.folds=4", "dataset.label_noise=0.2", "epochs=3",
    ],
    "torchvision's recipe": [
        "ema_rule=torchvision", "ema_every=2", "sampler=repeated", "schedule.unit=epoch",
        "optimizer=rmsprop", "optimizer.no_decay=[norm_layers]", "schedule.warmup_steps=0", "schedule.warmup_epochs=1",
        "schedule.warmup_unit=epoch", "epochs=3", "metric=[f1,auroc]",
    ],
}  # fmt: skip


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_added_to_a_recipe_goes_on_too(extra: str, recipe: list[str], go: Go, tmp_path: Path) -> None:
    overrides = EXTRAS[extra]
    if "sampler=repeated" in overrides:
        recipe[:] = [word for word in recipe if not word.startswith("sampler.class_weights")]
    if "loss=distill" in overrides:
        assert go("teacher", "epochs=1") == 0
        (teacher,) = (tmp_path / "teacher").iterdir()
        overrides = [*overrides, f"loss.teacher={teacher}"]
    assert go("whole", *overrides) == 0
    expected = killed.outcome(tmp_path / "whole")
    assert expected["steps"] == 15
    for step in range(1, 15) if IS_LONG else (5, 12):  # 5 is the end of the first epoch
        assert go(f"at_{step}", *overrides, at=step) == 143
        assert go(f"at_{step}", *overrides, "checkpoint.resume=auto") == 0
        assert killed.outcome(tmp_path / f"at_{step}") == expected, step


def test_stopped_while_the_statistics_of_an_average_are_found(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ["ema_decay=null", "swa_from=0.3", "epochs=3"]
    assert go("whole", *overrides) == 0
    again = Trainer.images_again

    def stopping(trainer: Trainer) -> Any:
        for number, images in enumerate(again(trainer)):
            if number == 2:
                signal.raise_signal(signal.SIGTERM)
            yield images

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "images_again", stopping)
        assert go("stopped", *overrides) == 143
        assert go("stopped", *overrides, "checkpoint.resume=auto") == 143
    assert go("stopped", *overrides, "checkpoint.resume=auto") == 0
    assert killed.outcome(tmp_path / "stopped") == killed.outcome(tmp_path / "whole")


def test_another_teacher_is_refused(go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teachers = []
    for name in ("one", "other"):
        assert go(name, "epochs=1", f"seed={len(name)}") == 0
        teachers += (tmp_path / name).iterdir()
    assert go("run", "loss=distill", f"loss.teacher={teachers[0]}", at=3) == 143
    (folder,) = (tmp_path / "run").iterdir()
    assert go("run", "loss=distill", f"loss.teacher={teachers[1]}", f"checkpoint.resume={folder}") == 2
    assert "was trained with another teacher; set its loss.teacher" in capsys.readouterr().err


SETTINGS = [
    ["++dataset.num_workers=1"], ["++dataset.num_workers=2", "++dataset.prefetch=4"], ["++dataset.cache=memory"],
    ["++dataset.num_workers=2", "++dataset.cache=disk"], ["checkpoint.every_steps=1"], ["checkpoint.every_steps=null"],
    ["checkpoint.keep_last=3"], ["checkpoint.background=false"], ["checkpoint.every=2", "++dataset.num_workers=1"],
    ["logger=tensorboard"], ["++dataset.decoder=region"], ["++dataset.timeout=120", "++device.keep_memory=false"],
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS if IS_LONG else SETTINGS[1:12:8], ids=" ".join)
def test_other_settings_after_a_stop_change_nothing(settings: list[str], go: Go, tmp_path: Path) -> None:
    assert go("whole") == 0
    assert go("other", at=5) == 143
    assert go("other", "checkpoint.resume=auto", *settings) == 0
    assert killed.outcome(tmp_path / "other") == killed.outcome(tmp_path / "whole")


def test_nothing_before_the_stop_is_read_again(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images opened before and after add up to those of a whole run, but for the one that tries the transforms."""
    opened: list[int] = []
    image = ImageDataset.image

    def opening(dataset: ImageDataset, index: int) -> Any:
        opened.append(index)
        return image(dataset, index)

    monkeypatch.setattr(ImageDataset, "image", opening)
    counts = []
    for arguments in ({"name": "whole"}, {"name": "parts", "at": 3}, {"name": "parts"}):
        opened.clear()
        go(arguments.pop("name"), "checkpoint.resume=auto", **arguments)
        counts.append(len(opened))
    whole, before, after = counts
    trial = before - 3 * 8  # three steps of two batches of four
    assert before + after - 2 * trial == whole - trial


def test_killed_at_random_instants(tmp_path: Path) -> None:
    kills = 50 if IS_LONG else 2
    command = [sys.executable, killed.__file__, str(tmp_path), str(kills), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    print(counts)
    assert counts["kills"] == kills
    assert 2 * counts["within_a_write"] >= counts["kills"]
    assert counts["different"] == 0, done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
def test_signals_save_and_say_so(number: int, code: int, go: Go, tmp_path: Path) -> None:
    assert go("stopped", at=3, number=number) == code
    (folder,) = (tmp_path / "stopped").iterdir()
    record = json.loads((folder / "record.json").read_text())
    assert (record["status"], record["reason"]) == ("interrupted", signal.Signals(number).name)
    assert [*(folder / "checkpoints").glob("epoch_0000_step_00000003.json")]
    assert f"checkpoint.resume={folder}" in (folder / "log.txt").read_text()


def test_a_signal_to_all_processes_of_a_run(recipe: list[str], tmp_path: Path) -> None:
    """As a terminal, Slurm or a supervisor sends it: workers get it too, at any instant; a second one follows."""
    expected, epochs = None, f"epochs={40 if IS_LONG else 10}"
    for number, (name, code) in enumerate(GROUP_SIGNALS if IS_LONG else GROUP_SIGNALS[::11]):
        folder = tmp_path / f"{name.name}_{number}"
        overrides = [*recipe, "++dataset.num_workers=2", epochs]  # longer than any wait below
        child = killed.start(overrides, folder)
        while not [*folder.glob("*/log.txt")]:  # before that there is no run to save
            signal.sigtimedwait([], 0.02)
        signal.sigtimedwait([], number % 10 * 0.13)
        os.killpg(child, name)
        began = time.monotonic()
        if number % 2 and name != signal.SIGINT:
            signal.sigtimedwait([], 0.002 * number)
            with suppress(ProcessLookupError):
                os.killpg(child, name)
        assert killed.wait(child) == code, (tmp_path / f"{folder.name}.txt").read_text()
        assert time.monotonic() - began < 20
        with pytest.raises(ProcessLookupError):  # no worker is left in the group
            os.killpg(child, 0)
        assert killed.wait(killed.start([*overrides, "checkpoint.resume=auto"], folder)) == 0
        expected = expected or killed.outcome(folder)
        assert killed.outcome(folder) == expected
    if expected is not None:
        assert killed.wait(killed.start([*recipe, epochs], tmp_path / "whole")) == 0
        assert killed.outcome(tmp_path / "whole") == expected


def test_a_second_ctrl_c_ends_at_once(recipe: list[str], tmp_path: Path) -> None:
    child = killed.start([*recipe, "epochs=500", "batch_size=32", "accumulate_steps=2"], tmp_path / "run")
    while not [*(tmp_path / "run").glob("*/checkpoints/*.json")]:
        signal.sigtimedwait([], 0.02)
    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGINT)
    assert killed.wait(child) == 130
    (record,) = (tmp_path / "run").glob("*/record.json")
    assert json.loads(record.read_text())["status"] == "interrupted"


def test_a_finished_run_is_left_as_it_is(go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert go("done", "epochs=1", "checkpoint.resume=auto") == 0
    (folder,) = (tmp_path / "done").iterdir()
    before = (folder / "record.json").read_text()
    capsys.readouterr()
    assert go("done", "epochs=1", "checkpoint.resume=auto") == 0
    told = "this run is finished; nothing is left to do (raise epochs=1 to train longer)"
    assert capsys.readouterr().out == f"{folder}: {told}\n"
    assert (folder / "record.json").read_text() == before
    assert go("done", "epochs=2", "checkpoint.resume=auto") == 0  # longer: it goes on
    assert [path.name for path in (tmp_path / "done").iterdir()] == [folder.name]


def test_a_checkpoint_file_begins_a_new_folder_with_the_points_up_to_it(go: Go, tmp_path: Path) -> None:
    assert go("whole") == 0
    assert go("first", at=6) == 143
    (file,) = (tmp_path / "first").glob("*/checkpoints/*_step_00000006.safetensors")
    assert go("branch", f"checkpoint.resume={file}") == 0
    assert killed.outcome(tmp_path / "branch") | {"best": ""} == killed.outcome(tmp_path / "whole") | {"best": ""}


CHANGES = [
    (["optimizer.lr=0.5"], "optimizer.lr: 0.003 -> 0.5 changes the result; checkpoint.force=true resumes anyway"),
    (["optimizer=sgd"], "optimizer.name: 'adamw' -> 'sgd' cannot change in a run; checkpoint.init_from takes"),
    (
        ["~model.blocks", "~model.stem_stride", "model.name=small_cnn"],
        "model.name: 'small_resnet' -> 'small_cnn' cannot change in a run",
    ),
    (["batch_size=8"], "batch_size: 4 -> 8 cannot change within an epoch"),
]


def test_changes_are_listed_key_by_key(go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert go("run", at=2) == 143
    (folder,) = (tmp_path / "run").iterdir()
    for changes, sentence in CHANGES:
        capsys.readouterr()
        assert go("run", f"checkpoint.resume={folder}", *changes) == 2
        assert sentence in capsys.readouterr().err
    forced = ["optimizer.lr=0.5", "checkpoint.force=true", "epochs=3"]
    assert go("run", f"checkpoint.resume={folder}", *forced) == 0
    log = (folder / "log.txt").read_text()
    assert "differs from the checkpoint: optimizer.lr: 0.003 -> 0.5" in log
    assert "differs from the checkpoint: epochs: 2 -> 3" in log


def test_a_folder_in_use_is_refused_with_its_holder(commands: Forks, recipe: list[str], go: Go, tmp_path: Path) -> None:
    child = killed.start([*recipe, "epochs=200"], tmp_path / "busy")
    try:
        for _ in range(300):
            if [*(tmp_path / "busy").glob("*/checkpoints/*.json")]:
                break
            assert os.waitpid(child, os.WNOHANG) == (0, 0), (tmp_path / "busy.txt").read_text()
            signal.sigtimedwait([], 0.1)
        again = ["epochs=200", f"output_dir={tmp_path / 'busy'}", "checkpoint.resume=auto"]
        said = commands.run(tmp_path, *recipe, *again, timeout=60)
        assert said.returncode == 2
        assert re.search(rf"is in use by process {child} on \S+; wait for it, or stop it first", said.stderr)
    finally:
        os.kill(child, signal.SIGKILL)
        killed.wait(child)
    assert go("busy", "epochs=3", "checkpoint.resume=auto") == 0
    (folder,) = (tmp_path / "busy").iterdir()
    assert f"process {child} ended without releasing" in (folder / "log.txt").read_text()
