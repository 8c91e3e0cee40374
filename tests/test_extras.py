"""Every extra is tried on every Python by the workflow, and by tests/extras.py in a way that knows each of them."""

import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.extras import NOT_IN_ALL, PACKAGES, packages_of
from tests.visdom_pythons import VERSIONS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_the_workflow_tries_every_extra_on_every_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    matrix = workflow["jobs"]["extras"]["strategy"]["matrix"]
    assert sorted(matrix["extra"]) == sorted(EXTRAS)
    assert matrix["python"] == list(VERSIONS)
    assert sorted(EXTRAS) == sorted([*PACKAGES, "all"])


def test_all_holds_what_plain_pip_can_install() -> None:
    """Visdom 0.2.4, which Python 3.11 gets, is built by setuptools below 81 only."""
    of_every_python, of_some = EXTRAS["all"]
    assert of_some == "expkit[visdom]; python_version >= '3.12'"
    named = set(of_every_python.removeprefix("expkit[").removesuffix("]").split(","))
    assert named == set(PACKAGES) - {"visdom", "slurm", "ray"}
    assert {"slurm", "ray"} <= NOT_IN_ALL


@pytest.mark.parametrize(
    "extra", ["visdom", "coco", "lsun", "region", "doctor", "huggingface", "timm", "optuna", "export"]
)
def test_packages_of_the_extras_that_are_installed(extra: str) -> None:
    for name in packages_of(extra):
        assert find_spec(name.partition(".")[0]), name
