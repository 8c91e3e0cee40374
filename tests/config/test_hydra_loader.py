"""What is used of Hydra's private parts is there, as it is used, in the version that is installed."""

import inspect
import re
from pathlib import Path
from typing import Any

import hydra
import hydra._internal.hydra as hydra_entry
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from expkit.config import hydra_loader

PACKAGE = Path(hydra_loader.__file__).parents[1]
ALLOWED = ((1, 3, 7), (1, 4))  # from, and before: hydra-core in pyproject.toml
PRIVATE = [
    (ConfigLoaderImpl.__init__, ["self", "config_search_path"]),
    (ConfigLoaderImpl.load_configuration,
     ["self", "config_name", "overrides", "run_mode", "from_shell", "validate_sweep_overrides"]),
    (ConfigLoaderImpl._parse_overrides_and_create_caching_repo, ["self", "config_name", "overrides"]),
    (ConfigLoaderImpl._apply_overrides_to_config, ["overrides", "cfg"]),
    (CachingConfigRepository.load_config, ["self", "config_path"]),
    (CachingConfigRepository.get_sources, ["self"]),
    (FileConfigSource.__init__, ["self", "provider", "path"]),
    (FileConfigSource.load_config, ["self", "config_path"]),
    (FileConfigSource._normalize_file_name, ["filename"]),
]  # fmt: skip


def test_only_one_file_uses_private_parts() -> None:
    uses = {path.name: path.read_text("utf-8").count("hydra._internal") for path in PACKAGE.rglob("*.py")}
    assert {name: number for name, number in uses.items() if number} == {"hydra_loader.py": 4}


def test_the_versions_are_those_that_the_project_allows() -> None:
    assert ALLOWED[0] <= tuple(map(int, re.findall(r"\d+", hydra.__version__)[:3])) < ALLOWED[1]
    if (project := PACKAGE.parent / "pyproject.toml").is_file():
        lowest, highest = (".".join(map(str, one)) for one in ALLOWED)
        assert f'"hydra-core>={lowest},<{highest}"' in project.read_text("utf-8")


@pytest.mark.parametrize(("function", "parameters"), PRIVATE, ids=lambda value: getattr(value, "__qualname__", ""))
def test_a_private_function_takes_what_it_is_given(function: Any, parameters: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def test_hydra_takes_the_loader_and_the_reader_from_where_they_are_put() -> None:
    assert vars(hydra_entry)["ConfigLoaderImpl"] is ConfigLoaderImpl
    assert "ConfigLoaderImpl(" in inspect.getsource(hydra_entry.Hydra.create_main_hydra2)
    Plugins.instance()  # it fills the registry
    assert SourcesRegistry.instance().types["file"] is SourcesRegistry.instance().resolve("file")


@pytest.mark.parametrize(
    ("group", "name"), [("launcher", hydra_loader.BASIC_LAUNCHER), ("sweeper", hydra_loader.BASIC_SWEEPER)]
)
def test_the_basic_plugins_bear_the_names_that_hydra_gives_them(group: str, name: str) -> None:
    assert ConfigStore.instance().load(f"hydra/{group}/basic.yaml").node._target_ == name
