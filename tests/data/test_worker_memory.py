"""Workers do not grow from epoch to epoch, and share what a large dataset knows."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from torch import Tensor

from expkit.config.registry import samplers
from expkit.data.batches import Samples
from expkit.data.datasets.image_files import ImageFiles
from expkit.data.datasets.image_folder import read_folders
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.data.transforms import build_chain

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc to measure memory by")
RECIPE = [{"name": "RandomResizedCrop", "size": 128}, {"name": "RandAugment"}]


def megabytes(pid: int | None) -> float:
    """Return the memory that a process has written to, its own or shared: files are left out.

    Memory that only one process maps would be the wrong measure: of what a worker took over from the test's process, a
    page becomes "private" to the worker as soon as the other writes to its copy.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return (
        sum(int(kilobytes) for kilobytes in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE)) / 1024
    )


class Leaking(ImageFiles):
    """Files whose reader keeps one image of each batch of four."""

    def image(self, index: int) -> Tensor:
        image = super().image(index)
        kept = vars(self).setdefault("kept", [])
        kept.append(image if len(kept) % 4 == 0 else None)
        return image


def growth(folder: Path, kind: type[ImageFiles]) -> float:
    """Return by how many megabytes the worker that grows most does so over 50 epochs."""
    files = read_folders(folder, "dataset.root")
    files.__class__ = kind
    order: Order = samplers.build({"name": "shuffle"}, targets=files.targets)
    loader = Loader(Samples(files, build_chain(RECIPE, 128, 128), 0, "sample"), order, 4, LoaderOptions(num_workers=2))
    sizes = []
    for epoch in range(55):
        batches = sum(1 for _ in loader.epoch(epoch))
        assert batches == 10
        sizes.append([megabytes(worker.pid) for worker in loader.workers()])
    loader.close()
    return max(after - before for before, after in zip(sizes[4], sizes[-1], strict=True))


IS_LONG = os.environ.get("EXPKIT_LONG") == "1"


@pytest.mark.parametrize("kind", [ImageFiles, *([Leaking] if IS_LONG else [])])
def test_workers_do_not_grow(kind: type[ImageFiles], image_files: Callable[..., Path]) -> None:
    """Measured: below 1 MB, and 29 MB where one image of each of 500 batches is kept."""
    names = [f"{name}/{number}.jpg" for name in "ab" for number in range(20)]
    folder = image_files("files", *names, size=(160, 160))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # here, freed memory would hide a leak
        grown = fresh.submit(growth, folder, kind).result()
    assert grown < 8 if kind is ImageFiles else grown > 16


# Memory of files, as libraries are, is left out: how it is shared depends on what else runs on the machine.
PROGRAM = """
import multiprocessing, os, re, sys
from pathlib import Path
import torch
from expkit.data.datasets.image_files import ImageFiles
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.batches import Samples
from expkit.data.splits import hold_out
from expkit.data.transforms import Chain
from expkit.records.environment import fingerprint
from expkit.config.registry import samplers

class Tiny(ImageFiles):
    def image(self, index):
        return torch.full((3, 2, 2), len(self.sample_name(index)), dtype=torch.uint8)

def megabytes(pid):
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kilobytes) for kilobytes in re.findall(r"^Pss_(?:Anon|Shmem): +(\\d+) kB", rollup, re.M)) / 1024

count = int(sys.argv[1])
classes = min(1000, count // 5)
paths = [f"class_{number % classes:04d}/ILSVRC2012_train_{number:08d}.JPEG" for number in range(count)]
files = Tiny(Path("/data/images"), paths, (number % classes for number in range(count)), list(map(str, range(classes))))
del paths
splits = hold_out(files, 0.2, 0)
loaders = []
for data, order in zip(splits, ("shuffle", "sequential"), strict=True):
    fingerprint(data)
    order = samplers.build({"name": order}, targets=data.targets)
    loaders.append(Loader(Samples(data, Chain(()), 0, "sample"), order, 1, LoaderOptions(num_workers=2)))
    batches = loaders[-1].epoch(0)
    assert next(batches).images.unique().tolist() == [41] and len(next(batches).images) == 1
children = multiprocessing.active_children()
assert len(children) == 4
print(megabytes(os.getpid()) + sum(megabytes(child.pid) for child in children))
for loader in loaders:
    loader.close()
"""


def test_a_million_paths_cost_less_than_200_megabytes() -> None:
    """Measured: the training process and two workers for each of two splits, against 10 paths."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    found = [
        subprocess.run([*command, str(count)], capture_output=True, text=True, timeout=240) for count in (10, 1_000_000)
    ]
    assert [one.stderr for one in found] == ["", ""]
    few, million = (float(one.stdout) for one in found)
    assert million - few < 200
    assert million - few > 1_000_000 * 41 / 2**20  # the paths themselves at least: it was measured
