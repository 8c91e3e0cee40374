"""How Hydra composes here: where it searches, what is checked before it parses a file, and what it may return.

The one file that uses Hydra's private parts, since its public API has no hook for three things: a check of a file
before it is parsed, a check of the composed config before Hydra acts on it, and overrides of values on a config that is
composed already (a sweep merges its files once, not once for each job). tests/config/test_hydra_loader.py checks that
these parts exist in the versions that pyproject.toml allows.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import hydra._internal.hydra as hydra_entry
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins import basic_launcher, basic_sweeper, file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from expkit.config.conf_folder import conf_folder
from expkit.config.config_safety import guard_hydra, guard_job, walk
from expkit.config.file_texts import restore_texts
from expkit.config.registry import GROUPS
from expkit.config.yaml_safety import NOT_PLAIN, vet
from expkit.core.errors import ConfigError, nearest
from expkit.core.formatting import relative

Config = dict[str, Any]
Files = dict[tuple[str, str], ConfigResult]  # (folder, file) -> what was read

# Names, not classes: Hydra starts neither, since expkit runs such a plan.
POOL, SEARCH = "expkit.sweeps.Pool", "expkit.sweeps.Search"
SEARCH_SETTINGS = {
    "n_trials": 20, "sampler": "tpe", "startup_trials": 10, "pruner": "median", "prune_after_trials": 5,
    "warmup_epochs": 1, "seed": 0, "params": None,
}  # fmt: skip
ConfigStore.instance().store("pool", {"_target_": POOL, "n_jobs": None}, "hydra/launcher", provider="expkit")
ConfigStore.instance().store("search", {"_target_": SEARCH, **SEARCH_SETTINGS}, "hydra/sweeper", provider="expkit")

# Hydra's own sweeper, which makes every combination, and its own launcher, which runs the jobs one after the other.
BASIC_SWEEPER = f"{basic_sweeper.__name__}.BasicSweeper"
BASIC_LAUNCHER = f"{basic_launcher.__name__}.BasicLauncher"

MOST_FILES = 200  # of a config, through its defaults lists

# What Hydra raises, beside its own errors, for defaults lists and files that it did not expect.
_MALFORMED = (ValueError, TypeError, AttributeError, KeyError, AssertionError, RecursionError, OSError)


class OwnConf(SearchPathPlugin):
    """Adds the user's ./conf before the package's, so that it can add choices to any group."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        own = Path.cwd() / "conf"
        if own.is_dir() and own.resolve() != conf_folder().resolve():
            search_path.prepend(provider="your ./conf", path=f"file://{own}")


class Refused(ConfigError, ConfigCompositionException):
    """A ConfigError that Hydra passes on, or prints as one line, when it is raised while Hydra works."""


@contextmanager
def _refusing() -> Iterator[None]:
    """Raise a ConfigError as one that Hydra passes on."""
    try:
        yield
    except ConfigError as error:
        raise Refused(*error.faults) from error


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of files, which parses none before `vet` has checked it; the package's own are known.

    It has the name of Hydra's own, since a process that a launcher starts accepts no reader of another name. Each file
    is read once: editing it during a sweep changes nothing.
    """

    files: ClassVar[Files] = {}
    read_all: ClassVar[bool] = False  # at the first composition, since a sweeper may choose any of them later

    def load_config(self, config_path: str) -> ConfigResult:
        place = (self.path, self._normalize_file_name(config_path))
        if place not in self.files:
            self.files[place] = self._load(config_path)
        return copy.deepcopy(self.files[place])

    def freeze(self) -> None:
        """Read every file, so that what is chosen later is as it is now; skip those that cannot be read."""
        for path in sorted(Path(self.path).rglob("*.yaml")):
            with suppress(HydraException, ConfigError, OSError, *NOT_PLAIN):
                self.load_config(path.relative_to(self.path).as_posix())

    def _load(self, config_path: str) -> ConfigResult:
        folder = Path(self.path)
        path = folder / self._normalize_file_name(config_path)
        known = folder.resolve() == conf_folder() and ".." not in Path(config_path).parts
        with _refusing():
            try:
                if not known:
                    vet(path, folder)
                found = super().load_config(config_path)
                if known:
                    return found
                package = found.header.get("package")
                if package is None and config_path.startswith("experiment/") and (found.config or found.defaults_list):
                    line = "`# @package _global_`"  # without it all lies below `experiment`, where nothing reads it
                    raise ConfigError(f"{relative(path)}: sets nothing; make {line} its first line")
                group = "" if package == "_global_" else Path(config_path).parent.as_posix().removeprefix(".")
                restore_texts(found.config, path.read_text("utf-8"), group)
                return found
            except NOT_PLAIN as error:  # the package's own, too: a person may have edited them
                with suppress(OSError):
                    vet(path, folder)  # it names the line, where a line is wrong
                message = f"{relative(path)}: {_in_a_line(error)}; a config holds plain values only"
                raise ConfigError(message) from error


def _counted(load: Callable[[str], ConfigResult | None]) -> Callable[[str], ConfigResult | None]:
    """Return a loader of files that stops at defaults lists which name each other without end."""
    numbers = count(1)

    def load_config(config_path: str) -> ConfigResult | None:
        if next(numbers) > MOST_FILES:
            raise Refused(f"{config_path}: its defaults lists lead to more than {MOST_FILES} files; name fewer")
        return load(config_path)

    return load_config


class GuardedLoader(ConfigLoaderImpl):
    """Hydra's loader, which returns no config that the guard refuses: every job of every sweep passes here."""

    composed: ClassVar[DictConfig | None] = None  # the config of a run that is no sweep: to be run as it was checked

    def __getstate__(self) -> dict[str, Any]:
        """Include the files that were read: a launcher's processes compose again, from what they were here."""
        return vars(self) | {"files": FileConfigSource.files}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FileConfigSource.files |= state.pop("files")
        vars(self).update(state)

    def load_configuration(self, config_name: str | None, overrides: list[str], *more: Any, **named: Any) -> DictConfig:
        if self.composed is not None:  # composing it again takes a sixth of a second, and asking for the mode another
            asks_for_mode = named.get("validate_sweep_overrides") is False
            # A copy: hydra.verbose takes Hydra's own node out of what it shows.
            return OmegaConf.create({"hydra": {"mode": RunMode.RUN}}) if asks_for_mode else copy.deepcopy(self.composed)
        try:
            config = super().load_configuration(config_name, overrides, *more, **named)
        except HydraException:  # a missing file is an OSError too, and has a message of its own
            raise
        except _MALFORMED as error:
            raise Refused(f"config: Hydra cannot compose it: {_in_a_line(error)}") from error
        tree = to_plain(config)
        with _refusing():
            own = (BASIC_SWEEPER, BASIC_LAUNCHER)
            guard_hydra(tree.pop("hydra"), _typed(overrides), overrides, _plugin_texts(), own)
            guard_job(tree)
        return config

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], Any]:
        parsed, files = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
        files.load_config = _counted(files.load_config)  # type: ignore[assignment,method-assign]
        if FileConfigSource.read_all:
            FileConfigSource.read_all = False
            for source in files.get_sources():
                if isinstance(source, FileConfigSource):
                    source.freeze()
        return parsed, files


@contextmanager
def guarded(files: Files | None = None, composed: DictConfig | None = None, read_all: bool = False) -> Iterator[None]:
    """Make Hydra read and compose through the classes above, and restore its own afterwards.

    files: those that were read before, which are not read again; new ones are added. composed: what Hydra composed
    before, returned in place of composing it again. read_all: read every file at the first composition.
    """
    Plugins.instance().register(OwnConf)
    readers: dict[str, Any] = SourcesRegistry.instance().types
    names: dict[str, Any] = vars(hydra_entry)  # Hydra has no setting for its loader
    reader, loader = readers["file"], names["ConfigLoaderImpl"]
    before = FileConfigSource.files, FileConfigSource.read_all, GuardedLoader.composed
    FileConfigSource.files, FileConfigSource.read_all = {} if files is None else files, read_all
    GuardedLoader.composed = composed
    readers["file"], names["ConfigLoaderImpl"] = FileConfigSource, GuardedLoader
    try:
        yield
    finally:
        readers["file"], names["ConfigLoaderImpl"] = reader, loader
        FileConfigSource.files, FileConfigSource.read_all, GuardedLoader.composed = before


def apply_values(values: list[Override], config: DictConfig) -> None:
    """Set the values of overrides in a config that is composed already."""
    ConfigLoaderImpl._apply_overrides_to_config(values, config)


def to_plain(config: DictConfig, resolve: bool = False) -> Config:
    """Return a config as plain dicts and lists, its references unchanged unless they are to be resolved."""
    tree = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _typed(overrides: list[str]) -> set[str]:
    """Return the paths of every value in Hydra's node that overrides set."""
    typed = set()
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.key_or_group.startswith("hydra."):
            typed |= {override.key_or_group, *(path for path, _, _ in walk(override.value(), override.key_or_group))}
    return typed


def _plugin_texts() -> set[tuple[str, str]]:
    """Return (path, text) of every text that an installed launcher or sweeper has by default."""
    store, texts = ConfigStore.instance(), set()
    for group in ("hydra/launcher", "hydra/sweeper"):
        for name in store.list(group):
            node = store.load(f"{group}/{name}").node if name.endswith(".yaml") else OmegaConf.create()
            found = walk(OmegaConf.to_container(node), group.replace("/", "."))
            texts |= {(path, value) for path, _, value in found if isinstance(value, str)}
    return texts


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def top_keys() -> list[str]:
    """Return the keys at the top of a config."""
    return [*GROUPS, "experiment", *yaml.safe_load((conf_folder() / "config.yaml").read_text(encoding="utf-8"))]


def nearest_setting(key: str) -> str:
    """Return a hint at the setting of Hydra that was meant by an unknown one."""
    name = key.rpartition(".")[2]
    if key == f"hydra.sweeper.{name}" and name in SEARCH_SETTINGS:
        return "; a search has it: add hydra/sweeper=search"
    return nearest(name, SEARCH_SETTINGS) or "; python -m expkit.run --cfg hydra shows all"
