"""Words from outside the package: installed plugins, and files named on the command line."""

import importlib.util
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from expkit.registry import ConfigError


def load_plugins(files: Iterable[str]) -> None:
    """Import installed plugins (entry-point group `expkit.plugins`) and then files; each registers its words.

    Raises ConfigError for a file that is not there or does not import.
    """
    for entry in entry_points(group="expkit.plugins"):
        entry.load()
    for file in files:
        _load_file(Path(file))


def _load_file(path: Path) -> None:
    name = f"expkit_plugin_{path.stem}"
    if not path.is_file() or path.suffix != ".py":
        raise ConfigError(f"--plugin: there is no Python file '{path}'")
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
    except Exception as error:  # whatever the file does at import, its user should see it in a line
        raise ConfigError(f"--plugin: '{path}' cannot be imported: {type(error).__name__}: {error}") from error
