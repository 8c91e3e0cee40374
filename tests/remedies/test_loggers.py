"""What loggers say to type: a backend that has missed something is filled by the command that is printed."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from expkit.cli.replay import main as replay
from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.loggers import background, hub
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.hub import LoggerHub
from expkit.loggers.jsonl import JsonlLogger
from expkit.loggers.tensorboard import TensorBoardLogger
from expkit.loggers.visdom import VisdomLogger
from tests.loggers.heard import Heard
from tests.remedies.followed import node_of


class Lame(TensorBoardLogger):
    """A TensorBoard that is out of order."""

    def start(self, facts: RunFacts) -> None:
        raise OSError("out of order")


def told(folder: Path, backend: Logger, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Log a point in a run folder; return all messages."""
    monkeypatch.setattr(hub, "loaded_files", list)
    monkeypatch.setattr(hub, "CLOSING", 0.3)
    monkeypatch.setattr(background, "PATIENCE", 0.1)
    folder.mkdir(exist_ok=True)
    heard = Heard()
    ours = LoggerHub([JsonlLogger(folder / "metrics.jsonl"), heard, backend])
    ours.start(RunFacts(folder.name, str(folder), config, {}))
    ours.point(Point("step", 0, 1, {"train/loss": 0.5}))
    ours.close({})
    return heard.texts


def command_in(texts: list[str]) -> list[str]:
    (line,) = {found[1] for text in texts if (found := re.search(r"received everything; (.*) fills it", text))}
    return shlex.split(line)


def test_what_is_missing_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a run's"
    config = {"logger": {"tensorboard": {"name": "tensorboard", "flush_seconds": 7}}}
    words = command_in(told(folder, Lame(folder, 7), config, monkeypatch))
    assert words[-1] == "logger.tensorboard.flush_seconds=7"

    def has_loss() -> bool:
        return any(b"loss" in path.read_bytes() for path in folder.rglob("*tfevents*"))

    assert not has_loss()
    with pytest.raises(SystemExit) as end:
        replay(words[4:])
    assert end.value.code == 0
    assert has_loss()


# What a backend was given, and what the command says of it.
GIVEN = [
    ({}, []),
    ({"port": 8098}, ["logger.visdom.port=8098"]),
    ({"server": "plots.example", "port": 8097}, ["logger.visdom.server=plots.example", "logger.visdom.port=8097"]),
    ({"env": "all of it", "save_seconds": 5}, ['logger.visdom.env="all of it"', "logger.visdom.save_seconds=5"]),
]


@pytest.mark.parametrize(("given", "words"), GIVEN)
def test_the_command_names_the_place_that_was_given(
    given: dict[str, Any], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "loaded_files", list)  # the command names them too, and other tests may have loaded some
    ours = LoggerHub()
    node = {**node_of(["logger=visdom"], "logger")["visdom"], **given}
    ours.start(RunFacts("r", "", {"logger": {"visdom": node}}, {}))
    typed = shlex.split(ours._replay_hint("visdom").split("; ")[1].removesuffix(" fills it"))
    assert typed[6:] == words


# A logger, its options, the variables, what is said, and the options or variables that are then right.
MISTAKES: list[tuple[str, dict[str, Any], dict[str, str], str, dict[str, Any], dict[str, str]]] = [
    ("visdom", {"port": 99999}, {}, "expected a number from 1 to 65535", {"port": 65535}, {}),
    ("visdom", {"username": "me"}, {}, "in the variable VISDOM_PASSWORD; set it", {}, {"VISDOM_PASSWORD": "x"}),
    ("tensorboard", {"flush_seconds": 0}, {}, "expected an integer from 1 up", {"flush_seconds": 1}, {}),
    ("wandb", {"mode": "on"}, {}, "expected offline or online", {"mode": "online"}, {}),
]


@pytest.mark.parametrize(("name", "options", "variables", "said", "then", "set_then"), MISTAKES)
def test_the_logger_is_made_then(
    name: str, options: dict[str, Any], variables: dict[str, str], said: str, then: dict[str, Any],
    set_then: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", lambda package: object())
    for variable in ("VISDOM_USERNAME", "VISDOM_PASSWORD", "VISDOM_PORT"):
        monkeypatch.delenv(variable, raising=False)
    runtime = {"folder": tmp_path, "run_name": "r"}
    with pytest.raises(ConfigError, match=re.escape(said)):
        loggers.build({"name": name, **options}, **runtime)
    for variable, text in set_then.items():
        monkeypatch.setenv(variable, text)
    assert loggers.build({"name": name, **options, **then}, **runtime)


def test_the_remedies_of_backends_name_what_there_is() -> None:
    assert VisdomLogger.remedy == "start the server with: python -m expkit visdom"
    from expkit.loggers.wandb import WandbLogger

    (word,) = re.findall(r"logger\.wandb\.\w+=\w+", WandbLogger.remedy)
    key, _, value = word.partition("=")
    assert node_of(["logger=wandb"], "logger")["wandb"][key.rpartition(".")[2]] is not None
    assert value in ("offline", "online")
