"""Untrusted text (class and file names, manifests, error messages), made safe for a terminal, a CSV, a command line."""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

# What moves the cursor, names a window or types for the user (C0, C1, DEL), what reverses the order of letters
# (Unicode's property Bidi_Control), what ends a line only for some readers, and bytes of a name that is not UTF-8.
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNPRINTABLE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
_WITHIN_A_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
_FORMULA = re.compile(r"[=+\-@\t\r\n]")


def printable(text: str) -> str:
    r"""Return a text with every character that a terminal would act upon escaped: ESC as \x1b."""
    return _UNPRINTABLE.sub(_written_out, text)


def one_line(text: str) -> str:
    r"""Return a text that is printable and stays on its line: \n and \t are escaped too."""
    return _WITHIN_A_LINE.sub(_written_out, text)


LONGEST = 2_000  # characters of a message


def shortened(text: str, most: int = LONGEST) -> str:
    """Return a text of about `most` characters: its beginning, and its end, where a message names the fix."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 4
    return f"{text[:head]} … ({len(text) - head - tail:,} characters left out) … {text[-tail:]}"


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not read
        code -= 0xDC00
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def csv_cell(text: str) -> str:
    """Return a text that a spreadsheet takes as text: one that would begin a formula gets an apostrophe before it.

    Numbers stay as they are, their sign too.
    """
    return printable(f"'{text}" if _begins_a_formula(text) else text)


def csv_path(path: str) -> str:
    """Return a path that a spreadsheet takes as text, and that still leads to its file."""
    return f"./{path}" if _begins_a_formula(path) else path


def _begins_a_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _is_number(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "\n" not in text and "\r" not in text


def name_bytes(text: str) -> bytes:
    """Return a text as UTF-8, and the bytes of a file's name that is not UTF-8 as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, which JSON can spell and no file can have
        return text.encode("utf-8", "surrogatepass")


def json_bytes(text: str) -> bytes:
    r"""Return JSON as UTF-8; bytes of a name that are not UTF-8 become \udce9, which reads back as it was."""
    return text.encode("utf-8", "backslashreplace")


_status: list[tuple[int, str]] = []  # (process, text) of the line that show_status has left on the terminal


def show_status(text: str) -> None:
    """Show a line on the terminal, if there is one, until this process prints something else there or ends."""
    if sys.stderr is not None and sys.stderr.isatty() and not _status:
        sys.stderr.write(text)
        sys.stderr.flush()
        _status.append((os.getpid(), text))


def clear_status() -> None:
    """Remove the line of show_status."""
    if not _status:
        return
    process, text = _status.pop()
    if process == os.getpid() and sys.__stderr__ is not None:  # a process that was forked leaves it alone
        with suppress(OSError, ValueError):
            sys.__stderr__.write(f"\r{' ' * len(text)}\r")
            sys.__stderr__.flush()


class EscapedStream:
    """A text stream that escapes what it writes; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.unescaped = stream

    def write(self, text: str) -> Any:
        clear_status()
        return self.unescaped.write(printable(text))

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unescaped, name)


def escape_output() -> None:
    """Escape all that is printed from now on, in whatever encoding the console has."""
    sys.stdout, sys.stderr = _escaped(sys.stdout), _escaped(sys.stderr)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Escape all that is printed within, in whatever encoding the console has."""
    before = sys.stdout, sys.stderr
    handlers = [getattr(stream, "errors", None) for stream in before]
    escape_output()
    try:
        yield
    finally:
        for stream, errors in zip(before, handlers, strict=True):
            _set_errors(stream, errors)
        sys.stdout, sys.stderr = before


def _escaped(stream: Any) -> Any:
    if stream is None or isinstance(stream, EscapedStream):  # None where a shell has closed it: >&-
        return stream
    _set_errors(stream, "backslashreplace")
    return EscapedStream(stream)


def _set_errors(stream: Any, errors: str | None) -> None:
    """Set what happens to a character that the console's encoding lacks."""
    if errors and hasattr(stream, "reconfigure") and not stream.closed:
        with suppress(OSError):  # of what waits to be written: whoever flushes last reports it
            stream.reconfigure(errors=errors)


def quoted(text: str) -> str:
    """Return a text as Hydra's command line takes it, whatever is in it."""
    # A backslash is one, but for those before a quote.
    return '"' + re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + m[2].replace('"', '\\"'), text) + '"'


def as_override(key: str, text: object) -> str:
    """Return the override that gives an option a text, as a shell takes it: dataset.root=pics, 'dataset.root="a b"'."""
    return shlex.quote(f"{key}={_as_value(str(text))}")


def as_list(key: str, texts: Iterable[str]) -> str:
    """Return the override that gives an option a list of texts, as a shell takes it."""
    return shlex.quote(f"{key}=[{','.join(map(_as_value, texts))}]")


def _as_value(text: str) -> str:
    is_plain = re.fullmatch(r"[A-Za-z_./][\w./@+-]*", text, re.ASCII)
    if is_plain and text.lower() not in ("true", "false", "null", "nan", "inf"):
        return text
    return quoted(text.replace("${", "\\${"))  # ${ would be a reference
