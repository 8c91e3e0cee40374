"""JSON with its own digest: the last member is the digest of all bytes before it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.core.files import write_bytes


def sealed(facts: Mapping[str, Any]) -> bytes:
    """Return the content of a sealed file: the facts, and the digest of all bytes before it."""
    body = json.dumps(facts, indent=1).encode().removesuffix(b"\n}")
    return body + seal_of(body)


def seal_of(body: bytes) -> bytes:
    """Return the last member of a sealed file."""
    return b',\n "digest": "%s"\n}\n' % hashlib.sha256(body).hexdigest().encode()


def unsealed(data: bytes) -> dict[str, Any] | None:
    """Return the facts of a sealed file, or None where so much as a byte differs from what was written."""
    try:
        facts = json.loads(data)
        if not isinstance(facts, dict):
            return None
        digest = facts.pop("digest", None)
        return facts if isinstance(digest, str) and sealed(facts) == data else None
    except (ValueError, RecursionError):
        return None


def vouch_for(folder: Path, name: str) -> None:
    """Put the digest of a file as it is now into the record of a run that has ended. Raises OSError.

    A record that was edited stays as it is; the record of a running run is sealed at its end.
    """
    record = folder / "record.json"
    facts = unsealed(record.read_bytes()) if record.is_file() else None
    if facts is None or facts.get("status") == "running" or not isinstance(facts.get("files"), dict):
        return
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if facts["files"].get(name) != digest:
        facts["files"][name] = digest
        write_bytes(record, sealed(facts))
