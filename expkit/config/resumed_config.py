"""The config of a run that is resumed, which replaces the defaults: its overrides need not be repeated."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from expkit.config.diff import flatten
from expkit.config.redaction.redactor import ELSEWHERE, Redactor
from expkit.config.redaction.values import SECRET
from expkit.config.yaml_safety import vet_text
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override
from expkit.core.run_folder import is_run_folder
from expkit.core.user_folders import expanded

Config = dict[str, Any]
_SERVER = re.compile(r"(?:https?|postgresql|mysql|mssql|databricks)(?:\+\w+)?(?::|$)")
_FILE_ADDRESS = re.compile(r"^(?:sqlite(?:\+\w+)?:///)?(?:file:(?://[^/]*(?=/))?)?", re.I)
# How a run was started is not part of its config.
_OF_THE_START = {"resume": None, "force": False, "init_from": None}


def config_of_resumed(typed: Mapping[str, Any]) -> Config | None:
    """Return the config of the run that checkpoint.resume names on a command line; None where it names none.

    It may be a stranger's: what it draws, downloads and caches goes below outputs/, loggers are taken from a run below
    the working folder only, and trust in a network is not taken. typed: key -> value of the overrides. Raises
    ConfigError where the record leaves out a value, such as a secret, or names a file elsewhere to write to.
    """
    if (named := typed.get("checkpoint.resume")) in (None, "", "auto"):
        return None
    from expkit.config.confined import confined  # torch comes with it: not for --help

    place = expanded(str(named))
    config = _config_of(place)
    if config is not None and isinstance(config.get("checkpoint"), dict):
        node = config["checkpoint"]
        config["checkpoint"] = node | {key: value for key, value in _OF_THE_START.items() if key in node}
    if config is None:
        return None
    config["output_dir"] = str(place.parent) if is_run_folder(place) else "outputs"
    if not place.resolve().is_relative_to(Path.cwd().resolve()):
        config.pop("logger", None)
    if isinstance(config.get("device"), dict) and config["device"].get("trust_network"):
        config["device"] = config["device"] | {"trust_network": False}
    if isinstance(config.get("dataset"), dict):
        given = [key.removeprefix("dataset.") for key in typed if key.startswith("dataset.")]
        config["dataset"] = confined(config["dataset"], given)[0]
    if elsewhere := [*_written_elsewhere(config.get("logger"), typed)]:
        raise ConfigError(*elsewhere)
    if unknown := [key for key in _unknown(config) if key not in typed]:
        raise ConfigError(
            *(f"{key}: {place} keeps no secrets and no paths of other folders; give {key}=…" for key in unknown)
        )
    return config


def _written_elsewhere(loggers: Any, typed: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each database of a logger that lies outside the working folder, and that nobody typed."""
    if not isinstance(loggers, Mapping) or "logger" in typed:
        return
    for name, node in loggers.items():
        store = node.get("store") if isinstance(node, Mapping) else None
        key = f"logger.{name}.store"
        if not isinstance(store, str) or key in typed or _SERVER.match(store):
            continue
        path = expanded(_FILE_ADDRESS.sub("", store).partition("?")[0])
        if not path.resolve().is_relative_to(Path.cwd().resolve()):
            yield (
                f"{key}: the run's config names a file outside the working folder; to write there, add"
                f" {as_override(key, store)}; logger=none resumes without it"
            )


def _config_of(place: Path) -> Config | None:
    """Return config.yaml, which may have been shared, with values it lacks from the newest checkpoint; or either."""
    from expkit.core.manifest import CheckpointDamaged, finished_checkpoints, read_manifest

    if place.is_file():
        try:
            return _mapping(read_manifest(place.with_suffix(".safetensors")).get("config"))
        except CheckpointDamaged:
            return None
    if not place.is_dir():
        return None
    finished, _ = finished_checkpoints(place)
    whole = _mapping([*finished.values()][-1].get("config")) if finished else None
    shared = _shared(place / "config.yaml") if is_run_folder(place) else None
    if shared is None or whole is None:
        return shared or whole
    restored: Config = _restored(shared, whole, Redactor().value(whole))
    return restored


def _mapping(value: Any) -> Config | None:
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else None


def _shared(path: Path) -> Config | None:
    try:
        content = path.read_bytes()
        vet_text(content, path.name)
        return _mapping(yaml.safe_load(content))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, ConfigError):
        return None


def _restored(shared: Any, whole: Any, redacted: Any) -> Any:
    """Return a shared value, with the whole one wherever the two differ by redaction alone."""
    if shared == redacted:
        return whole
    if isinstance(shared, dict) and isinstance(whole, dict) and isinstance(redacted, dict):
        return {key: _restored(one, whole[key], redacted[key]) if key in whole else one for key, one in shared.items()}
    return shared


def _unknown(config: Config) -> list[str]:
    """Return the keys whose values a record leaves out."""
    texts = {key: value for key, value in flatten(config).items() if isinstance(value, str)}
    return [key for key, text in texts.items() if text.startswith(ELSEWHERE) or SECRET in text]
