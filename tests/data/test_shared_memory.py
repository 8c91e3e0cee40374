"""Workers write into the same memory again, and never into what the training process still holds."""

import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from expkit.config.registry import samplers
from expkit.data import shared_memory
from expkit.data.batches import Samples
from expkit.data.datasets.image_folder import read_folders
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.transforms import build_chain

RECIPE = [{"name": "RandomResizedCrop", "size": 24}, {"name": "RandomHorizontalFlip"}]


@pytest.fixture
def folder(image_files: Callable[..., Path]) -> Path:
    return image_files("images", *(f"{name}/{number}.jpg" for name in "ab" for number in range(20)))


def loader(folder: Path, **options: Any) -> Loader:
    data = read_folders(folder, "dataset.root")
    order = samplers.build({"name": "shuffle"}, targets=data.targets)
    return Loader(Samples(data, build_chain(RECIPE, 24, 24), 0, "sample"), order, 2, LoaderOptions(**options))


def digest(images: Tensor) -> str:
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()


ONLY_LONG = pytest.mark.skipif(not os.environ.get("EXPKIT_LONG"), reason="spawning takes long: set EXPKIT_LONG=1")
WAYS = [
    {"start_method": "fork"},
    {"start_method": "fork", "persistent": False},
    pytest.param({"start_method": "spawn", "timeout": 300}, marks=ONLY_LONG),  # its pixels: test_loader.py
]
HOLDS: dict[str, Callable[[Tensor], Any]] = {
    "the batch": lambda images: images,
    "a view": lambda images: images[1:].permute(0, 2, 3, 1),
    "an array": lambda images: images[1].numpy(),
    "what autograd saved": lambda images: torch.ones(1, requires_grad=True) * images,
}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS.keys())
@pytest.mark.parametrize("every", [1, 3])
def test_what_is_held_is_never_written_into(folder: Path, hold: Callable[[Tensor], Any], every: int) -> None:
    """Of three epochs all batches are held, or each third, by whatever refers to their memory; the rest are dropped."""
    batches, held = loader(folder, num_workers=2), []
    for epoch in range(3):
        for number, batch in enumerate(batches.epoch(epoch)):
            if number % every == 0:
                held.append((hold(batch.images), epoch, number))
            del batch
    batches.close()
    here = loader(folder)
    for kept, epoch, number in held:
        images = next(here.epoch(epoch, number)).images
        assert digest(torch.as_tensor(kept).detach()) == digest(torch.as_tensor(hold(images)).detach())


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_memory_is_used_again_and_the_pixels_are_the_same(folder: Path, way: dict[str, Any]) -> None:
    batches, here, places = loader(folder, num_workers=2, prefetch=2, **way), loader(folder), set()
    for epoch in range(2):
        for ours, theirs in zip(batches.epoch(epoch), here.epoch(epoch), strict=True):
            places.add(ours.images.data_ptr())
            assert digest(ours.images) == digest(theirs.images)
    batches.close()
    assert len(places) <= (8 if way.get("persistent", True) else 16)  # of 40 batches: four slots a worker


def test_a_jump_out_of_an_epoch_gives_its_slots_back(folder: Path) -> None:
    batches, places = loader(folder, num_workers=1, prefetch=2), set()
    for epoch in range(8):
        for batch in itertools.islice(batches.epoch(epoch), 3):
            places.add(batch.images.data_ptr())
    assert digest(next(batches.epoch(1, 4)).images) == digest(next(loader(folder).epoch(1, 4)).images)
    batches.close()
    assert len(places) <= 4


def test_nothing_is_kept_of_workers_that_have_ended(folder: Path) -> None:
    others = set(shared_memory._attached)
    batches = loader(folder, num_workers=2, persistent=False)
    for epoch in range(2):
        held = [batch.images for batch in batches.epoch(epoch)]
        running = {worker.pid for worker in batches.workers()}
        assert {pid for pid, _ in set(shared_memory._attached) - others} == running
    batches.close()
    assert set(shared_memory._attached) == others
    assert [digest(images) for images in held] == [digest(batch.images) for batch in loader(folder).epoch(1)]


def test_a_slot_is_free_once_its_last_view_is_gone() -> None:
    own, received = shared_memory.Slots(2), []

    def handed_over(number: int) -> Tensor:
        images = own.empty((2, 3, 4, 4))
        images.fill_(number)
        function, where = own.lend(images[:1]).__reduce__()
        received.append(function(*where))
        return own._memory[own._chosen]  # type: ignore[return-value]

    first, second = handed_over(1), handed_over(2)
    assert first is not second
    fresh = own.empty((2, 3, 4, 4))
    assert own.lend(fresh) is fresh  # both are held: it is sent as any tensor is
    assert [batch.unique().tolist() for batch in received] == [[1], [2]]
    assert received[0].shape == (1, 3, 4, 4)
    view = received.pop(0)[0, 0]
    assert first[0] == 1
    del view
    assert first[0] == 0
    assert handed_over(3) is first
    received.pop()
    assert handed_over(4) is first
    received.pop()
    larger = own.empty((2, 3, 8, 8))
    assert larger.numel() > len(first)
    received.clear()
    shared_memory.forget([os.getpid()])


def test_an_exception_takes_no_slot() -> None:
    own = shared_memory.Slots(1)
    places = {own.empty((2, 3, 4, 4)).data_ptr() for _ in range(5)}
    assert len(places) == 1
