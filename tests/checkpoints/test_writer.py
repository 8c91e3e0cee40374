"""Full disks and failing system calls: the old state or the new one loads, and the error says what was lacking."""

import builtins
import errno
import os
import random
import re
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.checkpoints import safetensors_buffer
from expkit.checkpoints.foreign_weights import export_weights
from expkit.checkpoints.manager import CheckpointManager, CheckpointOptions
from expkit.checkpoints.reader import newest_intact, read_checkpoint
from expkit.checkpoints.writer import CheckpointNotWritten, WeightsNotFinite
from expkit.core import files as disk
from tests.checkpoints.states import same, state_of, temporary_files, write_checkpoint


def opened(folder: Path) -> CheckpointManager:
    return CheckpointManager(folder, "accuracy", True, CheckpointOptions(background=False))


def save(kept: CheckpointManager, step: int) -> None:
    kept.save(state_of(step), {"epoch": step, "step": step}, {"accuracy": 0.5})


def step_found(folder: Path) -> int:
    """Return the step of the newest intact checkpoint, whose state must be the one of that step."""
    found = newest_intact(folder)
    assert found is not None
    assert same(found.state, state_of(found.facts["step"]))
    return int(found.facts["step"])


def needs(folder: Path, step: int) -> int:
    """Return how many bytes a checkpoint takes, by writing it elsewhere."""
    elsewhere = folder.with_name("elsewhere")
    save(opened(elsewhere), step)
    size = sum(path.stat().st_size for path in elsewhere.iterdir())
    shutil.rmtree(elsewhere)
    return size


class Faults:
    """Makes the n-th call of one kind fail, as a full disk does; counts the calls of every kind."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str, number: int) -> None:
        self.kind, self.number, self.calls = kind, number, Counter[str]()
        monkeypatch.setattr(disk, "open", self.open, raising=False)
        for module, name, word in ((os, "fsync", "fsync"), (os, "replace", "rename"), (os, "open", "open folder")):
            monkeypatch.setattr(module, name, self.failing(word, getattr(module, name)))

    def failing(self, word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls[word] += 1
            if (word, self.calls[word]) == (self.kind, self.number):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments, **options)

        return call

    def open(self, *arguments: Any) -> Any:
        file = self.failing("open", builtins.open)(*arguments)
        write, closed = self.failing("write", file.write), self.failing("close", file.close)

        class Torn:
            """Writes half of what the failing call was given."""

            def __enter__(self) -> "Torn":
                return self

            def __exit__(self, *_: object) -> None:
                try:
                    closed()
                finally:
                    file.close()

            def write(self, data: bytes) -> int:
                try:
                    return int(write(data))
                except OSError:
                    file.write(data[: len(data) // 2])
                    raise

            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

        return Torn()


@pytest.mark.parametrize(
    ("kind", "least"), [("open", 2), ("write", 10), ("fsync", 4), ("close", 2), ("rename", 2), ("open folder", 2)]
)
def test_each_system_call_may_fail(kind: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_buffer, "_SLICE", 64)  # so that there are many calls of write
    messages: list[str] = []
    for number in range(1, 100):
        folder = tmp_path / str(number)
        kept = opened(folder)
        save(kept, 1)
        with monkeypatch.context() as patch:
            faults = Faults(patch, kind, number)
            try:
                save(kept, 2)
            except CheckpointNotWritten as error:
                messages.append(str(error))
        assert step_found(folder) == (1 if faults.calls[kind] >= number else 2)
        assert not temporary_files(folder)
        assert len(list(folder.iterdir())) % 2 == 0
        if faults.calls[kind] < number:
            break
        save(kept, 3)  # and when there is room again, saving works again
        assert step_found(folder) == 3
    told = r"/epoch_0002_\S+: was not written: No space left on device; it needs [0-9,]+ bytes, and [0-9,]+ are free"
    assert [bool(re.search(told, message)) for message in messages] == [True] * (number - 1)
    assert len(messages) >= least
    print(f"{kind}: {len(messages)} of {number - 1} failures named, each with the old state left to load")


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Return a function that limits the size of files, in bytes, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_limit_on_the_size_of_files(tmp_path: Path, file_limit: Callable[[int], None]) -> None:
    """50 limits: some stop the tensors, some the manifest, and the last ones neither."""
    most = needs(tmp_path / "x", 2)
    draw, outcomes = random.Random(0), Counter[int]()
    for number, limit in enumerate([0, 1, most - 1, most, *(draw.randrange(most) for _ in range(46))]):
        kept = opened(tmp_path / str(number))
        save(kept, 1)
        file_limit(limit)
        try:
            save(kept, 2)
        except CheckpointNotWritten as error:
            message = str(error)
        else:
            message = ""
        finally:
            file_limit(resource.RLIM_INFINITY)
        found = step_found(tmp_path / str(number))
        outcomes[found] += 1
        if found == 1:
            assert f"{number}/epoch_0002_step_00000002.safetensors: was not written: File too large" in message
        assert (found == 2) == (message == "")
        assert not temporary_files(tmp_path)
    assert outcomes.total() == 50
    assert min(outcomes[1], outcomes[2]) > 0
    print(f"50 of 50 limits: the old state {outcomes[1]} times, the new one {outcomes[2]} times")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("checked", [True, False], ids=["seen before", "met while writing"])
def test_a_full_disk(checked: bool, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of 1 MB holds two states of 300 kB but not three; an unchecked one is really written until it is full."""
    if not checked:
        lie = shutil._ntuple_diskusage(10**12, 0, 10**12)  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: lie)
    kept = CheckpointManager(small_disk / "c", "accuracy", True, CheckpointOptions(keep_last=9, background=False))

    def fill() -> None:
        for step in range(1, 9):
            kept.save({"model": {"w": torch.full((75_000,), float(step))}}, {"epoch": step, "step": step}, {})

    with pytest.raises(CheckpointNotWritten) as caught:
        fill()
    reason = "there is too little space" if checked else "No space left on device"
    assert f"step_00000004.safetensors: was not written: {reason}; it needs 300," in str(caught.value)
    assert f" are free in {small_disk}/c" in str(caught.value)
    assert len(list((small_disk / "c").iterdir())) == 6
    found = newest_intact(small_disk / "c")
    assert found is not None
    assert found.state["model"]["w"].unique().item() == 3.0


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointNotWritten, match=r"x\.safetensors: was not written: No such file .*it is unknown how many are free"
    ):
        write_checkpoint(tmp_path / "gone" / "x.safetensors", state_of(1), {})


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_exported_weights_keep_the_old_file_when_the_disk_is_full(
    ending: str, tmp_path: Path, file_limit: Callable[[int], None]
) -> None:
    path = tmp_path / f"w.{ending}"
    path.write_text("old")
    file_limit(100)
    try:
        with pytest.raises(CheckpointNotWritten, match=r"was not written: File too large; it needs [0-9,]+ bytes"):
            export_weights(state_of(1)["model"], path)
    finally:
        file_limit(resource.RLIM_INFINITY)
    assert path.read_text() == "old"
    assert not temporary_files(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("background", [False, True])
def test_weights_that_are_no_numbers_never_replace_good_ones(value: float, background: bool, tmp_path: Path) -> None:
    kept = CheckpointManager(tmp_path / "c", "accuracy", True, CheckpointOptions(background=background))
    save(kept, 1)
    bad = state_of(2)
    bad["model"]["half"][3, 3] = value
    with pytest.raises(WeightsNotFinite, match="the weights half hold NaN or infinity, so no checkpoint was written"):
        kept.save(bad, {"epoch": 2, "step": 2}, {"accuracy": 0.9})
    kept.close()
    assert step_found(tmp_path / "c") == 1
    assert (kept.best_score, kept.last) == (0.5, kept.best)


def test_a_moment_may_be_infinite(tmp_path: Path) -> None:
    """Only weights are looked at: an optimizer may keep infinity as its own mark."""
    state = state_of(1)
    state["optimizer"]["state"][0]["step"] = torch.tensor(float("inf"))
    write_checkpoint(tmp_path / "x.safetensors", state, {})
    assert same(read_checkpoint(tmp_path / "x.safetensors")[0], state)


def test_a_finished_checkpoint_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, state_of(1), {})
    with pytest.raises(CheckpointNotWritten, match="is there already, and a checkpoint is never overwritten"):
        write_checkpoint(path, state_of(2), {})
    assert same(read_checkpoint(path)[0], state_of(1))
