"""Registered names from outside the package: installed plugins, and files named on the command line."""

import importlib.util
import pickle
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from expkit.config import registry
from expkit.core.errors import ConfigError
from expkit.core.user_folders import expanded

_loaded: list[str] = []  # absolute paths of files


def load_plugins(files: Iterable[str]) -> None:
    """Import installed plugins (entry-point group `expkit.plugins`) and then files; each registers its names.

    Raises ConfigError for a file that is missing or does not import.
    """
    # Where plugins of version 0.1 import from, those in records too.
    sys.modules.setdefault("expkit.registry", registry)
    for entry in entry_points(group="expkit.plugins"):
        try:
            entry.load()
        except ConfigError:
            raise
        except Exception as error:  # as of a file, below
            package = entry.dist.name if entry.dist else entry.value
            problem = f"plugin {entry.name} of {package} cannot be imported: {type(error).__name__}: {error}"
            raise ConfigError(f"{problem}; install another version, or uninstall {package}") from error
    for file in files:
        _load_file(expanded(file))


def _load_file(path: Path) -> None:
    name = f"expkit_plugin_{path.stem}"
    if not path.is_file() or path.suffix != ".py":
        there = path.with_suffix(".py")
        hint = f"; did you mean '{there}'?" if there.is_file() else f" (looked in {Path.cwd()}); give its path"
        raise ConfigError(f"--plugin: there is no Python file '{path}'{hint}")
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:  # whatever the file does at import, its user should see one line
        raise ConfigError(f"--plugin: '{path}' cannot be imported: {type(error).__name__}: {error}") from error
    _loaded.append(str(path.absolute()))


def loaded_files() -> list[str]:
    """Return the absolute paths of the files that have been loaded."""
    return list(_loaded)


class BringsPlugins:
    """An object that loads this process's plugins in the process that unpickles it: it may hold what they define."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _after_plugins, (tuple(_loaded), bytes(ForkingPickler.dumps((type(self), self.__dict__))))


def _after_plugins(files: Iterable[str], content: bytes) -> Any:
    load_plugins(files)
    kind, state = pickle.loads(content)
    made = kind.__new__(kind)
    made.__dict__.update(state)
    return made
