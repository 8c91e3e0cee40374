"""expkit new: creates a project with a data set and a model of your own, ready to train."""

import shlex
from collections.abc import Sequence

from expkit.cli.commands import command_parser
from expkit.cli.new_project.project import make
from expkit.core.command_parser import CommandParser
from expkit.core.process import mistakes_reported
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        given = parser().parse_args(arguments)
        folder = expanded(given.folder)
        made = make(folder)
        print(f"made {folder}/")
        for name, content in made.items():
            print(f"  {name:34}{content}")
        print("next")
        run = f"python -m expkit.run --plugin {shlex.quote(f'{folder.name}.py')}"
        print(f"  cd {shlex.quote(str(folder))}")
        print(f"  {run + ' experiment=first':62}  # trains")
        print(f"  {run + ' --list model pattern_net':62}  # shows the options of a name")
        print(f"  {'python -m pytest':62}  # trains briefly and checks the result")


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("new")
    made.add_argument("folder", metavar="FOLDER", help="folder to create; its last part is the name of the project")
    return made
