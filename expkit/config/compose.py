"""One job's config: composed by Hydra behind the guard, with messages of our own, and as plain dicts and lists."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from expkit.config.conf_folder import conf_folder
from expkit.config.config_safety import guard_job
from expkit.config.hydra_loader import Config, apply_values, guarded, nearest_setting, to_plain, top_keys
from expkit.config.registry import GROUPS
from expkit.config.resumed_config import config_of_resumed
from expkit.config.texts import as_meant, may_be_text, takes_text
from expkit.config.torch_names import instead, instead_of_option, meant
from expkit.core.errors import ConfigError, nearest
from expkit.core.escaping import as_override, quoted
from expkit.core.user_folders import expanded


@dataclass(frozen=True)
class Place:
    """Where the config is, by the command line; conf/config.yaml of the package by default."""

    config_name: str | None = None
    config_dir: str | None = None
    config_path: str | None = None

    def folder(self) -> Path:
        """Return the folder of the primary config. Raises ConfigError where a named folder is missing."""
        for option, folder in (("--config-dir", self.config_dir), ("--config-path", self.config_path)):
            if folder is not None and not expanded(folder).is_dir():
                raise ConfigError(f"{option}: there is no folder '{folder}'")
        return expanded(self.config_path).resolve() if self.config_path else conf_folder()


def compose_one(overrides: list[str], config_name: str | None = None, config_dir: str | None = None) -> DictConfig:
    """Return one job's config, guarded, with Hydra's own node left out. Raises ConfigError."""
    with guarded():
        return without_hydra(compose_all(as_meant(overrides), Place(config_name, config_dir)))


def without_hydra(config: DictConfig) -> DictConfig:
    with flag_override(config, ["struct", "readonly"], False):
        del config["hydra"]
    return config


def compose_all(overrides: list[str], place: Place, resumes: bool = True) -> DictConfig:
    """Return a config with Hydra's node. Raises ConfigError, whatever Hydra raises.

    resumes: whether the config of the run that checkpoint.resume names replaces the defaults.
    """
    try:
        with initialize_config_dir(str(place.folder()), version_base="1.3", job_name="run"):
            more = _search_path(overrides, place.config_dir) if place.config_dir else []
            name = place.config_name or "config"
            if resumes and (base := config_of_resumed(_values(overrides))) is not None:
                return _on_top_of(base, name, more, overrides)
            return compose(name, [*more, *overrides], return_hydra_config=True)
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        message = own_message(error, lambda group: _options_of_chosen(group, overrides, place))
        raise _with_others(Uncomposed(message), error, overrides, place) from error


class Uncomposed(ConfigError):
    """Faulty overrides; rest: the config of the other overrides, None where there are none or it is faulty too."""

    rest: DictConfig | None = None


def _with_others(fault: Uncomposed, error: Exception, overrides: list[str], place: Place) -> Uncomposed:
    """Add to a fault those of the other overrides."""
    key = _culprit(error)
    others = [word for word in overrides if not _is_about(word, key)]
    if not key or len(others) == len(overrides) or not others:
        return fault
    try:
        fault.rest = compose_all(others, place, resumes=False)
        return fault
    except ConfigError as more:
        both = Uncomposed(*dict.fromkeys([*fault.faults, *more.faults]))
        both.rest = getattr(more, "rest", None)
        return both


def _culprit(error: Exception) -> str:
    """Return the key of the override that Hydra refuses, "" where it does not say which."""
    found = re.search(r"Could not (?:override '([^']+)'|find '([^']+)/[^'/]*')", str(error))
    return found[1] or found[2] if found else ""


def _is_about(word: str, key: str) -> bool:
    """Return True if an override sets a key, or belongs to what it chooses."""
    given = word.lstrip("+~").partition("=")[0]
    return given == key or given.startswith(f"{key}.") or key.startswith(f"{given}/")


def _values(overrides: list[str]) -> dict[str, Any]:
    """Return key -> value of the overrides; the last one of a key counts."""
    typed = OverridesParser.create().parse_overrides(overrides)
    return {one.key_or_group: one.value() for one in typed if not one.is_sweep_override()}


def _on_top_of(base: Config, name: str, more: list[str], overrides: list[str]) -> DictConfig:
    """Return the config of a run with overrides on top: a group that is chosen again comes from the files."""
    typed = OverridesParser.create().parse_overrides(overrides)
    hydra = [*more, *(str(one.input_line) for one in typed if one.key_or_group.startswith("hydra"))]
    groups = [one for one in typed if one.key_or_group in GROUPS or _folders(one.key_or_group)]
    chosen = compose(name, [*hydra, *(str(one.input_line) for one in groups)], return_hydra_config=True)
    anew = {one.key_or_group.split("/")[0] for one in groups}
    if groups:
        default = compose(name, hydra)
        anew |= {str(key) for key in {*default, *chosen} if key != "hydra" and default.get(key) != chosen.get(key)}
    with flag_override(chosen, ["struct", "readonly"], False):
        files = {str(key): chosen.pop(key) for key in [*chosen] if key != "hydra"}
        anew |= {"logger"} - {*base}
        for key in dict.fromkeys([*base, *(key for key in files if key in anew)]):
            if key not in anew or key in files:  # ~GROUP leaves one out
                chosen[key] = files[key] if key in anew else base[key]
        ours = [one for one in typed if not one.key_or_group.startswith("hydra")]
        chosen.hydra.overrides.task = [one.input_line for one in ours]
    apply_values([*_repeatable(ours, groups, chosen)], chosen)
    return chosen


def _repeatable(typed: list[Override], groups: list[Override], config: DictConfig) -> Iterator[Override]:
    """Yield the overrides of values, changed so that the command which started the run can be typed again."""
    for one in typed:
        if one in groups or (one.is_delete() and OmegaConf.select(config, one.key_or_group) is None):
            continue
        yield replace(one, type=OverrideType.FORCE_ADD) if one.is_add() else one


def _search_path(overrides: list[str], config_dir: str) -> list[str]:
    """Return the override that makes Hydra search --config-dir, and then the typed folders."""
    folders = [f"file://{expanded(config_dir).resolve()}"]
    for override in OverridesParser.create().parse_overrides(overrides):
        value = override.value()
        if override.key_or_group == "hydra.searchpath" and isinstance(value, list):
            folders += value
    return ["hydra.searchpath=[" + ",".join(map(quoted, folders)) + "]"]


def plain(config: DictConfig) -> Config:
    """Return a job's config as plain dicts and lists, references resolved. Raises ConfigError.

    Code, and resolvers such as that of environment variables, are refused before anything is resolved.
    """
    guard_job(to_plain(config))
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise ConfigError(*(f"{key}: is needed; give it as {key}=…" for key in missing))
        return to_plain(config, resolve=True)
    except OmegaConfBaseException as error:
        hint = "; where ${ is part of a text, write \\${" if "Interpolation" in type(error).__name__ else ""
        key = getattr(error, "full_key", None) or "config"
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}{hint}") from error


_EXTRAS = {
    "ray": "; install expkit[ray]", "submitit_slurm": "; install expkit[slurm]",
    "submitit_local": "; install expkit[slurm]", "joblib": "; install hydra-joblib-launcher, or use pool",
}  # fmt: skip


def _options_of_chosen(group: str, overrides: list[str], place: Place) -> Collection[str]:
    """Return the options of the chosen name of a group, () where the other overrides cannot be composed either."""
    others = [word for word in overrides if not word.lstrip("+~").startswith(f"{group}.")]
    with suppress(ConfigError, HydraException, OmegaConfBaseException, KeyError, TypeError):
        return GROUPS[group].options(compose_all(others, place, resumes=False)[group]["name"])
    return ()


def own_message(error: Exception, chosen: Callable[[str], Collection[str]] = lambda group: ()) -> str:
    """Return a message for an error of Hydra's that names the override and the nearest right one.

    chosen: returns the options of the chosen name of a group.
    """
    text = first_lines(error)
    if "Error parsing override '" in text:
        return _unreadable(text.split("Error parsing override '", 1)[1].split("' ")[0], text)
    if "no viable alternative" in text or "LexerNoViable" in text:
        found = re.search(r"AltException: (\S+) \^", text)
        return _unreadable(found[1] if found else "", text)
    if "Ambiguous value for argument '" in text:
        key, _, values = text.split("argument '", 1)[1].split("'", 1)[0].partition("=")
        whole = as_override(key, values)
        single = f"{whole} for one text" if takes_text(key) else f"{key}=[{values}] for a list"
        return f"{key}: {values} are several values; add -m to run each of them, or write {single}"
    if made := re.match(r"Error merging override ([^=]+)=", text):
        reason = str(error.__cause__ or error).splitlines()[0]
        return f"{made[1].lstrip('+')}: {reason}; close what is open, as in ${{seed}}"
    if made := re.match(r"Sweep parameters '([^=]+)=(.*)' requires --multirun$", text):
        return f"{made[1]}: {made[2]} stands for several values; add -m to run each of them"
    if made := re.search(r"Could not override '([^']*)'", text):
        found = re.search(rf"use \+{re.escape(made[1])}=(\"?)(.*)\1$", str(error), re.M)
        return _unknown_key(made[1], chosen, found[2] if found else None)
    if made := re.search(r"Could not find '([^']*)'", text):
        return _unknown_choice(made[1])
    return text


def _unknown_choice(choice: str) -> str:
    group, _, name = choice.partition("/") if choice.partition("/")[0] in GROUPS else choice.rpartition("/")
    choices = choices_of(group)
    if group.startswith("hydra/") and not choices:
        return f"{group}: '{name}' is not installed{_EXTRAS.get(name, '')}"
    from expkit.config.listing import in_catalogue  # torch comes with it

    hint = instead(group, name) or in_catalogue(group, name, choices) or nearest(name, choices)
    hint = hint or (f"; there is {', '.join(choices)}" if choices else ", which holds no file")
    return f"{group or 'config'}: there is no choice '{name}' in conf/{group}{hint}"


def _unreadable(word: str, text: str) -> str:
    """Return the message for a word of the command line that is no override."""
    if re.match(r"[\w./]+$", word):
        return f"command line: '{word}' stands alone; an override is KEY=VALUE: {word}=…"
    if made := re.match(r"([\w./]+):([\w./]+)$", word):
        return f"command line: '{word}' is no override; did you mean '{made[1]}={made[2]}'?"
    key, _, value = word.partition("=")
    as_text = f"; as a text, write {as_override(key, value)}" if value and may_be_text(key) else ""
    return f"command line: {text}; close what is open, and put an override with brackets or spaces in quotes{as_text}"


def _unknown_key(key: str, chosen: Callable[[str], Collection[str]], value: str | None = None) -> str:
    group, _, option = key.partition(".")
    if group == "hydra" and option:
        return f"{key}: Hydra has no such setting{nearest_setting(key)}"
    if not option or not (group in GROUPS or _folders(group)):
        hint = nearest_key(key, value) or "; python -m expkit.run --cfg job shows all keys"
        return f"{key}: the config has no such key{hint}"
    unlisted = f"{key}: the chosen conf/{group} has no option '{option}'"
    known = GROUPS[group].options_of_all() if group in GROUPS else set()
    if option not in known and (hint := instead_of_option(key, value)):
        return unlisted + hint
    if option in chosen(group):
        return f"{unlisted}; +{key}=… adds it"
    if having := _choices_having(group, option):
        return f"{unlisted}; it is in {_some([f'{group}={choice}' for choice in having])}"
    if option in known:
        takers = [name for name in GROUPS[group].names() if option in GROUPS[group].options(name)]
        return f"{unlisted}; it is in {_some(takers)}"
    hint, see = nearest(option, known), f"; see `python -m expkit.run --list {group}`"
    if not hint and group != "model":  # torchvision's and timm's models take more
        return f"{key}: no {group} has an option '{option}'{see}"
    return unlisted + (hint or see)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if names[3:] else "")


def nearest_key(key: str, value: str | None) -> str:
    """Return a hint at the key that was meant: one of the same name in a group, one that it begins, or one like it."""
    keys = top_keys()
    if instead_of_option(key):
        return meant(key, keys, value)
    if begun := [one for one in keys if one.startswith(f"{key}_")]:
        return f"; did you mean '{begun[0]}'?"
    if groups := [group for group in GROUPS if _choices_having(group, key)]:
        return f"; there is {' and '.join(f'{group}.{key}' for group in groups[:3])}"
    return nearest(key, keys)


def _choices_having(group: str, option: str) -> list[str]:
    """Return the choices of a group whose YAML lists an option."""
    line = re.compile(rf"^{re.escape(option)}:", re.M)
    paths = [path for folder in _folders(group) for path in sorted(folder.glob("*.yaml"))]
    found = [path.stem for path in paths if line.search(path.read_text(encoding="utf-8", errors="replace"))]
    return list(dict.fromkeys(found))


def choices_of(group: str) -> list[str]:
    """Return the choices of a group, those of the working folder included."""
    return sorted({path.stem for folder in _folders(group) for path in folder.glob("*.yaml")})


def _folders(group: str) -> list[Path]:
    return [folder for folder in (Path.cwd() / "conf" / group, conf_folder() / group) if os.path.isdir(folder)]


def first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("See http")]
    return " ".join(lines[:2]) if lines else type(error).__name__
