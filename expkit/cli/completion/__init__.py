"""What `--shell-completion` prints: a script for the shell, or the words that may stand where the cursor is."""

import os
from contextlib import suppress
from pathlib import Path

from expkit.cli.completion.line import complete
from expkit.core.errors import ConfigError

# No library does this: argcomplete and shtab know neither overrides nor `python -m`, click wants its own commands.
_REMOVED = {
    "bash": """complete -r expkit python python3 2> /dev/null
[[ -z "$_expkit_before" ]] || complete -o default -F "$_expkit_before" python python3
unset -f _expkit_complete; unset _expkit_before""",
    "zsh": """compdef -d expkit python python3
[[ -z "$_expkit_before" ]] || compdef "$_expkit_before" python python3
unfunction _expkit_complete; unset _expkit_before""",
    "fish": """complete -e -c expkit
for name in python python3
    complete -e -c $name -a '(_expkit_complete)'
end
functions -e _expkit_complete _expkit_runner""",
}


def answer(request: str) -> None:
    """Print the answer to install=SHELL, uninstall=SHELL or query=SHELL. Raises ConfigError.

    query reads the line and the cursor from COMP_LINE and COMP_POINT, and prints a word a line.
    """
    command, _, shell = request.partition("=")
    if shell not in _REMOVED or command not in ("install", "uninstall", "query"):
        raise ConfigError(
            f"--shell-completion: expected install=SHELL or uninstall=SHELL for {', '.join(_REMOVED)}, got '{request}';"
            ' in bash: eval "$(expkit -sc install=bash)"'
        )
    if command == "install":
        print(Path(__file__).with_name(f"complete.{shell}").read_text(encoding="utf-8"), end="")
    elif command == "uninstall":
        print(_REMOVED[shell])
    else:
        line = os.environ.get("COMP_LINE", "")
        with suppress(ValueError):
            line = line[: int(os.environ.get("COMP_POINT", len(line)))]
        print("\n".join(complete(line)))
