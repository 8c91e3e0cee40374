"""Verify a record by the digests in record.json, and record.json by its own."""

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.core.errors import ConfigError
from expkit.core.sealing import unsealed
from expkit.records.digests import AT_HOME, NAME, REPORT, covered
from expkit.records.shared_record import Files, open_files

SEAL_LINE = "# sha256 of all lines above: "


def check_record(place: Path) -> tuple[list[str], list[str]]:
    """Return (a fault for each changed or missing file, notes). Raises ConfigError."""
    if place.is_file() and place.suffix in (".yaml", ".yml"):
        return yaml_faults(place.read_bytes(), place.name), []
    files = open_files(place)
    content = files.read(NAME)
    if content is None:
        return [f"{NAME}: is missing"], []
    facts = unsealed(content)
    if facts is None:
        return [*files.faults, f"{NAME}: was changed: it does not match the digest at its end"], []
    return _checked(files, facts, place)


def _checked(files: Files, facts: Mapping[str, Any], place: Path) -> tuple[list[str], list[str]]:
    faults, notes = list(files.faults), []
    known = covered(facts)
    for name, digest in known.items():
        try:
            found = files.digest(name)
        except ConfigError as error:
            faults += error.faults
            continue
        if found is None and not name.startswith(AT_HOME):
            faults.append(f"{name}: is missing")
        elif found is not None and found != digest:
            remedy = f"; python -m expkit report {shlex.quote(str(place))} writes it again" if name == REPORT else ""
            faults.append(f"{name}: was changed{remedy}")
    added = [name for name in files.names() if name not in known]
    if facts.get("status") == "running":
        notes.append("the run has not ended, or was killed: files that it still wrote to are not covered")
    elif added:
        notes.append(f"added or written after the run: {', '.join(added[:8])}{', …' if len(added) > 8 else ''}")
    notes += rebuilt_notes(facts)
    present = {*files.names()}
    if gone := sorted({name.split("/")[0] for name in known if name not in present and name.startswith(AT_HOME)}):
        notes.append(f"missing, but not needed to reproduce the run: {', '.join(gone)}")
    return faults, notes


def yaml_faults(content: bytes, name: str) -> list[str]:
    """Return the faults of a record.yaml, by the digest in its last line."""
    body, mark, digest = content.rpartition(SEAL_LINE.encode())
    if not mark:
        return [f"{name}: has no digest at its end: it was written by hand or truncated"]
    if digest != hashlib.sha256(body).hexdigest().encode() + b"\n":
        return [f"{name}: was changed: it does not match the digest at its end"]
    return []


def rebuilt_notes(facts: Mapping[str, Any]) -> list[str]:
    """Return a note for each file that was lost when the run was resumed; its former content is not covered."""
    rebuilt = facts.get("rebuilt")
    entries = [entry for entry in rebuilt if isinstance(entry, Mapping)] if isinstance(rebuilt, list) else []
    return [f"at the resume of {entry.get('time')}: {lost}" for entry in entries for lost in entry.get("lost") or ()]
