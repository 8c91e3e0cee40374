"""What a plugin file defines is known in worker processes too, however these start."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from expkit.config import plugins
from expkit.config.plugins import load_plugins
from expkit.config.registry import samplers
from expkit.data.batches import Samples
from expkit.data.cache import Cache, cached
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.transforms import Chain

PLUGIN = """
from pathlib import Path

from torch import Tensor

from expkit.data.datasets.image_files import ImageFiles


class Dim:
    def __call__(self, image: Tensor) -> Tensor:
        return image[:, :8, :8] // 2


class Own(ImageFiles):
    def encoded(self, index: int) -> bytes:
        return super().encoded(len(self) - 1 - index)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", [])
    Path("of_user.py").write_text(PLUGIN)
    load_plugins(["of_user.py"])
    yield "expkit_plugin_of_user"
    del sys.modules["expkit_plugin_of_user"]


def test_spawned_workers_know_plugins(plugin: str, image_files: Callable[..., Path]) -> None:
    """A data set and a transform of the plugin."""
    module = sys.modules[plugin]
    files = module.Own(
        image_files("images", "a/0.jpg", "a/1.jpg", "b/2.jpg"), ["a/0.jpg", "a/1.jpg", "b/2.jpg"], [0, 0, 1], ["a", "b"]
    )
    order = samplers.build({"name": "sequential"}, targets=files.targets)
    data, _ = cached(files, Chain((module.Dim(),)), Cache("memory", Path("unused")), "train")
    samples = Samples(data, Chain((module.Dim(),)), 0, "sample")  # the cache has the plugin's data set within
    spawned = Loader(samples, order, 3, LoaderOptions(num_workers=1, start_method="spawn", timeout=300))
    (batch,) = spawned.epoch(0)
    spawned.close()
    assert torch.equal(batch.images, next(Loader(samples, order, 3).epoch(0)).images)
