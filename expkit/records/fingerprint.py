"""Fingerprint the data's files by their contents, which are cached by size and times."""

import gzip
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from expkit.core.escaping import name_bytes
from expkit.core.files import atomic_write
from expkit.core.progress import tracked
from expkit.core.user_folders import cache_folder
from expkit.data.dataset import ImageDataset
from expkit.devices.device import available_cores

LIST_NAME = "data_files.txt.gz"
MOST_LISTED = 200_000  # files that a record lists
WHOLE_UP_TO = 20 * 2**30  # bytes of a data set that is read completely; of a larger one, both ends of each file
_END = 16_384  # bytes
_YOUNG = 2 * 10**9  # nanoseconds: a file just written may change again with the same time stamp

Known = dict[str, tuple[int, int, int, str]]  # path -> size, mtime_ns, ctime_ns, digest


def content_facts(data: ImageDataset) -> tuple[dict[str, Any], list[str]]:
    """Return (method and digest of a split's contents, a line `digest name` for each file).

    method: "contents" (every byte), "ends" (size and both ends of each file), "pixels" (arrays in memory) or "names"
    (only names and labels, where another library reads the files).
    """
    names = [data.sample_name(index) for index in range(len(data))]
    if len(data) and os.path.isfile(data.location(0)):
        method, found = file_digests([data.location(index) for index in range(len(data))])
        digest = hashlib.sha256("\n".join(found).encode()).hexdigest()
        lines = [f"{one[:12]} {name}".replace("\n", "\\n") for one, name in zip(found, names, strict=True)]
        return {"method": method, "content": digest}, lines if len(lines) <= MOST_LISTED else []
    if isinstance(pixels := getattr(data, "pixels", None), np.ndarray):
        return {"method": "pixels", "content": hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()}, []
    return {"method": "names", "content": None}, []


def list_bytes(lines: Mapping[str, Sequence[str]]) -> bytes:
    """Return a reproducible gzip file of all splits' lines, each `split digest name`."""
    text = "".join(f"{split} {line}\n" for split, some in lines.items() for line in some)
    return gzip.compress(name_bytes(text), 6, mtime=0)


def file_digests(paths: Sequence[str]) -> tuple[str, list[str]]:
    """Return (method, digest of each file or "-" if it cannot be read), reading only files not in the cache."""
    stats = [_stat(path) for path in paths]
    method = "contents" if sum(one[0] for one in stats) <= WHOLE_UP_TO else "ends"
    store = _store(paths, method)
    known = _load(store)
    entries = [known.get(path) for path in paths]
    fresh = [n for n, (one, entry) in enumerate(zip(stats, entries, strict=True)) if not entry or entry[:3] != one]
    found = [entry[3] if entry else "-" for entry in entries]
    began = time.time_ns()
    for number, digest in zip(fresh, _read(paths, fresh, method == "contents"), strict=True):
        found[number] = digest
    if fresh:
        old = {number for number in fresh if began - max(stats[number][1:]) > _YOUNG and found[number] != "-"}
        known |= {paths[number]: (*stats[number], found[number]) for number in old}
        if old:
            _save(store, known)
    return method, found


def _stat(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(paths: Sequence[str], numbers: Sequence[int], whole: bool) -> list[str]:
    if not numbers:
        return []
    # hashlib and file reads release the GIL.
    with ThreadPoolExecutor(min(2 * available_cores(), 16)) as pool:
        digests = pool.map(lambda number: _digest(paths[number], whole), numbers, chunksize=64)
        if len(numbers) < 2_000:
            return list(digests)
        return list(tracked(digests, "fingerprint of the data", len(numbers)))


def _digest(path: str, whole: bool) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            if whole:
                return hashlib.blake2b(file.readall(), digest_size=16).hexdigest()
            size = os.fstat(file.fileno()).st_size
            first = file.read(_END)
            file.seek(max(size - _END, 0))
            return hashlib.blake2b(b"%d\0" % size + first + file.read(_END), digest_size=16).hexdigest()
    except OSError:
        return "-"


def _store(paths: Sequence[str], method: str) -> Path:
    """Return the cache file for the files' common folder."""
    probes = {os.path.abspath(paths[number]) for number in (0, len(paths) // 2, len(paths) - 1)}
    root = os.path.dirname(next(iter(probes))) if len(probes) == 1 else os.path.commonpath(probes)
    name = hashlib.sha256(f"{method}\0{root}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_folder() / "fingerprints" / f"{name}.npz"


def _load(store: Path) -> Known:
    try:
        with open(store, "rb") as file, np.load(file, allow_pickle=False) as found:
            paths = found["paths"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            times = found["times"].tolist()
            digests = found["digests"].tobytes().decode().split("\0")
        return {path: (*row, one) for path, row, one in zip(paths, times, digests, strict=True)}
    except Exception:  # missing, of another version, or damaged: NumPy may raise anything
        return {}


def _save(store: Path, known: Known) -> None:
    """Cache the digests for the next run, if the folder is writable."""
    values = list(known.values())
    arrays: dict[str, Any] = {
        "paths": np.frombuffer("\0".join(known).encode("utf-8", "surrogateescape"), dtype=np.uint8),
        "times": np.array([value[:3] for value in values], dtype=np.int64),
        "digests": np.frombuffer("\0".join(value[3] for value in values).encode(), dtype=np.uint8),
    }
    with suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(store, lambda file: np.savez(file, **arrays))
