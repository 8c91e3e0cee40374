"""python -m expkit new: makes a folder with a data set, a model and choices of one's own, which trains at once."""

import argparse
import shlex
from collections.abc import Sequence

from expkit.cli.new_project.project import make
from expkit.core.process import mistakes_told
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m expkit new", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="where it shall lie; the last part is the project's name")
    given = parser.parse_args(arguments)
    with mistakes_told():
        folder = expanded(given.folder)
        made = make(folder)
        print(f"made {folder}/")
        for name, content in made.items():
            print(f"  {name:34}{content}")
        print("next")
        run = f"python -m expkit.run --plugin {shlex.quote(f'{folder.name}.py')}"
        print(f"  cd {shlex.quote(str(folder))}")
        print(f"  {run + ' experiment=first':62}  # trains")
        print(f"  {run + ' --list model pattern_net':62}  # shows the options of a word")
        print(f"  {'python -m pytest':62}  # trains for a moment, and looks at the result")
