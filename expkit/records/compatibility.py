"""What differs between the origin of a record and this machine, and what of it may change the numbers."""

import gzip
import io
import shlex
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from expkit.core.formatting import count_noun
from expkit.data.class_names import differ
from expkit.data.labels import unique_names
from expkit.records.code_version import package_digest, plugin_facts
from expkit.records.fingerprint import LIST_NAME
from expkit.records.packages import COMPUTING, installed_version
from expkit.records.run_folder import RunFolder
from expkit.records.shared_record import Shared

Kind = Literal["code", "packages", "hardware", "data"]
KINDS: tuple[Kind, ...] = ("code", "packages", "hardware", "data")
_MOST_UNPACKED = 100_000_000  # bytes


class Mismatch(NamedTuple):
    """One difference. breaks: whether it may change the numbers, so that the user must allow it."""

    kind: Kind
    what: str
    theirs: str
    here: str
    breaks: bool


def find_mismatches(record: Shared, environment: Mapping[str, Any], device: Mapping[str, Any]) -> list[Mismatch]:
    """Return what differs in code, packages and hardware. device: its node in the config here."""
    packages = _packages(record.environment, environment)
    hardware = _hardware(record.environment, environment)
    return [*_code(record), *packages, *hardware, *_processes(record.config.get("device"), device)]


def _code(record: Shared) -> Iterator[Mismatch]:
    theirs, here = record.code.get("expkit_sha256"), package_digest()
    if theirs and theirs != here:
        commit = record.code.get("commit")
        shown = f"{str(theirs)[:12]}{f' (commit {str(commit)[:12]})' if commit else ''}"
        yield Mismatch("code", "expkit", shown, here[:12], True)
    plugins = plugin_facts()
    for name, digest in dict(record.code.get("plugins") or {}).items():
        if name not in plugins:
            remedy = f"missing; read the record's plugins/{name}, then pass it by --plugin"
            yield Mismatch("code", f"plugin {name}", str(digest)[:12], remedy, True)
        elif plugins[name] != digest:
            yield Mismatch("code", f"plugin {name}", str(digest)[:12], plugins[name][:12], True)


def missing_plugins(record: Shared) -> list[str]:
    """Return a fault on missing plugins: where the record holds them, and the command that loads them."""
    own = plugin_facts()
    missing = [str(name) for name in dict(record.code.get("plugins") or {}) if name not in own]
    if not missing:
        return []
    files, place = ", ".join(f"plugins/{name}" for name in missing), record.place
    if place.suffix in (".yaml", ".yml"):
        return [f"--plugin: the record was made with {', '.join(missing)}, which a .yaml does not hold; ask for them"]
    is_zip = place.suffix == ".zip"
    folder = place.with_suffix("") if is_zip else place
    unpack = f"unpack it (python -m zipfile -e {shlex.quote(str(place))} {shlex.quote(str(folder))}), " * is_zip
    given = shlex.quote(str(folder / "plugins" / missing[0]))
    return [f"--plugin: the record needs code that it holds, {files}: {unpack}read them, then give --plugin {given}"]


def _packages(theirs: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Mismatch]:
    own = here["packages"]
    for name, version in dict(theirs.get("packages") or {}).items():
        here_version = own.get(name) or installed_version(str(name))  # some are imported later
        if version != here_version:
            yield Mismatch("packages", str(name), str(version), str(here_version), name in COMPUTING)
    if theirs and theirs.get("python") != here["python"]:
        yield Mismatch("packages", "python", str(theirs.get("python")), here["python"], False)


def _hardware(theirs: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Mismatch]:
    on_gpu = theirs.get("device") not in ("cpu", "multi_cpu")
    breaking = {"device": True, "system": True, "cpu_capability": not on_gpu, "gpus": on_gpu, "cuda": on_gpu}
    # Libraries choose kernels mostly by the instruction set, sometimes by the processor's model.
    for name, breaks in (breaking | {"cpu": False, "cores": False, "threads": False, "variables": False}).items():
        if name in theirs and theirs[name] != here[name]:
            pinned = " (set to the record's)" if name == "threads" else ""
            yield Mismatch("hardware", name, _short(theirs[name]), _short(here[name]) + pinned, breaks)


def _processes(theirs: Any, here: Mapping[str, Any]) -> Iterator[Mismatch]:
    """Yield how the number of ranks differs: dropout and the last digits of sums depend on it."""
    if not isinstance(theirs, Mapping) or theirs.get("name") != here["name"]:
        return  # another kind of device is reported by _hardware
    for key in ("count", "indices"):
        if key in here and theirs.get(key) != here[key]:
            yield Mismatch("hardware", f"device.{key}", _short(theirs.get(key)), _short(here[key]), True)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def data_mismatches(record: Shared, facts: Mapping[str, Any], lines: Mapping[str, list[str]]) -> list[Mismatch]:
    """Return what differs in the data, by file if the record lists them."""
    found = []
    classes, ours = (list(unique_names(one.get("class_names", []))) for one in (record.data, facts))
    if record.data and classes != ours:
        shown = differ(classes, "the record", ours, "the data here")
        found.append(Mismatch("data", "classes", count_noun(len(classes), "class"), f"{len(ours)}: {shown}", True))
    if changes := record.data.get("changes"):
        often = f" {len(changes)} times" * (len(changes) > 1)
        found.append(Mismatch("data", "one run", f"they changed{often} while it ran", "the last ones", True))
    listed = _listed(record.data_files)
    for split in ("train", "val"):
        theirs, here = record.data.get(split), facts[split]
        if not isinstance(theirs, dict):
            continue
        keys = ["fingerprint"] + ["content"] * (theirs.get("method") == here["method"])
        if all(theirs.get(key) == here[key] for key in keys):
            continue
        files = _changed_files(listed.get(split), dict(line.split(" ", 1)[::-1] for line in lines[split]))
        what = files or ("names or labels" if theirs.get("fingerprint") != here["fingerprint"] else "contents")
        images = count_noun(here["images"], "image")
        found.append(Mismatch("data", split, f"{theirs.get('images')} images", f"{images}: {what}", True))
    return found


def data_changes(folder: Path | None, facts: Mapping[str, Any], lines: Mapping[str, list[str]]) -> list[str]:
    """Return a sentence on each difference of the data now from those in a run's folder, if it lists them."""
    before = dict(RunFolder(folder).data) if folder else {}
    listed = folder / LIST_NAME if folder else None
    if not isinstance(before.get("class_names"), list) or listed is None or not listed.is_file():
        return []
    shared = Shared(Path(), {}, data=before | {"changes": []}, data_files=listed.read_bytes())
    found = data_mismatches(shared, facts, lines)
    return [f"{one.what}: {one.theirs} before, {one.here} now" for one in found]


def _changed_files(theirs: Mapping[str, str] | None, here: Mapping[str, str]) -> str:
    """Return the counts and first names of changed, added and removed files."""
    if not theirs or not here:
        return ""
    groups = {
        "changed": [name for name in theirs if name in here and theirs[name] != here[name]],
        "added": [name for name in here if name not in theirs],
        "removed": [name for name in theirs if name not in here],
    }
    shown = [f"{len(names)} {kind} ({', '.join(names[:3])}{', …' * (len(names) > 3)})" for kind, names in groups.items()
             if names]  # fmt: skip
    return ", ".join(shown)


def _listed(data: bytes) -> dict[str, dict[str, str]]:
    """Return split -> name -> digest of a record's list, {} if it is damaged."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(_MOST_UNPACKED).decode("utf-8", "surrogateescape")
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    found: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        parts = line.split(" ", 2)
        if len(parts) == 3:
            found.setdefault(parts[0], {})[parts[2]] = parts[1]
    return found
