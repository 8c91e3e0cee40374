"""Batch normalisation in step: against torch's, in a group of one, and over parts of a batch in a group of two."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from expkit.devices.ddp import sync_batch_norm


@pytest.fixture
def _alone(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
def test_it_computes_what_torch_does(affine: bool, momentum: float | None) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=affine, momentum=momentum), nn.ReLU()).double()
    ours = copy.deepcopy(plain)
    assert sync_batch_norm(ours, torch.device("cpu")) is ours
    assert ours.state_dict().keys() == plain.state_dict().keys()
    for _ in range(3):
        images = torch.randn(6, 3, 9, 9, dtype=torch.float64)
        losses = [model(images).square().sum() for model in (plain, ours)]
        assert torch.allclose(*losses)
        for loss in losses:
            loss.backward()
    for (name, own), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.allclose(own.grad, other.grad, atol=1e-10), name
    for (name, own), other in zip(ours.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(own, other, atol=1e-12), name
    ours.eval()
    plain.eval()
    assert torch.allclose(ours(images), plain(images))
    assert copy.deepcopy(ours)[1].forward.module is not ours[1]  # an average of the weights has its own
