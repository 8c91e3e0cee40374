"""Ranks that share out the weights: the run of one process, its checkpoints, and what cannot go together."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from expkit.core.errors import ConfigError
from expkit.devices import Layout
from expkit.devices.fsdp import check_shardable
from tests.devices.comparing import TWO, assert_same_run, assert_same_weights, by_one, by_ranks, last_checkpoint
from tests.devices.starting import done, only_run, points, small
from tests.devices.test_process_group import EVERYTHING

long = pytest.mark.skipif(os.environ.get("EXPKIT_LONG") != "1", reason="starts many processes: EXPKIT_LONG=1 runs it")
FSDP = "device.strategy=fsdp"
SQUEEZENET = ["model=squeezenet", "transforms.image_size=64", "model.dropout=0.0", "batch_size=8", "optimizer=sgd"]
SCENARIOS = [
    ["accumulate_steps=2", "dataset.train_images=40", "optimizer=sgd", "optimizer.momentum=0.8"],
    ["optimizer=rmsprop", "on_nan=skip", "clip_grad_norm=0.5", "schedule=constant"],
    ["swa_from=0.2", "optimizer.layer_decay=0.75"],
    [*SQUEEZENET, "model.freeze=['features.0.*']"],
    ["watch=everything", "ema_decay=0.9", "ema_rule=torchvision", "on_nan=roll_back"],
]  # fmt: skip


def test_shares_do_the_run_of_one(tmp_path: Path) -> None:
    more = [*EVERYTHING, "transforms.batch=[{name: MixUp, alpha: 0.4},{name: CutMix}]"]
    one, two = by_one(tmp_path, *more), by_ranks(tmp_path, *more, FSDP)
    assert_same_run(one, two)
    assert "2 ranks, each with a shard of the weights (fsdp)" in (two / "log.txt").read_text()
    digests = json.loads((two / "result.json").read_text())
    assert {len(digests["weights_sha256"]), len(digests["average_sha256"])} == {64}


@long
@pytest.mark.parametrize("more", SCENARIOS, ids=" ".join)
def test_shares_do_other_runs_too(more: list[str], tmp_path: Path) -> None:
    assert_same_run(by_one(tmp_path, *more), by_ranks(tmp_path, *more, FSDP))


@long
def test_four_shares_of_weights_that_four_does_not_divide(tmp_path: Path) -> None:
    more = [*EVERYTHING, "model.width=6"]
    assert_same_run(by_one(tmp_path, *more), by_ranks(tmp_path, *more, FSDP, "device.count=4"))


@long
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([*TWO, FSDP], ["device=cpu"]),
        ([*TWO, FSDP], ["device=multi_cpu", "device.count=4", FSDP]),
        ([*TWO, FSDP], ["device=multi_cpu", "device.count=4"]),
        (TWO, [*TWO, FSDP]),
        (["device=cpu"], [*TWO, FSDP]),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_checkpoint_goes_on_by_any_number_of_ranks(first: list[str], then: list[str], tmp_path: Path) -> None:
    more = ["schedule=constant", "ema_decay=0.9", "clip_grad_norm=1"]
    whole = last_checkpoint(by_one(tmp_path, *more))
    code, printed = done(small(tmp_path, f"output_dir={tmp_path}/begun", *first, *more, "max_steps=4"))
    assert code == 0, printed
    begun = only_run(tmp_path / "begun")
    overrides = small(
        tmp_path, f"output_dir={tmp_path}/begun", *then, *more, f"checkpoint.resume={begun}", "max_steps=null"
    )
    code, printed = done(overrides)
    assert code == 0, printed
    assert "resumes from" in printed
    assert_same_weights(whole, begun / "checkpoints" / whole.name)
    assert points(begun)[-1]["epoch"] == 1


@long
def test_weights_of_another_run_are_taken(tmp_path: Path) -> None:
    other = by_one(tmp_path, "ema_decay=0.9")
    more = [f"checkpoint.init_from={other}", "epochs=1", "device.precision=fp16"]
    (tmp_path / "next").mkdir()
    one, two = by_one(tmp_path / "next", *more), by_ranks(tmp_path / "next", *more, FSDP)
    assert re.search(r"took (\d+) of \1 weights", (two / "log.txt").read_text())
    last = [points(run)[-1]["val/loss"] for run in (one, two)]
    assert last[0] == pytest.approx(last[1], rel=0.02)  # halves


@pytest.mark.parametrize(
    ("model", "optimizer", "layout", "compiles", "told"),
    [
        (nn.Linear(2, 2), "Adafactor", {}, False, "optimizer.name: torch's Adafactor does not support sharded weights"),
        (nn.BatchNorm2d(2), "SGD", {"sync_batchnorm": False}, False, "device.sync_batchnorm: false leaves each rank"),
        (nn.Linear(2, 2), "SGD", {}, True, "device.compile: is not supported by device.strategy=fsdp"),
        (nn.Linear(2, 2), "SGD", {"unused_parameters": True}, False, "device.unused_parameters: is for"),
    ],
)
def test_what_cannot_go_together_is_refused(
    model: nn.Module, optimizer: str, layout: dict[str, bool], compiles: bool, told: str
) -> None:
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=0.1)
    with pytest.raises(ConfigError, match=told):
        check_shardable(model, made, Layout((torch.device("cpu"),) * 2, "fsdp", **layout), compiles)


@pytest.mark.parametrize("optimizer", ["SGD", "Adagrad"])
def test_fused_updates_that_shares_do_not_have_are_refused(optimizer: str) -> None:
    model = nn.Linear(2, 2)
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=0.1, fused=True)
    layout = Layout((torch.device("cpu"),) * 2, "fsdp")
    check_shardable(model, made, layout, compiles=False)  # expkit's own choice, which it takes back
    with pytest.raises(
        ConfigError, match=f"optimizer.fused: torch's fused {optimizer} does not support sharded weights"
    ):
        check_shardable(model, made, layout, compiles=False, fused=True)


@long
def test_a_refusal_among_ranks_leaves_nothing_behind(tmp_path: Path) -> None:
    more = ["optimizer=torch", "optimizer.name=adafactor"]
    code, printed = done(small(tmp_path, f"output_dir={tmp_path}/out", *TWO, FSDP, *more))
    assert code == 2, printed
    assert printed.count("error: optimizer.name: torch's Adafactor") == 1, printed
    assert not list((tmp_path / "out").iterdir())
