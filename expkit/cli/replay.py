"""expkit replay: sends the points and figures of a finished run to any logger."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from expkit.cli.arguments import plugin_option
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError
from expkit.core.process import mistakes_reported, refuse_torchrun
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        given = parser().parse_intermixed_args(arguments)
        refuse_torchrun()
        from expkit.config.plugins import load_plugins

        load_plugins(given.plugin)
        failures = replay(expanded(given.run), given.overrides)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if not failures:
        print(f"{given.run}: all that was logged is sent")
    sys.exit(1 if failures else 0)


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("replay")
    plugin_option(made)
    made.add_argument("run", metavar="RUN", help="run folder")
    made.add_argument("overrides", nargs="+", metavar="logger=NAME", help="e.g. logger=visdom logger.visdom.port=8098")
    return made


def replay(folder: Path, overrides: Sequence[str]) -> list[str]:
    """Send all of a run folder to the chosen loggers; returns what failed, a sentence each. Raises ConfigError."""
    from expkit.config.compose import compose_one, plain
    from expkit.core.progress import tracked
    from expkit.loggers.base import RunFacts
    from expkit.loggers.figure_store import read_figures
    from expkit.loggers.jsonl import read_points
    from expkit.records.run_folder import RunFolder
    from expkit.runs.build import open_loggers
    from expkit.runs.check import check

    if not (folder / "metrics.jsonl").is_file():
        raise ConfigError(f"run: there is no run in '{folder}': it has no metrics.jsonl; give a run folder")
    for override in overrides:
        if not override.startswith(("logger=", "logger.", "+logger.")):
            raise ConfigError(f"{override.partition('=')[0]}: a replay takes overrides of logger only")
    config = plain(compose_one(list(overrides)))
    check(config)
    if not config["logger"]:
        raise ConfigError("logger: names no backend to fill; choose one, e.g. logger=visdom")
    name = folder.resolve().name
    facts = RunFacts(name, str(folder), RunFolder(folder).config, {"run": name})
    failures = []
    for logger in open_loggers(config, folder.resolve()):
        try:
            logger.start(facts)
            for point, _ in tracked(read_points(folder / "metrics.jsonl"), f"{logger.title}: points", None):
                logger.point(point)
            for figure, _ in tracked(read_figures(folder), f"{logger.title}: figures", None):
                logger.show(figure)
            logger.flush()
            logger.close({"replayed": str(folder)})
        except Exception as error:  # whatever a backend raises, the next one is filled all the same
            remedy = f"; {logger.remedy}" if logger.remedy else ""
            failures.append(f"{logger.title}: {type(error).__name__}: {error}{remedy}")
            with suppress(Exception):  # what it has taken so far is kept
                logger.close({"replayed": str(folder)})
    return failures
