"""One process at a time in a run folder: a lock that the system drops when its holder dies, however it dies."""

import json
import os
import socket
import sys
from pathlib import Path

from expkit.core.errors import ConfigError
from expkit.core.files import writing

if sys.platform != "win32":
    import fcntl

_held: set[int] = set()  # descriptors of this process


class FolderInUse(ConfigError):
    """Another process works in this run folder, or may do so; the text names it and says what to do."""


class FolderLock:
    """The lock of a run folder, held from here until `release` or the end of the process.

    Its file names the holder as JSON. `recovered`: a sentence when the holder before died without releasing it.
    Windows has no such locks: there the file is only a notice.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run.lock"
        try:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FolderInUse(f"{self.path}: cannot be opened: {error.strerror}; a run must write there") from error
        try:
            self._take()
            self.recovered = self._check_holder()
            self._write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        except BaseException:
            os.close(self.descriptor)
            raise
        _held.add(self.descriptor)

    def release(self) -> None:
        """Release the folder. The file stays, empty: removing it would let two others hold one lock each."""
        if self.descriptor not in _held:
            return
        self._write("")
        _held.discard(self.descriptor)
        os.close(self.descriptor)

    def _take(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            host, pid = self._holder() or ("a host", "not yet named")
            raise FolderInUse(
                f"{self.path.parent}: is in use by process {pid} on {host}; wait for it, or stop it first"
            ) from error
        except OSError as error:
            raise FolderInUse(f"{self.path.parent}: cannot be locked: {error.strerror}; use a local disk") from error

    def _check_holder(self) -> str:
        """Return a sentence on the holder before, which died; raises FolderInUse where it may live on another host."""
        if not (holder := self._holder()):
            return ""
        host, pid = holder
        if host != socket.gethostname():  # some network file systems keep a lock to the host that took it
            raise FolderInUse(
                f"{self.path.parent}: was locked by process {pid} on {host}, which may still run; if it does not,"
                f" remove {self.path} and start again"
            )
        return f"process {pid} ended without releasing {self.path.parent}"

    def _holder(self) -> tuple[str, int] | None:
        """Return the host and process that the file names; None for an empty file, or one that was never finished."""
        try:
            holder = json.loads(os.pread(self.descriptor, 4096, 0))
            return str(holder["host"]), int(holder["pid"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None

    def _write(self, text: str) -> None:
        with writing(self.path):
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, text.encode(), 0)


def _drop_in_child() -> None:
    """Close the locks in a forked process: a loader's worker would keep one after its parent was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_drop_in_child)
