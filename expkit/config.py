"""The only place that knows Hydra and OmegaConf: compose, guard, and hand on plain dicts."""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.main import main as hydra_main
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from expkit.registry import GROUPS, ConfigError, nearest

Config = dict[str, Any]

# What Hydra's own node may name: Hydra's classes and those of its published plugins, and the standard log handlers.
_TRUSTED_TARGETS = ("hydra.", "hydra_plugins.", "expkit.", "logging.", "colorlog.")


def conf_folder() -> Path:
    """Return the package's conf: that of the checkout, or the copy in the installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "config.yaml").is_file() else package / "conf"


class OwnConf(SearchPathPlugin):
    """Adds the user's ./conf before the package's, so that it brings choices to any group."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        own = Path.cwd() / "conf"
        if own.is_dir() and own.resolve() != conf_folder().resolve():
            search_path.prepend(provider="your ./conf", path=f"file://{own}")


def launch(arguments: list[str], check: Callable[[Config], None], job: Callable[[Config, list[str]], None]) -> None:
    """Compose and check every job first, and only then let Hydra start them: job(config, overrides).

    Raises ConfigError for whatever a user can mend; nothing of a config has been acted upon then.
    """
    Plugins.instance().register(OwnConf)
    parsed = get_args_parser().parse_args(arguments)
    if parsed.hydra_help or parsed.shell_completion:
        _run_hydra(arguments, lambda config: None)
        return
    for overrides in _jobs(parsed.overrides, parsed.multirun):
        composed = compose_one(overrides, parsed.config_name, parsed.config_dir)
        if not (parsed.help or parsed.cfg or parsed.info):
            check(plain(composed))

    def task(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        job(plain(config), list(HydraConfig.get().overrides.task))

    _run_hydra(arguments, task)


def _run_hydra(arguments: list[str], task: Callable[[DictConfig], None]) -> None:
    previous, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        hydra_main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = previous


def _jobs(overrides: list[str], multirun: bool) -> Iterator[list[str]]:
    """Yield the overrides of every job that a command line stands for."""
    if not multirun:
        yield overrides
        return
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
        for batch in BasicSweeper.split_arguments(parsed, None):
            yield from batch
    except HydraException as error:
        raise ConfigError(f"command line: {_first_lines(error)}") from error


def compose_one(overrides: list[str], config_name: str | None = None, config_dir: str | None = None) -> DictConfig:
    """Return one job's config with Hydra's own node checked and left out. Raises ConfigError."""
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="run"):
            more = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
            config = compose(config_name or "config", [*overrides, *more], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_in_our_words(error, overrides)) from error
    guard_hydra(OmegaConf.to_container(config.hydra, resolve=False))
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def guard_hydra(node: Any) -> None:
    """Refuse any target in Hydra's own node that is not Hydra's or a known plugin's. Raises ConfigError."""
    for path, key, value in _walk(node, "hydra"):
        if key in ("_target_", "()", "class") and not str(value).startswith(_TRUSTED_TARGETS):
            raise ConfigError(
                f"{path}: '{value}' is code from outside Hydra and its plugins; a config may not name code"
            )


def plain(config: DictConfig) -> Config:
    """Return a job's config as plain dicts and lists, interpolations resolved. Raises ConfigError.

    `_target_` and the reading of environment variables are refused before anything is resolved.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    faults = []
    for path, key, value in _walk(raw, ""):
        if key in ("_target_", "_partial_", "_args_", "_recursive_"):
            faults.append(f"{path}: a config may not name code; use a `name` from `python -m expkit.run --list`")
        if isinstance(value, str) and "${oc.env" in value.replace(" ", ""):
            faults.append(f"{path}: a config may not read the environment; pass the value on the command line")
    if faults:
        raise ConfigError(*faults)
    for key in OmegaConf.missing_keys(config):
        faults.append(f"{key}: is needed; give it as {key}=…")
    if faults:
        raise ConfigError(*sorted(faults))
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{getattr(error, 'full_key', None) or 'config'}: {_first_lines(error)}") from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _walk(node: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, key, value) of everything in a tree of dicts and lists."""
    items: list[tuple[Any, Any]] = []
    if isinstance(node, Mapping | DictConfig):
        items = list(node.items())
    elif isinstance(node, list | tuple | ListConfig):
        items = list(enumerate(node))
    for key, value in items:
        below = f"{path}.{key}" if path else str(key)
        yield below, str(key), value
        yield from _walk(value, below)


def _in_our_words(error: Exception, overrides: list[str]) -> str:
    """Return an error of composing in a sentence that names the override and the nearest right one."""
    text = _first_lines(error)
    if "Could not override '" in text:
        key = text.split("Could not override '", 1)[1].split("'", 1)[0]
        return _unknown_key(key)
    if "Could not find '" in text:
        choice = text.split("Could not find '", 1)[1].split("'", 1)[0]
        group, _, word = choice.rpartition("/")
        choices = _choices(group)
        hint = nearest(word, choices) or f"; there is {', '.join(choices)}"
        return f"{group or 'config'}: there is no choice '{word}' in conf/{group}{hint}"
    return text


def _unknown_key(key: str) -> str:
    group, _, option = key.partition(".")
    if not option:
        words = [*GROUPS, "experiment", "name", "seed", "epochs", "batch_size"]
        return f"{key}: the config has no such key{nearest(key, words)}"
    known = set(GROUPS[group].options_of_all()) if group in GROUPS else set()
    hint = nearest(option, known)
    return f"{key}: the chosen conf/{group} lists no such option{hint}{'' if hint else f'; +{key}=… adds one'}"


def _choices(group: str) -> list[str]:
    folders = [Path.cwd() / "conf" / group, conf_folder() / group]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
