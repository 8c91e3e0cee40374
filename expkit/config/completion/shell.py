"""What `--shell-completion` prints: a shell's function, or the words that may stand where the cursor is."""

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from expkit.config.completion.candidates import Query
from expkit.core.errors import ConfigError

_FOLDER = Path(__file__).parent
_SHELLS = ("bash", "zsh")
FLAGS = ("--cfg", "--dry", "--frozen", "--help", "--list", "--multirun", "--new", "--plugin")
_VALUES = {"--plugin": None, "--cfg": ("job", "hydra", "all")}  # None: a file, which the shell completes itself


def answer(words: Sequence[str]) -> bool:
    """Answer install=bash, uninstall=bash or query=bash; False for a shell that is left to Hydra. Raises ConfigError.

    query reads the line and the cursor from COMP_LINE and COMP_POINT, and prints a word a line.
    """
    command, _, shell = (words[0] if words else "").partition("=")
    if len(words) != 1 or command not in ("install", "uninstall", "query") or shell not in (*_SHELLS, "fish"):
        raise ConfigError(
            '--shell-completion: takes install=bash, uninstall=bash or query=bash: eval "$(python -m expkit.run -sc'
            ' install=bash)"'
        )
    if command == "query":
        line = os.environ.get("COMP_LINE", "")
        with suppress(ValueError):
            line = line[: int(os.environ.get("COMP_POINT", len(line)))]
        print("\n".join(complete(line)))
    elif shell == "fish":
        return False
    else:
        print((_FOLDER / ("complete.bash" if command == "install" else "remove.bash")).read_text(encoding="utf-8"))
    return True


def complete(line: str) -> list[str]:
    """Return the words that may stand at the end of a command line, whole, as they would be typed."""
    words = line.split()
    words = words[3 if words[1:3] == ["-m", "expkit.run"] else 1 :]
    current = words.pop() if words and not line[-1].isspace() else ""
    before = words[-1] if words else ""
    if before in _VALUES:
        return [value for value in _VALUES[before] or () if value.startswith(current)]
    if current.startswith("-"):
        return [flag for flag in FLAGS if flag.startswith(current)]
    plugins = [word for flag, word in pairwise(words) if flag == "--plugin"]
    query = Query(plugins, is_sweep="-m" in words or "--multirun" in words)
    if "--list" in words:
        asked = words[words.index("--list") + 1 :]
        return sorted(word for word in query.listed(asked) if word.startswith(current))
    return query.words([word for word in words if not word.startswith("-") and word not in plugins], current)
