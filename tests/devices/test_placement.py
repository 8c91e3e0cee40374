"""Placing models: the layout that convolutions prefer, but where torch would corrupt memory with it."""

import pytest
import torch
from torch import nn

from expkit.devices import Device, DeviceOptions
from expkit.models.small import small_resnet


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
