"""Export a record to a single file: a .zip without checkpoints, or a short record.yaml."""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from expkit.core.errors import ConfigError
from expkit.core.files import write_bytes
from expkit.core.formatting import count_noun
from expkit.core.sealing import unsealed
from expkit.records.digests import AT_HOME, NAME, covered
from expkit.records.integrity import SEAL_LINE, check_record
from expkit.records.shared_record import LARGEST, Shared, open_files, read_record

_MOST_NAMED = 20  # source files
_MOST_POINTS = 200  # of each kind in a record.yaml, evenly apart, beside the first ten


def export(place: Path, target: Path) -> tuple[list[str], list[str]]:
    """Write a record to a file; return (names of the files in it, names of those left out). Raises ConfigError."""
    if target.suffix not in (".zip", ".yaml"):
        raise ConfigError(f"--export: '{target}' must end with .zip or .yaml")
    faults, _ = check_record(place)
    if faults:
        raise ConfigError(*(f"--export: {fault}; edited records are not exported" for fault in faults))
    content, taken, left_out = _zipped(place) if target.suffix == ".zip" else (_single(read_record(place)), [], [])
    try:
        write_bytes(target, content)
    except OSError as error:
        raise ConfigError(f"--export: cannot write '{target}': {error.strerror}") from error
    return taken, left_out


def left_out_sources(place: Path) -> list[str]:
    """Return the sources that are not in a record, each with the reason."""
    repositories = read_record(place).code.get("repositories")
    found = [one for one in repositories if isinstance(one, dict)] if isinstance(repositories, list) else []
    return [str(name) for one in found for name in one.get("left_out") or []]


def export_summary(target: Path, taken: Sequence[str], left_out: Sequence[str], missed: Sequence[str] = ()) -> str:
    """Return a summary of `export`: the files in it, and a warning that code is filtered by patterns."""
    code = [name for name in taken if name.endswith("code.patch") or "sources/" in name or name.startswith("plugins/")]
    rest = [name for name in taken if name not in code]
    what = f": {_counted(rest)}" if taken else ": the config, the results, and the environment"
    lines = [
        f"wrote {target}{what}"
        + (f"; not in it: {', '.join(sorted({name.split('/')[0] for name in left_out}))}" if left_out else "")
    ]
    if code:
        lines.append(f"source code in it: {', '.join(code[:_MOST_NAMED])}" + _more(code))
        lines.append(
            "passwords and tokens in it are redacted by patterns, which can miss some: review it before sharing"
        )
    if missed:
        lines.append(f"sources that the run did not record: {', '.join(missed[:_MOST_NAMED])}" + _more(missed))
    return "\n".join(lines)


def _counted(names: Sequence[str]) -> str:
    """Return the names of files, and of folders with the count of their files."""
    found = Counter(name.split("/")[0] + ("/" if "/" in name else "") for name in names)
    return ", ".join(
        f"{name} ({count_noun(count, 'file')})" if name.endswith("/") else name for name, count in found.items()
    )


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""


def _zipped(place: Path) -> tuple[bytes, list[str], list[str]]:
    """Return (a reproducible .zip whose comment is the digest of all bytes before it, names in it, names left out)."""
    files = open_files(place)
    buffer = io.BytesIO()
    taken: list[str] = []
    left_out: list[str] = []
    facts = unsealed(files.read(NAME) or b"") or {}
    # Files that other programs added to the folder of a finished run, such as an evaluation, are not redacted.
    known = covered(facts) if facts.get("status") != "running" else files.names()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [NAME, *files.names()]:
            if name != NAME and (name not in known or name.startswith(AT_HOME)):
                left_out.append(name)
                continue
            data = files.read(name, LARGEST)
            assert data is not None
            taken.append(name)
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        archive.comment = b"0" * 64
    body = buffer.getvalue()[:-64]
    return body + hashlib.sha256(body).hexdigest().encode(), taken, left_out


def _single(record: Shared) -> bytes:
    """Return a record.yaml: the config, the expected results, and the environment."""
    steps = [point for point in record.points if point["kind"] == "step"]
    epochs = [point for point in record.points if point["kind"] == "epoch"]
    points = [*steps[:10], *_thinned(steps[10:]), *_thinned(epochs)]
    data = {name: value for name, value in record.data.items() if name != "notes"}
    names = ("id", "status", "started", "command", "config_sha256", "digest")
    of_code = ("commit", "changed", "expkit_sha256", "plugins")
    code = {name: record.code[name] for name in of_code if name in record.code}
    content: dict[str, Any] = {
        "facts": {name: record.facts[name] for name in names if name in record.facts},
        "config": record.config, "code": code, "environment": record.environment, "data": data,
        "expectations": {"result": record.result, "points": json.loads(json.dumps(points))},
    }  # fmt: skip
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110).encode()
    return text + SEAL_LINE.encode() + hashlib.sha256(text).hexdigest().encode() + b"\n"


def _thinned(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return points[:: -(-len(points) // _MOST_POINTS) or 1]
