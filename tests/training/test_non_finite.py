"""A loss or gradient that is no number: named with its samples, passed over, or gone back from."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from expkit.config.hydra_loader import Config
from expkit.runs.train import train as train_run
from expkit.training import trainer as loop
from expkit.training.trainer import Trainer
from tests.killed import TIMES

Compose = Callable[..., Config]
PLAIN = ["batch_size=8", "device.threads=1", "log_every=2", "checkpoint.every_steps=3", "dataset.layout=names"]


class Faulty(nn.Module):
    """A loss that is not finite in given batches of given epochs."""

    def __init__(self, loss: nn.Module, trainer: Trainer, places: set[tuple[int, int]]) -> None:
        super().__init__()
        self.loss, self.places, self._place = loss, places, lambda: trainer.state.position.place[:2]

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self.loss(outputs, targets)
        return loss * math.nan if outputs.requires_grad and self._place() in self.places else loss


@pytest.fixture
def train(small_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Path]]:
    """Return a function that runs with NaN in given batches, or infinite gradients; (exit code, run folder)."""

    def training(*overrides: str, name: str, nan: Any = (), infinite: int = -1, passed: Any = ()) -> tuple[int, Path]:
        begin, update = Trainer.run, Trainer.update

        def run_faulty(trainer: Trainer) -> Any:
            trainer.step.loss.loss = Faulty(trainer.step.loss.loss, trainer, set(nan))
            trainer.state.position.skipped |= set(passed)
            return begin(trainer)

        def update_faulty(trainer: Trainer) -> None:
            position = trainer.state.position
            if position.step == infinite and position.skipped == set(passed):
                next(iter(trainer.state.model.parameters())).grad[0] = math.inf  # type: ignore[index]
            update(trainer)

        with monkeypatch.context() as patched:
            patched.setattr(loop.Trainer, "run", run_faulty)
            patched.setattr(loop.Trainer, "update", update_faulty)
            code = 0
            try:
                train_run(small_config(*PLAIN, *overrides, f"output_dir={tmp_path / name}"), overrides, "…")
            except SystemExit as end:
                code = int(end.code or 0)
        (folder,) = (tmp_path / name).iterdir()
        return code, folder

    return training


def points(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def digest(folder: Path) -> str:
    return str(json.loads((folder / "result.json").read_text())["weights_sha256"])


def test_stop_names_the_step_and_its_samples_and_keeps_the_last_good(train: Any) -> None:
    code, folder = train(name="run", nan=[(1, 2)])  # five steps an epoch: the eighth
    assert code == 1
    reason = json.loads((folder / "record.json").read_text())["reason"]
    assert reason.startswith("the loss became nan at step 8 (epoch 2), with ")
    (told,) = [line for line in (folder / "log.txt").read_text().splitlines() if "reason: the loss" in line]
    assert told.count("/shapes/") == 8
    assert "lower optimizer.lr" in reason
    (last,) = (folder / "checkpoints").glob("*_step_00000006.safetensors")
    from expkit.checkpoints.reader import read_checkpoint

    state, _ = read_checkpoint(last)
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert not [*(folder / "checkpoints").glob("*_step_0000000[7-9]*")]


def test_weights_that_are_no_numbers_are_never_kept(train: Any) -> None:
    code, folder = train("log_every=50", name="run", infinite=4)  # seen nowhere before the epoch's checkpoint
    assert code == 1
    assert "hold NaN or infinity" in json.loads((folder / "record.json").read_text())["reason"]
    assert [path.name for path in (folder / "checkpoints").glob("*.json")] == ["epoch_0000_step_00000003.json"]


@pytest.mark.parametrize("fault", [{"nan": [(0, 3)]}, {"infinite": 3}], ids=["loss", "gradient"])
def test_skip_leaves_nothing_of_the_step(fault: dict[str, Any], train: Any) -> None:
    code, folder = train("on_nan=skip", name="faulty", **fault)
    assert code == 0
    log = (folder / "log.txt").read_text()
    assert log.count("at step 4 (epoch 1), with ") == 1
    assert "the step was passed over (on_nan=skip)" in log
    code, clean = train("on_nan=skip", name="clean", passed=[(0, 3)])
    assert digest(folder) == digest(clean)
    assert [point["step"] for point in points(folder)] == [point["step"] for point in points(clean)]


@pytest.mark.parametrize("fault", [{"nan": [(1, 1)]}, {"infinite": 6}], ids=["loss", "gradient"])
def test_roll_back_ends_as_if_the_batch_had_been_passed_over(fault: dict[str, Any], train: Any) -> None:
    code, folder = train("on_nan=roll_back", name="faulty", **fault)
    assert code == 0
    assert "goes back to step 6, and will pass over that batch" in (folder / "log.txt").read_text()
    code, clean = train("on_nan=roll_back", name="clean", passed=[(1, 1)])
    assert digest(folder) == digest(clean)
    assert points(folder) == points(clean)


def test_roll_back_ends_when_it_does_not_help(train: Any) -> None:
    code, folder = train("on_nan=roll_back", name="run", nan=[(0, batch) for batch in range(5)], passed=[(9, 9)])
    reason = json.loads((folder / "record.json").read_text())["reason"]
    assert code == 0 or "after going back" in reason


def test_roll_back_needs_checkpoints(small_config: Compose) -> None:
    from expkit.core.errors import ConfigError
    from expkit.runs.build import build

    with pytest.raises(ConfigError, match="on_nan: roll_back returns to a checkpoint"):
        build(small_config("on_nan=roll_back", "checkpoint=none"))
