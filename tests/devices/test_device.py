"""Placing models: the layout that convolutions prefer, but where torch would corrupt memory with it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from expkit.config.hydra_loader import Config
from expkit.devices import Device, DeviceOptions
from expkit.devices.device import Precision
from expkit.models.small import small_resnet
from expkit.runs.build import build


@pytest.mark.parametrize(("width", "is_channels_last"), [(4, False), (16, True)])
def test_narrow_strided_convolutions_keep_the_plain_layout(width: int, is_channels_last: bool) -> None:
    device = Device(torch.device("cpu"), DeviceOptions())
    model = device.place(small_resnet(2, width=width))
    assert device.channels_last is is_channels_last
    assert ("channels_last" in device.describe()) is is_channels_last
    images = device.images(torch.zeros(3, 3, 16, 16, dtype=torch.uint8))
    assert images.is_contiguous(memory_format=torch.channels_last) is is_channels_last
    for _ in range(30):  # with the other layout the narrow one ends in "corrupted size vs. prev_size"
        model(torch.randn(11, 3, 36, 36)).square().mean().backward()


def test_the_layout_is_the_user_s_to_refuse() -> None:
    device = Device(torch.device("cpu"), DeviceOptions(channels_last=False))
    weight = device.place(nn.Conv2d(16, 16, 3)).weight
    assert isinstance(weight, nn.Parameter)
    assert weight.is_contiguous()


Compose = Callable[..., Config]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16", "auto"])
def test_weights_stay_float32_in_every_precision(precision: Precision, small_config: Compose) -> None:
    job = build(small_config(f"device.precision={precision}", "max_steps=3", "clip_grad_norm=1"))
    assert job.trainer.run()["train/loss"] == pytest.approx(1.6, abs=0.5)
    assert {weight.dtype for weight in job.trainer.state.model.parameters()} == {torch.float32}
    if precision == "auto":
        assert job.trainer.step.device.describe().split(", ")[1] in ("bf16 (auto)", "fp32 (auto)")


def test_fp16_passes_over_an_overflow_and_its_scale_goes_on(small_config: Compose) -> None:
    job = build(small_config("device.precision=fp16", "clip_grad_norm=1", "ema_decay=0.9"))
    scaler, model = job.trainer.state.scaler, job.trainer.state.model
    scaler._init_scale = 2.0**60  # float16 ends at 65,504
    before = [weight.detach().clone() for weight in model.parameters()]
    job.trainer.stop_at(1)
    job.trainer.run()
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert scaler.get_scale() == 2.0**59
    again = build(small_config("device.precision=fp16", "clip_grad_norm=1", "ema_decay=0.9"))
    again.trainer.load_state_dict(job.trainer.state_dict())
    assert again.trainer.state.scaler.get_scale() == 2.0**59


def test_deterministic_is_the_process_s_only_while_it_is_asked_for() -> None:
    for asked in (True, False):
        Device(torch.device("cpu"), DeviceOptions(deterministic=asked)).activate()
        assert torch.are_deterministic_algorithms_enabled() is asked


def test_ranks_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expkit.devices.device.available_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads = [Device(torch.device("cpu"), DeviceOptions(), sharing).threads for sharing in (1, 2, 16)]
    assert threads == [8, 4, 1]
