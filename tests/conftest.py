"""What every test may ask for: real data where there is some, drawn images, and small configs."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from expkit.api import Run
from expkit.config.compose import compose_one, plain
from expkit.config.hydra_loader import Config
from tests.forks import Forks, forks
from tests.inference.runs import multilabel_run, task_run, trained_run
from tests.loggers.servers import free_port, visdom_server

# Tests start hundreds of processes: each would compile torch's modules anew, for five seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images that EXPKIT_REAL_DATA names."""
    if not (folder := os.environ.get("EXPKIT_REAL_DATA")):
        pytest.skip("EXPKIT_REAL_DATA is not set: it names a folder of real images")
    return Path(folder)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two epochs on drawn shapes; tests only read it."""
    return trained_run(tmp_path_factory.mktemp("small_run"), "checkpoint.keep_last=2")


@pytest.fixture(scope="session")
def small_multilabel_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on images with none, one or two labels; tests only read it."""
    return multilabel_run(tmp_path_factory.mktemp("small_multilabel_run"))


@pytest.fixture(scope="session")
def task_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of one epoch of each task whose answer is not classes; tests only read them."""
    folder = tmp_path_factory.mktemp("task_runs")
    return {task: task_run(folder, task) for task in ("regression", "segmentation", "reconstruction")}


@pytest.fixture(scope="session")
def visdom_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Visdom server for all tests that do not end it; each has environments of its own."""
    port = free_port()
    with visdom_server(tmp_path_factory.mktemp("visdom"), port):
        yield port


@pytest.fixture(scope="session")
def commands(_own_cache: None) -> Iterator[Forks]:
    """Starts commands in processes that have imported torch already."""
    with forks() as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What expkit remembers of data on this machine goes to a folder of the tests, in their processes too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # Of a run's process too: networks this small gain nothing, and on a busy machine threads wait for each other.
        patched.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_counts() -> None:
    """Tests started in a shell's background inherit an ignored SIGINT, and would hand it on to what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def image_files(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes JPEG files: image_files("root", "cat/1.jpg", "dog/1.jpg")."""

    def write(root: str, *names: str, size: tuple[int, int] = (40, 36)) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise(size, 60 + number).convert("RGB").save(path)
        return tmp_path / root

    return write


@pytest.fixture
def small_config(tmp_path: Path) -> Callable[..., Config]:
    """Return a function that composes a config of a small, quick run; overrides come after."""

    def build(*overrides: str) -> dict[str, Any]:
        shapes = [f"dataset.root={tmp_path}/shapes", "dataset.size=32", "dataset.train_images=40"]
        shapes += ["dataset.val_images=10", "dataset.num_workers=0"]
        common = ["epochs=2", "batch_size=16", "logger=none", f"output_dir={tmp_path}/outputs"]
        chosen = {word.partition("=")[0] for word in overrides}
        if not chosen & {"dataset", "experiment"}:
            common += shapes
        if not chosen & {"model", "experiment"}:
            common.append("model.width=4")
        return plain(compose_one([*common, *overrides]))

    return build
