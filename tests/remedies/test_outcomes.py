"""What is said at the end of a run that failed, and of a command in the wrong place, and what then is typed."""

import errno
import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch

from expkit.cli.find_lr import main as find_lr
from expkit.config.compose import compose_one, plain
from expkit.data.decode import BadImage
from expkit.data.loader import TooManyBad
from expkit.runs.build import build
from expkit.runs.job import Job
from expkit.runs.outcome import outcome_of
from expkit.training.non_finite import not_finite
from tests.remedies.told import fault_of, fault_of_line, says, small, words_of

FULL = OSError(errno.ENOSPC, "No space left on device", "log.txt")
# What ends a run, what is said, and each thing that then is typed.
ENDINGS: list[tuple[BaseException, str, list[str]]] = [
    (BadImage("cat/1.jpg", "the file is empty"), "set dataset.on_bad=skip or replace",
     ["dataset.on_bad=skip", "dataset.on_bad=replace"]),
    (TooManyBad("9 of 9 samples cannot be read; or raise dataset.max_bad"), "raise dataset.max_bad",
     ["dataset.max_bad=9", "dataset.max_bad=null"]),
    (ValueError("Expected more than 1 value per channel when training"),
     "set dataset.drop_last=true, or dataset.on_bad=replace", ["dataset.drop_last=true", "dataset.on_bad=replace"]),
    (MemoryError(), "device.micro_batch=4 computes the same batches in smaller parts;"
     " device.precision=bf16 or fewer dataset.num_workers also help",
     ["device.micro_batch=4", "device.precision=bf16", "dataset.num_workers=0"]),
    (not_finite("the loss is no number", "stop"), "lower optimizer.lr, set clip_grad_norm=1,"
     " add schedule.warmup_steps, or use device.precision=fp32; on_nan=skip passes over such steps,"
     " on_nan=roll_back goes back to the last checkpoint",
     ["optimizer.lr=0.0001", "clip_grad_norm=1", "schedule.warmup_steps=1", "device.precision=fp32", "on_nan=skip",
      "on_nan=roll_back"]),
    (FULL, "free some space and start again", [""]),
]  # fmt: skip


@pytest.fixture(scope="module")
def job() -> Job:
    made = build(plain(compose_one(small(["dataset=fake", "batch_size=8"]))))
    made.close()
    return made


@pytest.mark.parametrize(("error", "said", "then"), ENDINGS, ids=[type(row[0]).__name__ for row in ENDINGS])
def test_what_ended_a_run_can_be_set_otherwise(
    error: BaseException, said: str, then: list[str], job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = outcome_of(error, job)
    assert (ended.status, ended.code, ended.is_explained) == ("failed", 1, True)
    assert said in ended.reason
    assert set(re.findall(r"[a-z_.]+=[\w.]+", said)) <= set(then)  # each override in the message is typed
    for line in then:
        assert not fault_of(words_of(line)), line


def test_a_batch_of_one_image_is_made_smaller_by_the_model_alone(job: Job, tmp_path: Path) -> None:
    config = plain(compose_one(small(["dataset=fake", "model=small_cnn", "batch_size=1"])))
    one = build(config)
    one.close()
    assert "use a smaller model or image_size" in outcome_of(torch.OutOfMemoryError(), one).reason
    assert not fault_of(
        ["dataset=fake", "model=small_cnn", "model.width=2", "batch_size=1", "transforms.image_size=16"]
    )


FIND = "dataset=fake dataset.images=64 batch_size=8 model.width=4 logger=none dataset.num_workers=0 --out x.png "
RANGES: list[tuple[str, str, str]] = [
    ("--lowest 1 --highest 0.1 --steps 10", "expected 0 < --lowest < --highest, and --steps from 10 up",
     "--lowest 0.01 --highest 0.1 --steps 10"),
    ("--lowest 0 --highest 0.1 --steps 10", "expected 0 < --lowest < --highest, and --steps from 10 up",
     "--lowest 0.01 --highest 0.1 --steps 10"),
    ("--lowest 0.01 --highest 0.1 --steps 9", "expected 0 < --lowest < --highest, and --steps from 10 up",
     "--lowest 0.01 --highest 0.1 --steps 10"),
    ("--lowest 1e-4 --highest 1e-3 --steps 12", "it never went up: try a higher --highest",
     "--lowest 1e-4 --highest 1e3 --steps 24"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), RANGES)
def test_a_rate_is_looked_for_then(
    typed: str,
    said: str,
    then: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, is_told in ((typed, True), (then, False)):
        with pytest.raises(SystemExit) as ended:
            find_lr(shlex.split(FIND + words))
        printed = capsys.readouterr()
        assert (said in printed.out + printed.err) == is_told, printed
    assert ended.value.code in (0, 1)  # 1: nothing is learned of noise


# A command that torchrun starts, what is said, and the command that then is typed without it.
RANKS = [
    ("run -m seed=0,1", "leave it out, and each job starts its own ranks: python -m expkit.run -m device=multi_gpu",
     "-m device=multi_cpu seed=0,1"),
    ("find_lr epochs=2", "torchrun is for python -m expkit.run alone; type this command without it", "epochs=2"),
    ("doctor epochs=2", "torchrun is for python -m expkit.run alone; type this command without it", "epochs=2"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), RANKS)
def test_without_torchrun_it_is_taken(
    typed: str, said: str, then: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *words = typed.split()
    with monkeypatch.context() as patched:
        patched.setenv("WORLD_SIZE", "2")
        patched.setenv("TORCHELASTIC_RUN_ID", "none")
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"expkit.cli.{module}").main(words)
    assert ended.value.code == 2
    assert says(capsys.readouterr().err, said)
    assert not fault_of_line(*then.split(), is_quick=True)
