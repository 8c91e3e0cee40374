"""What authors of plugins import: the list of names stays, and nothing else of the package is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from expkit import extend
from tests.forks import Forks

ROOT = Path(__file__).parents[1]
NAMES = {
    "datasets", "loggers", "losses", "metrics", "mixings", "models", "optimizers", "samplers", "schedules",
    "transforms", "watchers", "ConfigError", "BadImage", "ImageArrays", "ImageDataset", "ImageFiles", "Splits",
    "read_folders", "Logger", "Point", "RunFacts", "Curves", "Embedding", "Figure", "Graph", "Histogram", "Matrix",
    "Metric", "Picture", "Table", "Text", "Judged", "Scene", "WatchOptions", "Watcher", "Where", "OUTPUT", "PLACE",
    "RESULT", "SPEED",
    "tasks", "Task", "TaskInfo", "WithMasks", "WithNumbers",
}  # fmt: skip
TEMPLATES = ROOT / "expkit" / "cli" / "new_project" / "templates"
FOR_AUTHORS = [
    *ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md"), *TEMPLATES.rglob("*.py"), TEMPLATES / "README.md",
]  # fmt: skip
OLD_PLUGIN = """
from torch import nn

from expkit.registry import ConfigError, models
from expkit.data.dataset import Splits
from expkit.data.datasets.image_files import ImageFiles
from expkit.loggers.base import Logger, Point


@models.register("mine")
def mine(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))
"""


def test_the_names_are_these() -> None:
    assert set(extend.__all__) == NAMES
    assert all(hasattr(extend, name) for name in NAMES)


@pytest.mark.parametrize("path", FOR_AUTHORS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_import_nothing_else_of_the_package(path: Path) -> None:
    found = re.findall(r"^ *(?:from|import) (expkit[\w.]*)", path.read_text(encoding="utf-8"), re.M)
    assert set(found) <= {"expkit", "expkit.extend"}


def test_a_plugin_of_version_0_1_is_read(commands: Forks, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(OLD_PLUGIN)
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("name: mine\n")
    more = ["dataset.train_images=16", "dataset.val_images=16", "epochs=1", "logger=none", "limit_train_batches=1"]
    done = commands.run(tmp_path, "--plugin", "old.py", "model=mine", *more)
    assert done.returncode == 0, done.stderr


def test_it_can_be_imported_first() -> None:
    """No import of the package goes in a circle, whichever module a plugin begins with."""
    for name in ("expkit.extend", "expkit.config.registry", "expkit.data.dataset", "expkit.loggers.base"):
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
