"""What TAB offers: Hydra's groups and keys, and beside them what only the registry knows."""

from pathlib import Path

import pytest

from expkit.config.completion.shell import answer, complete
from expkit.config.registry import models
from expkit.core.errors import ConfigError

MINE = """
raise SystemExit("a plugin on a line that is not entered yet is not run")

from typing import Literal
from expkit.config.registry import models

@models.register("mine", "me")
def mine(num_classes: int, shape: Literal["round", "square"] = "round", depth: int = 1): ...
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("expkit model=squ", ["model=squeezenet"]),
        ("python -m expkit.run model=squ", ["model=squeezenet"]),
        ("expkit model.wi", ["model.width="]),
        ("expkit model=squeezenet model.wei", ["model.weights="]),
        ("expkit optimizer.name=adama", ["optimizer.name=adamax"]),
        ("expkit device.precision=f", ["device.precision=fp16", "device.precision=fp32"]),
        ("expkit model.fre", ["model.freeze="]),
        ("expkit +optimizer.ams", ["+optimizer.amsgrad="]),
        ("expkit optimizer=sgd +optimizer.damp", ["+optimizer.dampening="]),
        ("expkit experiment=dogc", ["experiment=dogcat_squeezenet"]),
        ("expkit -m epo", ["epochs="]),
        ("expkit hydra/launcher=po", ["hydra/launcher=pool"]),
        ("expkit --pl", ["--plugin"]),
        ("expkit --cfg j", ["job"]),
        ("expkit --list mod", ["model"]),
        ("expkit --list model squeezenet1", ["squeezenet1_0", "squeezenet1_1"]),
        ("expkit model=nothing_such model.", []),
        ("expkit model.name=[{ epo", []),
        ("expkit --plugin ", []),
    ],
)
def test_a_line_is_completed(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_every_model_is_offered() -> None:
    assert complete("expkit model.name=") == [f"model.name={name}" for name in models.names()]


def test_groups_are_offered_at_the_beginning() -> None:
    assert {"model=", "dataset=", "seed=", "experiment="} <= set(complete("expkit "))


def test_own_conf_and_a_plugin_are_offered_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text("name: mine\ndepth: 2\n")
    Path("words.py").write_text(MINE)
    line = "python -m expkit.run --plugin words.py model=mine"
    assert complete("expkit model=mi") == ["model=mine"]
    assert complete(f"{line} model.name=mi") == ["model.name=mine"]
    assert complete(f"{line} model.de") == ["model.depth="]
    assert complete(f"{line} +model.s") == ["+model.shape="]
    assert complete(f"{line} +model.shape=") == ["+model.shape=round", "+model.shape=square"]
    assert complete(f"{line} +model.num") == []  # found out by the run
    assert complete(f"{line} +model.ini") == ["+model.init="]  # every model's


@pytest.mark.parametrize("words", [[], ["install"], ["install=tcsh"], ["begin=bash"], ["query=bash", "query=bash"]])
def test_another_shell_is_refused_with_the_command(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="install=bash"):
        answer(words)
