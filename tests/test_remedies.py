"""What a message advises works: each mistake of the table is made, and then the remedy that is printed is followed."""

from pathlib import Path

import pytest

from tests.forks import Forks

SMALL = [
    "dataset.train_images=16",
    "dataset.val_images=16",
    "epochs=1",
    "model.width=4",
    "logger=none",
    "limit_train_batches=1",
]

# (what is typed, what the message says, what is typed then; none: the message says what the mistake is)
MISTAKES = [
    (["schedule=cosine", "schedule.warmup_epochs=9"], "schedule.warmup_epochs: ", ["schedule=cosine"]),
    (["schedule=cosine", "schedule.warmup_steps=9"], "schedule.warmup_steps: ", ["schedule=cosine"]),
    (["model.name=smal_resnet"], "did you mean 'small_resnet'?", ["model.name=small_resnet"]),
    (["optimizer.lrr=1"], "did you mean 'lr'?", ["optimizer.lr=1"]),
    (["seed:1"], "did you mean 'seed=1'?", ["seed=1"]),
    (["batch_size=8,16"], "add -m to run each of them", ["-m", "batch_size=8,16"]),
]  # fmt: skip
REFUSED = [
    (["dataset=imagenet", "dataset.root=."], "put its files there", "dataset.download"),
    (["dataset.frobnicated=true"], "no dataset has such an option", "adds one"),
    (["hydra/launcher=ray", "-m", "seed=0,1"], "install expkit[ray]", "there is "),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), MISTAKES)
def test_the_remedy_works(commands: Forks, tmp_path: Path, typed: list[str], said: str, then: list[str]) -> None:
    done = commands.run(tmp_path, *typed, *SMALL)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    done = commands.run(tmp_path, *then, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("typed", "said", "never"), REFUSED)
def test_no_remedy_that_is_refused(commands: Forks, tmp_path: Path, typed: list[str], said: str, never: str) -> None:
    done = commands.run(tmp_path, *typed)
    assert done.returncode != 0
    assert said in done.stderr
    assert never not in done.stderr
