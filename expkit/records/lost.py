"""Lost and damaged files of a resumed run folder: report each, and rebuild what can be rebuilt."""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from expkit.config.yaml_safety import vet_text
from expkit.core.errors import ConfigError
from expkit.core.files import parse_object
from expkit.core.formatting import timestamp
from expkit.core.sealing import unsealed
from expkit.records.digests import CHECKPOINTS, NAME, REPORT, covered, file_digest, file_names
from expkit.records.run_folder import RunFolder

# Files that are written once, so that a rebuilt record can cover them.
_FIXED = re.compile(
    r"(config|config_before_\d+|overrides)\.yaml|(env|code|data|data_before_\d+)\.json|data_files\w*\.txt\.gz"
    r"|.*code\.patch|(.*sources|plugins)/.*"
)
_ALWAYS = ("config.yaml", "env.json", "code.json", "data.json", "data_files.txt.gz")
_KEPT = ("id", "started", "command", "status")  # facts kept from a changed record.json


def read_facts(folder: Path) -> tuple[dict[str, Any], str]:
    """Return (the facts of record.json, ""), or (facts rebuilt without it, what is wrong with it)."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return _rebuilt(folder, b""), "is missing"
    except OSError as error:
        return _rebuilt(folder, b""), f"cannot be read ({error.strerror})"
    facts = unsealed(data)
    if facts is not None and isinstance(facts.get("files"), dict) and isinstance(facts.get("fixed"), list):
        return facts, ""
    return _rebuilt(folder, data), "was truncated or changed"


def _rebuilt(folder: Path, damaged: bytes) -> dict[str, Any]:
    found = parse_object(damaged)
    known = {name: found[name] for name in _KEPT if isinstance(found.get(name), str)}
    fixed = {name: file_digest(folder / name) for name in file_names(folder) if _is_sound(folder, name)}
    start = {"id": folder.name, "started": _started(folder), "status": "unknown"}
    return {"format": 1, **start, **known, "files": fixed, "fixed": [*fixed]}


def _is_sound(folder: Path, name: str) -> bool:
    """Return True if a file is written only once and is readable."""
    if not _FIXED.fullmatch(name):
        return False
    try:
        content = (folder / name).read_bytes()
        if name.endswith(".json"):
            return isinstance(json.loads(content), dict)
        if name.startswith("config"):
            vet_text(content, name)
            return isinstance(yaml.safe_load(content), dict)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, ConfigError):
        return False
    return True


def _started(folder: Path) -> str:
    """Return when the run started, by its events or else by its oldest file."""
    for event in RunFolder(folder).events[:1]:
        if isinstance(event.get("time"), str):
            return str(event["time"])
    times = [path.stat().st_mtime for path in folder.iterdir() if path.is_file()]
    return timestamp(min(times, default=None))


def is_fixed(name: str) -> bool:
    """Return True if a file of this name is written only once."""
    return _FIXED.fullmatch(name) is not None


def unknown_files(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> fault of the files that every run has and a rebuilt record lacks."""
    return {name: "is missing or damaged" for name in _ALWAYS if name not in facts["files"]}


def lost_files(folder: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> fault of the files that a record covers, but checkpoints and the report."""
    found = {}
    for name, digest in covered(facts).items():
        if name.startswith(CHECKPOINTS) or name == REPORT:
            continue
        path = folder / name
        try:
            if file_digest(path) != digest:
                found[name] = "was changed"
        except FileNotFoundError:
            found[name] = "is missing"
        except OSError as error:
            found[name] = f"cannot be read ({error.strerror})"
    return found


def put_aside(path: Path) -> str:
    """Rename a damaged file and return its new name, "" if there is no file."""
    if not path.exists() and not path.is_symlink():
        return ""
    names = (path.with_name(f"{path.stem}_damaged_{number}{path.suffix}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    return aside.name


def describe_lost(lost: Mapping[str, str], rebuilt: Mapping[str, str], aside: Mapping[str, str]) -> list[str]:
    """Return a sentence for each lost file or folder. rebuilt: name -> what it is rebuilt from."""
    groups: dict[str, list[str]] = {}
    for name in lost:
        groups.setdefault(name.split("/")[0], []).append(name)
    sentences = []
    for group, names in groups.items():
        if names != [group]:
            sentences.append(f"warning: {group}/: {len(names):,} files are missing or were changed ({names[0]}, …)")
            continue
        kept = f"; the damaged file is now {aside[group]}" if aside.get(group) else ""
        what = f"it is rebuilt from {rebuilt[group]}" if group in rebuilt else "its content is lost"
        sentences.append(f"warning: {group} {lost[group]}; {what}{kept}")
    return sentences
