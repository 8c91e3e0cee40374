"""Files on a disk that may fill up: written whole or not at all, and what an error of the disk means to the user."""

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

Result = TypeVar("Result")

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")

_FULL = (errno.ENOSPC, errno.EDQUOT)
# What the disk, and not the program, is to blame for.
_OF_THE_DISK = (
    *_FULL, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EISDIR, errno.ENOTDIR, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Name a file in the OSErrors raised while it is written: those of a write name none by themselves."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def disk_fault(error: BaseException) -> str:
    """Return the sentence for an error that the disk is to blame for, "" for any other error."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        return ""
    name = error.filename2 or error.filename  # of a copy it is the target that is full
    place = os.fsdecode(name) if isinstance(name, str | bytes) else "a file"
    if error.errno in _FULL:
        return f"{place}: was not written: {error.strerror}; free some space and start again"
    return f"{place}: {error.strerror}; check the disk and its permissions"


def atomic_write(path: Path, write: Callable[[BinaryIO], Result]) -> Result:
    """Write a file through a temporary one in the same folder, so that a crash leaves the old one or the new one.

    Returns what `write` returns. Raises OSError, which names the file; the temporary file is gone by then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            result = write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # and not the temporary one, which nobody knows
        raise
    sync_folder(path.parent)
    return result


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all. Raises OSError, which names the file."""
    atomic_write(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises OSError, which names the file."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all. Raises OSError, which names the file."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, {} if there is none or it is damaged."""
    try:
        return parse_object(path.read_bytes())
    except OSError:
        return {}


def parse_object(text: bytes | str) -> dict[str, Any]:
    """Return the object in a JSON text, {} if it holds none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remove_temporary_files(folder: Path) -> None:
    """Remove what a killed writer left in a folder, whose lock the caller holds."""
    for path in folder.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder: after a power cut a file is only there if its folder was written too."""
    if os.name != "posix":  # a folder cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Reserve:
    """Disk space reserved for the end: a run must be able to record that it failed on a full disk."""

    def __init__(self, folder: Path, size: int = 262_144) -> None:
        self.path, self.size = folder / ".reserved", size

    def take(self) -> None:
        """Take the space. Raises OSError, which names the file, where there is none."""
        with writing(self.path), open(self.path, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self.size)
            else:
                file.write(bytes(self.size))

    def release(self) -> None:
        """Give it back."""
        self.path.unlink(missing_ok=True)


def overwrite(path: Path, content: bytes) -> bool:
    """Write new content into the blocks that a file has already, which a full disk allows; return whether it fits.

    A crash meanwhile leaves it damaged: use it only where `atomic_write` finds no room.
    """
    with writing(path), open(path, "r+b") as file:
        if len(content) > getattr(os.fstat(file.fileno()), "st_blocks", 0) * 512:
            return False
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    return True


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file, whole or not at all; half a line that a killed process left there is ended first.

    Raises OSError, which names the file.
    """
    with writing(path), open(path, "ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        is_cut = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n" if os.name == "posix" else False
        data = (b"\n" if is_cut else b"") + line + b"\n"
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise
