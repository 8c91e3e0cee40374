"""Which checkpoints stay, what is found again, saving in the background, and kill -9 at any instant of it."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expkit.checkpoints import writer
from expkit.checkpoints.manager import CheckpointManager, CheckpointOptions, find_checkpoint
from expkit.checkpoints.reader import newest_intact, read_checkpoint
from expkit.checkpoints.writer import CheckpointNotWritten
from expkit.core.errors import ConfigError
from expkit.core.manifest import finished_checkpoints
from tests.checkpoints.saving import SCORES, score_of, state_of
from tests.checkpoints.states import same, temporary_files

LONG = bool(os.environ.get("EXPKIT_LONG"))


def opened(folder: Path, higher: bool = True, **options: Any) -> CheckpointManager:
    return CheckpointManager(folder, "accuracy", higher, CheckpointOptions(**{"background": False, **options}))


def save(kept: CheckpointManager, step: int, score: float | None = None) -> bool:
    scores = {} if score is None else {"accuracy": score}
    return kept.save(state_of(step, 10), {"epoch": step, "step": step}, scores)


def steps_in(folder: Path) -> list[int]:
    """Return the steps of the finished checkpoints; each must be whole, and nothing else may lie there."""
    finished, problems = finished_checkpoints(folder)
    assert problems == []
    assert len(list(folder.iterdir())) == 2 * len(finished)
    for path in finished:
        read_checkpoint(path)
    return [facts["step"] for facts in finished.values()]


# ---- retention ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep_last", "keep_best", "higher", "stay"),
    [
        (1, 1, True, [2, 6]),
        (1, 1, False, [1, 6]),
        (2, 1, True, [2, 5, 6]),
        (1, 3, True, [2, 3, 4, 6]),
        (1, 0, True, [6]),
        (9, 9, True, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_last_and_the_best_stay(
    keep_last: int, keep_best: int, higher: bool, stay: list[int], tmp_path: Path
) -> None:
    kept = opened(tmp_path / "c", higher, keep_last=keep_last, keep_best=keep_best)
    told = [save(kept, step, score) for step, score in enumerate([0.1, 0.9, 0.8, 0.9, 0.5, 0.2], start=1)]
    assert told == ([True, True, False, False, False, False] if higher else [True] + [False] * 5)
    assert steps_in(tmp_path / "c") == stay


def test_a_score_that_is_missing_or_no_number_is_never_the_best(tmp_path: Path) -> None:
    kept = opened(tmp_path / "c")
    assert not save(kept, 1)
    assert not save(kept, 2, float("nan"))
    assert kept.best is None
    assert save(kept, 3, -5.0)
    assert not save(kept, 4, float("inf"))
    assert (kept.best_score, steps_in(tmp_path / "c")) == (-5.0, [3, 4])


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    kept = opened(tmp_path)
    (tmp_path / "mine.safetensors").write_text("")
    for step in (1, 2, 3):
        save(kept, step, 0.5)
    assert (tmp_path / "mine.safetensors").exists()


@pytest.mark.parametrize("keep_best", [0, 1, 2])
def test_everything_is_found_again(keep_best: int, tmp_path: Path) -> None:
    before = opened(tmp_path / "c", keep_last=2, keep_best=keep_best)
    for step, score in enumerate([0.1, 0.9, 0.8, 0.3], start=1):
        save(before, step, score)
    after = opened(tmp_path / "c", keep_last=2, keep_best=keep_best)
    assert (after.best_score, after.best, after.last) == (0.9, before.best, before.last)
    assert after.kept == before.kept
    assert not save(after, 5, 0.9)
    assert save(after, 6, 0.91)


def test_another_score_to_watch_is_ranked_anew(tmp_path: Path) -> None:
    before = opened(tmp_path / "c", keep_best=9)
    for step, (accuracy, loss) in enumerate([(0.9, 3.0), (0.5, 1.0), (0.6, 2.0)], start=1):
        before.save(state_of(step, 10), {"epoch": step, "step": step}, {"accuracy": accuracy, "loss": loss})
    after = CheckpointManager(tmp_path / "c", "loss", False, CheckpointOptions(background=False))
    assert (after.best_score, after.best) == (1.0, tmp_path / "c/epoch_0002_step_00000002.safetensors")


def test_going_on_from_an_older_one_forgets_the_newer(tmp_path: Path) -> None:
    """A damaged best one must not stay the best, and the same step written again must not overwrite it half."""
    before = opened(tmp_path / "c")
    for step, score in enumerate([0.5, 0.6, 0.9], start=1):
        save(before, step, score)
        if step == 2:
            before.options = CheckpointOptions(keep_last=2, background=False)
    assert before.last is not None
    before.last.write_bytes(b"rotten")
    found = newest_intact(tmp_path / "c")
    assert found is not None
    assert (found.facts["step"], len(found.problems)) == (2, 1)
    after = opened(tmp_path / "c")
    after.resume(found.facts)
    assert (after.best_score, after.best, after.last) == (0.6, found.path, found.path)
    assert before.last.exists()  # until there is a newer one
    assert save(after, 3, 0.7)
    assert after.last == tmp_path / "c/epoch_0003_step_00000003_2.safetensors"
    assert steps_in(tmp_path / "c") == [3]
    assert opened(tmp_path / "c").best_score == 0.7


def test_going_on_in_another_folder_keeps_the_best_score(tmp_path: Path) -> None:
    before = opened(tmp_path / "a")
    save(before, 1, 0.9)
    save(before, 2, 0.3)
    after = opened(tmp_path / "b")
    after.resume(newest_intact(tmp_path / "a").facts)  # type: ignore[union-attr]
    assert after.best_score == 0.9
    assert not save(after, 3, 0.8)
    assert save(after, 4, 0.95)


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/epoch_0002_step_00000002.safetensors"])
def test_a_checkpoint_is_found_by_file_or_folder(place: str, tmp_path: Path) -> None:
    kept = opened(tmp_path / "checkpoints")
    save(kept, 1, 0.9)
    save(kept, 2, 0.3)
    assert find_checkpoint(tmp_path / place, "checkpoint.resume") == kept.last


@pytest.mark.parametrize(("place", "problem"), [("", "holds no finished"), ("none", "there is no such file")])
def test_no_checkpoint_is_a_users_mistake(place: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"checkpoint.resume: .*{problem}"):
        find_checkpoint(tmp_path / place, "checkpoint.resume")


def test_options_are_checked_together() -> None:
    with pytest.raises(ConfigError) as caught:
        CheckpointOptions(every=0, keep_last=0, keep_best=-1, resume="a", init_from="b")
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "checkpoint.every",
        "checkpoint.keep_last",
        "checkpoint.keep_best",
        "checkpoint.resume",
    ]


@pytest.mark.parametrize(("epochs", "is_last", "due"), [(1, False, False), (2, False, True), (3, True, True)])
def test_every_second_epoch_and_the_last(epochs: int, is_last: bool, due: bool, tmp_path: Path) -> None:
    assert opened(tmp_path, every=2).due_after(epochs, is_last) is due


def test_every_third_step(tmp_path: Path) -> None:
    kept = opened(tmp_path, every_steps=3)
    assert [step for step in range(1, 10) if kept.due_at(step)] == [3, 6, 9]
    assert not opened(tmp_path).due_at(3)


# ---- in the background ---------------------------------------------------------------------------------------------


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that the writing thread waits for before it writes."""
    event, whole = threading.Event(), writer.atomic_write

    def wait(*arguments: Any) -> Any:
        assert event.wait(30)
        return whole(*arguments)

    monkeypatch.setattr(writer, "atomic_write", wait)
    yield event
    event.set()


def test_the_state_is_that_of_the_call(tmp_path: Path, gate: threading.Event) -> None:
    kept = opened(tmp_path / "c", background=True)
    state = state_of(1, 1000) | {"lists": [1, 2]}
    facts: dict[str, Any] = {"epoch": 1, "step": 1, "class_names": ["cat"]}
    assert kept.save(state, facts, {"accuracy": 0.5})
    state["model"]["w"].fill_(-1.0)
    state["lists"].append(3)
    facts["class_names"].append("dog")
    assert kept.last is None  # nothing is on the disk yet
    gate.set()
    kept.close()
    assert kept.last is not None
    saved, told = read_checkpoint(kept.last)
    assert same(saved, state_of(1, 1000) | {"lists": [1, 2]})
    assert told["class_names"] == ["cat"]


def test_a_second_save_waits_for_the_first(tmp_path: Path, gate: threading.Event) -> None:
    kept = opened(tmp_path / "c", background=True, keep_last=2)
    save(kept, 1, 0.5)
    second = threading.Thread(target=save, args=(kept, 2, 0.6))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    gate.set()
    second.join(30)
    kept.close()
    assert steps_in(tmp_path / "c") == [1, 2]


@pytest.mark.parametrize("then", ["save", "wait", "close"])
def test_an_error_of_the_thread_surfaces_once(then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = opened(tmp_path / "c", background=True)
    save(kept, 1, 0.5)
    kept.wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert save(kept, 2, 0.9)
        time.sleep(0.1)
        with pytest.raises(CheckpointNotWritten, match=r"step_00000002\.safetensors: was not written: No space left"):
            save(kept, 3, 0.9) if then == "save" else getattr(kept, then)()
    assert (kept.best_score, steps_in(tmp_path / "c")) == (0.5, [1])
    if then != "close":
        assert save(kept, 3, 0.7)
    kept.close()
    assert steps_in(tmp_path / "c") == ([1] if then == "close" else [3])


def test_closing_twice_and_without_a_thread_is_harmless(tmp_path: Path) -> None:
    for background in (False, True):
        kept = opened(tmp_path / "c", background=background)
        kept.close()
        kept.close()


# ---- kill -9 -------------------------------------------------------------------------------------------------------


def saving(mode: str, folder: Path) -> "subprocess.Popen[str]":
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.checkpoints.saving", mode, str(folder)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def saved_until_killed(folder: Path, seconds: float) -> list[int]:
    """Kill a saving process so many seconds after its first save began; returns the steps that it began to save."""
    with saving("loop", folder) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        began = [int(line) for line in (first + process.stdout.read()).split()]
    assert process.returncode == -signal.SIGKILL
    return began


def test_kill_at_every_instant_of_a_save(tmp_path: Path) -> None:
    """Before and after each call of open, write, fsync, rename and remove, those of the pruning among them."""
    with saving("instants", tmp_path) as process:
        output, _ = process.communicate(timeout=120)
    kills, found_steps = int(output), set()
    assert kills >= 30
    for number in range(1, kills + 1):
        folder = tmp_path / f"{number:03d}"
        found = newest_intact(folder)
        assert found is not None
        step = found.facts["step"]
        assert same(found.state, state_of(step, 100))
        found_steps.add(step)
        assert all("was never finished" in problem for problem in found.problems)  # and none is damaged
        kept = opened(folder)
        kept.resume(found.facts)
        steps_in(folder)  # what was never finished is swept
        best = 1 if step == 2 else 3
        assert (kept.best_score, kept.last) == (SCORES[best], found.path)
        assert kept.best is not None
        assert read_checkpoint(kept.best)[1]["step"] == best
        assert not temporary_files(folder)
        save(kept, 4, 0.1)
        assert steps_in(folder) == [best, 4]
    assert found_steps == {2, 3}
    print(f"{kills} of {kills} kills left everything to find")


@pytest.mark.parametrize(
    "kills",
    [5, pytest.param(25, marks=pytest.mark.skipif(not LONG, reason="takes a minute: set EXPKIT_LONG=1"))],
)
def test_kill_at_random_instants(kills: int, tmp_path: Path) -> None:
    """Each process resumes where the previous one was killed: nothing finished is ever lost."""
    draw, last, swept, folder = random.Random(kills), 0, 0, tmp_path / "c"
    for _ in range(kills):
        began = saved_until_killed(folder, draw.uniform(0, 0.5))
        found = newest_intact(folder)
        step = found.facts["step"] if found else 0
        assert step >= began[-1] - 1  # a save that begins means that the one before is finished
        assert step >= last
        last, swept = step, swept + len(temporary_files(folder))
        if not found:
            continue
        assert same(found.state, state_of(step, 1_000_000))
        best = max(score_of(one) for one in range(1, step + 1))
        kept = opened(folder, keep_last=2, keep_best=2)
        assert (kept.best_score, kept.last) == (best, found.path)
        assert kept.best is not None
        assert read_checkpoint(kept.best)[1]["scores"] == {"accuracy": best}
        assert not temporary_files(folder)
    assert last > 0
    print(f"{kills} of {kills} kills, {last} steps; {swept} temporary files were swept")
