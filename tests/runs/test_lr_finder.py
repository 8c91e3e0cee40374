"""The range test: its rule on a known curve, its steps against those of a run, and that it leaves nothing behind."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.runs.build import build
from expkit.runs.lr_finder import RangeTest, run_range_test
from expkit.runs.train import train as train_run
from expkit.training.schedules import FactorSchedule, WarmUp
from tests.training.watch_runs import Shown

Compose = Callable[..., Config]


def range_test(losses: list[float]) -> RangeTest:
    test = RangeTest()
    for step, loss in enumerate(losses):
        test.add(10.0 ** (-6 + step / 10), loss)
        if test.diverged:
            break
    return test


def test_the_middle_of_the_fall_is_suggested() -> None:
    flat, fall, up = [2.0] * 20, [2.0 - 0.05 * step for step in range(1, 21)], [1.0 + 3 * step for step in range(20)]
    test = range_test([*flat, *fall, *up])
    assert test.diverged
    assert len(test.rates) < 60
    assert test.suggestion is not None
    place = test.rates.index(test.suggestion)
    assert 27 <= place <= 33  # the fall is from 20 to 40
    assert test.rates[test.lowest] > test.suggestion


def test_a_loss_that_rises_behind_its_lowest_place_went_up() -> None:
    falls = [1.0 - 0.02 * step for step in range(30)]
    assert not range_test(falls).went_up
    assert range_test([*falls, *(0.4 + 0.05 * step for step in range(10))]).went_up


def test_its_running_mean_is_corrected_for_its_start() -> None:
    test = range_test([3.0, 1.0, 2.0])
    assert test.smooth == pytest.approx([3.0, (0.9 * 0.3 + 0.1) / 0.19, (0.81 * 0.3 + 0.09 + 0.2) / 0.271])


@pytest.mark.parametrize("losses", [[2.0] * 40, [2.0 + 0.01 * step for step in range(40)], [float("inf")], [1.0, 0.5]])
def test_where_nothing_is_learned_nothing_is_suggested(losses: list[float]) -> None:
    assert range_test(losses).suggestion is None


def test_its_first_steps_are_those_of_a_run(small_config: Compose) -> None:
    """With rates so small that nothing moves, the losses are those of a run that stands still."""
    still = ["optimizer=sgd", "optimizer.lr=1e-12", "schedule=constant", "log_every=1", "epochs=4"]
    config = small_config(*still, "batch_size=8", "accumulate_steps=2", "device.threads=1")
    folder = train_run(config, [], "…")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "step"]
    assert len(losses) == 4 * 3  # of 40 images: two updates of 16 and one of 8
    assert run_range_test(config, 1e-12, 1e-11, 12).losses == pytest.approx(losses, rel=1e-5)


def test_it_is_keyed_and_leaves_nothing(small_config: Compose, tmp_path: Path) -> None:
    config = small_config("epochs=1", "device.threads=1")
    first = train_run(config, [], "…")
    tests = [run_range_test(config, 1e-5, 1.0, 12) for _ in range(2)]
    assert tests[0] == tests[1]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [first.name]
    again = train_run(config, [], "…")
    digests = [json.loads((folder / "result.json").read_text())["weights_sha256"] for folder in (first, again)]
    assert digests[0] == digests[1]


def test_groups_keep_their_shares(small_config: Compose, monkeypatch: Any) -> None:
    seen: list[list[float]] = []
    step = torch.optim.AdamW.step

    def stepping(optimizer: torch.optim.AdamW, *more: Any) -> Any:
        seen.append([group["lr"] for group in optimizer.param_groups])
        return step(optimizer, *more)

    monkeypatch.setattr(torch.optim.AdamW, "step", stepping)
    run_range_test(small_config("optimizer.layer_decay=0.5", "device.threads=1"), 0.001, 0.1, 10)
    assert max(seen[0]) == pytest.approx(0.001)
    assert max(seen[-1]) == pytest.approx(0.1)
    for rates in seen:
        assert [rate / max(rates) for rate in rates] == pytest.approx([rate / max(seen[0]) for rate in seen[0]])
    assert len(set(seen[0])) > 2


def test_with_fp16_it_suggests_about_what_fp32_does(small_config: Compose) -> None:
    words = ["dataset.train_images=60", "device.threads=1", "optimizer=sgd", "clip_grad_norm=1"]
    full, half = (
        run_range_test(small_config(*words, f"device.precision={precision}"), 1e-5, 1.0, 40)
        for precision in ("fp32", "fp16")
    )
    assert len(half.rates) == len(full.rates)
    assert half.suggestion is not None
    assert full.suggestion is not None
    assert full.suggestion / 4 < half.suggestion < full.suggestion * 4


OPTIONS = {
    "plain": [],
    "clipping": ["clip_grad_norm=0.1"],
    "fp16": ["device.precision=fp16"],
    "fp16, clipping": ["device.precision=fp16", "clip_grad_norm=0.1"],
    "an average is left out": ["ema_decay=0.9"],
    "pieces, two batches an update": ["accumulate_steps=2", "device.micro_batch=5"],
    "pieces as memory allows": ["device.micro_batch=auto", "model=mlp"],
    "mixing and dropout": ["transforms.batch=[{name: MixUp, alpha: 0.4}]", "model.dropout=0.3"],
    "freed layer by layer": ["optimizer.unfreeze_every=1"],
}


CHOSEN = [*OPTIONS] if os.environ.get("EXPKIT_LONG") == "1" else ["plain", "fp16, clipping", "mixing and dropout"]


@pytest.mark.parametrize("chosen", CHOSEN)
def test_its_updates_are_the_runner_s(chosen: str, small_config: Compose) -> None:
    """A run whose schedule rises as the range does has the same losses, to the last digit."""
    words = ["optimizer=sgd", "optimizer.lr=1.0", "schedule=constant", "log_every=1", "epochs=5", *OPTIONS[chosen]]
    config = small_config(*words)
    found = run_range_test(config, 1e-3, 0.1, 10)
    job = build({**config, "ema_decay": None, "watch": {}, "logger": {}})
    shown = Shown()
    job.trainer.observers.logger.attach([shown])

    class Rising(FactorSchedule):
        def factor_at(self, step: int) -> float:
            return float(1e-3 * 100.0 ** (step / 9))

    job.trainer.state.schedule = Rising(job.trainer.state.optimizer, lambda progress: 1.0, 12, WarmUp())
    job.trainer.run()
    losses = [point.values["loss"] for point in shown.points if point.kind == "step"]
    assert found.losses == losses[:10]


def test_a_range_that_is_none_is_refused(small_config: Compose) -> None:
    with pytest.raises(ConfigError, match="expected 0 < --lowest < --highest"):
        run_range_test(small_config(), 1.0, 0.1, 20)
