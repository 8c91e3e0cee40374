"""What the other commands say of a mistake, and what then is typed: folds, replay, reproduce, visdom, plugins."""

import importlib
import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from expkit.api import Run
from expkit.cli.visdom_server import refusal
from expkit.config import plugins
from expkit.config.registry import losses
from expkit.core.extras import visdom_install_command
from tests.records.test_cross_validation import fold_run
from tests.remedies.told import fault_of_line, says, words_of

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PLUGIN = "from expkit.extend import losses\n\n@losses.register('mine')\ndef mine(task: str) -> None:\n    '''Mine.'''\n"

# The name of a run's copy, and what a file of it says otherwise.
CHANGED: dict[str, tuple[str, dict[str, Any]]] = {
    "EDITED": ("result.json", {"epochs": 7}), "DATA": ("data.json", {"class_names": ["a", "b"]}),
    "PACKAGES": ("env.json", {"packages": {"torch": "0.4"}}), "HARDWARE": ("env.json", {"system": "Plan 9"}),
    "CODE": ("code.json", {"expkit_sha256": "0"}),
}  # fmt: skip
# (the command and its words, what is said, what then is typed, each of several ways). In the folder: RUN, a run;
# EDITED and the like, those of CHANGED; FOLDS, two folds; mine.py, a plugin.
COMMANDS: list[tuple[str, str, list[str]]] = [
    ("folds RUN", "there are no two finished folds of one config here; python -m expkit.run -m 'dataset.fold=range(5)'"
     " trains all", ["folds FOLDS", "run -m 'dataset.fold=range(5)'"]),
    ("replay EMPTY logger=none", "it has no metrics.jsonl; give a run folder", ["replay RUN logger=tensorboard"]),
    ("replay RUN logger=none", "names no backend to fill; choose one, e.g. logger=visdom",
     ["replay RUN logger=tensorboard"]),
    ("replay RUN epochs=3", "a replay takes overrides of logger only", ["replay RUN logger=tensorboard"]),
    ("reproduce EMPTY", "holds no config.yaml; give a run folder, a .zip or a record.yaml", ["reproduce RUN --check"]),
    ("reproduce NONE", "give a run folder, a .zip or a record.yaml", ["reproduce RUN --check"]),
    ("reproduce RUN --steps 0", "expected an integer from 1 up", ["reproduce RUN --steps 1 --dry --allow all"]),
    ("reproduce RUN --allow colour", "--allow: takes {} or all", ["reproduce RUN --dry --allow code,edited,all"]),
    ("reproduce RUN --allow cod", "did you mean 'code'?", ["reproduce RUN --dry --allow code --allow all"]),
    ("reproduce EDITED --dry --allow code,packages,hardware,data", "; --allow edited runs it all the same",
     ["reproduce EDITED --dry --allow code,packages,hardware,data,edited"]),
    ("reproduce DATA --dry --allow code,packages,hardware,edited", "; --allow {} runs it all the same",
     ["reproduce DATA --dry --allow code,packages,hardware,edited,data"]),
    ("reproduce PACKAGES --dry --allow code,hardware,data,edited", "; --allow {} runs it all the same",
     ["reproduce PACKAGES --dry --allow code,hardware,data,edited,packages"]),
    ("reproduce HARDWARE --dry --allow code,packages,data,edited", "; --allow {} runs it all the same",
     ["reproduce HARDWARE --dry --allow code,packages,data,edited,hardware"]),
    ("reproduce CODE --dry --allow packages,hardware,data,edited", "; --allow {} runs it all the same",
     ["reproduce CODE --dry --allow packages,hardware,data,edited,code"]),
    ("reproduce RUN --dry seed=3", "reproduce takes {}", ["reproduce RUN --dry --allow all dataset.num_workers=0"]),
    ("reproduce RUN --dry dataset.rot=x", "did you mean '{}'?",
     ["reproduce RUN --dry --allow all dataset.root=SHAPES"]),
    ("reproduce RUN --export record.txt", "must end with .zip or .yaml",
     ["reproduce RUN --export record.zip", "reproduce RUN --export record.yaml"]),
    ("reproduce EDITED --export record.zip", "edited records are not exported",
     ["reproduce RUN --export another.zip"]),
    ("run --plugin mine --list", "did you mean '{}'?", ["run --plugin mine.py --list"]),
    ("run --plugin nothing.py --list", "; give its path", ["run --plugin mine.py --list"]),
    ("run --cfg job loss.name=mine seed=1 --list losss", "did you mean 'loss'?", ["run --list loss"]),
    ("run loss=torch loss.name=mine", "; {} registers it: add --plugin {}",
     ["run --plugin mine.py loss=torch loss.name=mine --cfg job"]),
    ("visdom --port 0", "takes a number from 1 to 65535", ["visdom --port 8097 --version"]),
    ("visdom --folder mine.py/a", "; give a folder that you may write to", ["visdom --folder outputs --version"]),
    ("visdom --port 8097x", "takes a number from 1 to 65535", ["visdom --port 8097 --version"]),
]  # fmt: skip


@pytest.fixture
def places(small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.chdir(tmp_path)
    losses.names()
    monkeypatch.setattr(losses, "_entries", {**losses._entries})  # what a plugin adds is gone after the test
    monkeypatch.setattr(plugins, "_loaded", [])
    monkeypatch.delitem(sys.modules, "expkit_plugin_mine", raising=False)
    shutil.copytree(small_run.folder, tmp_path / "RUN")
    for name, (file, more) in CHANGED.items():
        shutil.copytree(small_run.folder, tmp_path / name)
        found = json.loads((tmp_path / name / file).read_text()) | more
        (tmp_path / name / file).write_text(json.dumps(found))
    for fold in (0, 1):
        fold_run(tmp_path / "FOLDS" / str(fold), fold)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "mine.py").write_text(PLUGIN)
    return {"SHAPES": small_run.folder.parents[1] / "shapes"}


def told(line: str, capsys: pytest.CaptureFixture[str], **places: Path) -> tuple[int, str]:
    """Run a command in this process; returns its exit code, and what it printed."""
    module, *words = words_of(line, **places)
    if (module, words[0]) == ("run", "-m"):  # a whole sweep: its jobs are not run
        fault = fault_of_line(*words, is_quick=True)
        return 2 * bool(fault), fault
    capsys.readouterr()
    code: object = 0
    try:
        importlib.import_module(f"expkit.cli.{module}").main(words)
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    return int(code or 0) if isinstance(code, int | None) else 1, printed.out + printed.err


@pytest.mark.parametrize(("typed", "said", "then"), COMMANDS, ids=[row[0] for row in COMMANDS])
def test_what_a_command_says_can_be_typed(
    typed: str, said: str, then: list[str], places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = told(typed, capsys, **places)
    assert code == 2, message
    assert says(" ".join(message.split()), said), message
    for line in then:
        code, message = told(line, capsys, **places)
        assert code == 0, (line, message)


def test_a_host_that_is_refused_is_named_in_the_command_that_lets_it_in() -> None:
    refused = refusal("GET", {"host": "box:8097"}, [])
    assert says(refused, "start the server with: python -m expkit visdom --host {}")
    assert not refusal("GET", {"host": "box:8097"}, refused.split("--host ")[1:])


def test_the_extras_that_messages_name_are_there() -> None:
    texts = [path.read_text() for path in Path(importlib.import_module("expkit").__path__[0]).rglob("*.py")]
    named = {name.split("]")[0] for text in texts for name in text.split("expkit[")[1:]} - {"{extra}"}
    assert {"timm", "ray", "slurm", "visdom"} <= named <= set(EXTRAS), named
    assert "expkit[visdom]" in visdom_install_command() or "visdom<0.3" in visdom_install_command()
