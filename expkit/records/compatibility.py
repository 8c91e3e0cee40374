"""What differs between where a record was made and here, and which of it may change the numbers."""

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


class Apart(NamedTuple):
    """One thing that differs. breaks: whether the numbers may differ for it, so that the user must allow it."""

    kind: Kind
    what: str
    theirs: str
    here: str
    breaks: bool


def apart(record: Shared, environment: Mapping[str, Any], device: Mapping[str, Any]) -> list[Apart]:
    """Return what differs in code, packages and hardware; the data are compared once they are loaded.

    device: its node in the config here.
    """
    packages = _packages(record.environment, environment)
    hardware = _hardware(record.environment, environment)
    return [*_code(record), *packages, *hardware, *_processes(record.config.get("device"), device)]


def _code(record: Shared) -> Iterator[Apart]:
    theirs, here = record.code.get("expkit_sha256"), package_digest()
    if theirs and theirs != here:
        commit = record.code.get("commit")
        told = f"{str(theirs)[:12]}{f' (commit {str(commit)[:12]})' if commit else ''}"
        yield Apart("code", "expkit", told, here[:12], True)
    plugins = plugin_facts()
    for name, digest in dict(record.code.get("plugins") or {}).items():
        if name not in plugins:
            remedy = f"not given; read the record's plugins/{name}, then give it by --plugin"
            yield Apart("code", f"plugin {name}", str(digest)[:12], remedy, True)
        elif plugins[name] != digest:
            yield Apart("code", f"plugin {name}", str(digest)[:12], plugins[name][:12], True)


def missing_plugins(record: Shared) -> list[str]:
    """Say where the record holds the plugins that were not given, and the command that reads them."""
    own = plugin_facts()
    missing = [str(name) for name in dict(record.code.get("plugins") or {}) if name not in own]
    if not missing:
        return []
    files, place = ", ".join(f"plugins/{name}" for name in missing), record.place
    if place.suffix in (".yaml", ".yml"):
        return [f"--plugin: the record was made with {', '.join(missing)}, which a .yaml does not hold; ask for them"]
    folder = place
    unpack = ""
    if place.suffix == ".zip":
        folder = place.with_suffix("")
        unpack = f"unpack it (python -m zipfile -e {shlex.quote(str(place))} {shlex.quote(str(folder))}), "
    given = shlex.quote(str(folder / "plugins" / missing[0]))
    return [f"--plugin: the record needs code that it holds, {files}: {unpack}read them, then give --plugin {given}"]


def _packages(theirs: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Apart]:
    own = here["packages"]
    for name, version in dict(theirs.get("packages") or {}).items():
        here_version = own.get(name) or installed_version(str(name))  # some are imported later
        if version != here_version:
            yield Apart("packages", str(name), str(version), str(here_version), name in COMPUTING)
    if theirs and theirs.get("python") != here["python"]:
        yield Apart("packages", "python", str(theirs.get("python")), here["python"], False)


def _hardware(theirs: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Apart]:
    on_gpu = theirs.get("device") not in ("cpu", "multi_cpu")
    breaking = {"device": True, "system": True, "cpu_capability": not on_gpu, "gpus": on_gpu, "cuda": on_gpu}
    # Libraries choose kernels by the processor's model too, though mostly by its instruction set.
    for name, breaks in (breaking | {"cpu": False, "cores": False, "threads": False, "variables": False}).items():
        if name in theirs and theirs[name] != here[name]:
            pinned = " (set to that of the record)" if name == "threads" else ""
            yield Apart("hardware", name, _short(theirs[name]), _short(here[name]) + pinned, breaks)


def _processes(theirs: Any, here: Mapping[str, Any]) -> Iterator[Apart]:
    """Yield how the number of ranks differs, on which the last digits of sums depend, and dropout."""
    if not isinstance(theirs, Mapping) or theirs.get("name") != here["name"]:
        return  # another device is reported as such
    for key in ("count", "indices"):
        if key in here and theirs.get(key) != here[key]:
            yield Apart("hardware", f"device.{key}", _short(theirs.get(key)), _short(here[key]), True)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def apart_data(record: Shared, facts: Mapping[str, Any], lines: Mapping[str, list[str]]) -> list[Apart]:
    """Return what differs in the data, file by file where the record lists them."""
    found = []
    classes, ours = (list(unique_names(one.get("class_names", []))) for one in (record.data, facts))
    if record.data and classes != ours:
        told = differ(classes, "the record", ours, "the data here")
        found.append(Apart("data", "classes", f"{count_noun(len(classes), 'class')}", f"{len(ours)}: {told}", True))
    if changes := record.data.get("changes"):
        told = f"they changed {len(changes)} times while it ran" if len(changes) > 1 else "they changed while it ran"
        found.append(Apart("data", "one run", told, "the last ones", True))
    listed = _listed(record.data_files)
    for split in ("train", "val"):
        theirs, here = record.data.get(split), facts[split]
        if not isinstance(theirs, dict):
            continue
        keys = ["fingerprint"] + ["content"] * (theirs.get("method") == here["method"])
        if all(theirs.get(key) == here[key] for key in keys):
            continue
        told = _files_apart(listed.get(split), dict(line.split(" ", 1)[::-1] for line in lines[split]))
        if not told:
            told = "names or labels" if theirs.get("fingerprint") != here["fingerprint"] else "contents"
        images = count_noun(here["images"], "image")
        found.append(Apart("data", split, f"{theirs.get('images')} images", f"{images}: {told}", True))
    return found


def data_changes(folder: Path | None, facts: Mapping[str, Any], lines: Mapping[str, list[str]]) -> list[str]:
    """Return in sentences how a run's data, as its folder tells of them, differ from those that were found now.

    Nothing is returned where the folder does not tell.
    """
    before = dict(RunFolder(folder).data) if folder else {}
    listed = folder / LIST_NAME if folder else None
    if not isinstance(before.get("class_names"), list) or listed is None or not listed.is_file():
        return []
    shared = Shared(Path(), {}, data=before | {"changes": []}, data_files=listed.read_bytes())
    found = apart_data(shared, facts, lines)
    return [f"{one.what}: {one.theirs} before, {one.here} now" for one in found]


def _files_apart(theirs: Mapping[str, str] | None, here: Mapping[str, str]) -> str:
    """Return which files were changed, added and removed, each with its first names."""
    if not theirs or not here:
        return ""
    groups = {
        "changed": [name for name in theirs if name in here and theirs[name] != here[name]],
        "added": [name for name in here if name not in theirs],
        "removed": [name for name in theirs if name not in here],
    }
    told = [
        f"{len(names)} {word} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for word, names in groups.items() if names
    ]  # fmt: skip
    return ", ".join(told)


def _listed(data: bytes) -> dict[str, dict[str, str]]:
    """Return split -> name -> digest of a record's list; nothing where it is none."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(_MOST_UNPACKED).decode("utf-8", "surrogateescape")
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    found: dict[str, dict[str, str]] = {}
    for line in text.split("\n"):
        words = line.split(" ", 2)
        if len(words) == 3:
            found.setdefault(words[0], {})[words[2]] = words[1]
    return found
