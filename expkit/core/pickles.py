"""What is wrong with a torch file, found before torch reads it, and why torch refuses to read one."""

import io
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO

_OLD_PICKLES = 5  # in a file of torch before 1.6, ahead of the tensors' numbers
_LONGEST_NAME = 1000  # of a class, in characters
_NOT_PLAIN = "it is no plain pickle of tensors"


def pickle_problem(path: Path) -> str:
    """Return what is wrong with the pickles in a torch file, "" for nothing; none of them is run.

    torch matches a name that it refuses against patterns whose time grows with the square of the name's length: a file
    of 15 KB takes seconds, and one of a megabyte would take hours.
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return next(filter(None, (_long_name(file) for _ in range(_OLD_PICKLES))), "")
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if one.filename.endswith("data.pkl")]
            return next(filter(None, (_long_name(io.BytesIO(archive.read(name))) for name in names)), "")
    except Exception:  # pickletools throws whatever it stumbles over
        return _NOT_PLAIN


def _long_name(file: IO[bytes]) -> str:
    """Return what is wrong with the next pickle in a file, and leave the file at its end."""
    lengths = [len(name) for code, name, _ in pickletools.genops(file) if code.name == "GLOBAL" and name]
    longest = max(lengths, default=0)
    return f"it asks for a name of {longest:,} characters" if longest > _LONGEST_NAME else ""


def refusal_of(error: pickle.UnpicklingError) -> str:
    """Return why torch refuses a pickle, without its own advice to load it unsafely."""
    code = re.search(r"GLOBAL (\S+)", str(error))
    return f"it asks for {code[1][:200]}, which can execute code" if code else _NOT_PLAIN
