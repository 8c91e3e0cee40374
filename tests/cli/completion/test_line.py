"""What TAB offers: commands, flags, runs, Hydra's groups and keys, and beside them what only the registry knows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expkit.cli.commands import COMMANDS, module_of
from expkit.cli.completion import answer, complete
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


@pytest.mark.parametrize("request_", ["", "install", "install=tcsh", "begin=bash"])
def test_another_shell_is_refused_with_the_command(request_: str) -> None:
    with pytest.raises(ConfigError, match="expkit -sc install=bash"):
        answer(request_)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("expkit pre", ["predict"]),
        ("python -m expkit find", ["find-lr"]),
        ("expkit find_lr model=squ", ["model=squeezenet"]),
        ("expkit run model=squ", ["model=squeezenet"]),
        ("python -m expkit run model=squ", ["model=squeezenet"]),
        ("python3 -m expkit doctor --plu", ["--plugin"]),
        ("expkit doctor --config-", ["--config-dir", "--config-name", "--config-path"]),
        ("expkit predict --to", ["--top"]),
        ("expkit export RUN --to state", ["state_dict"]),
        ("expkit export RUN --to=on", ["--to=onnx"]),
        ("expkit predict RUN --top 3 --device g", ["gpu"]),
        ("expkit evaluate RUN dataset=cifar10 dataset.ro", ["dataset.root="]),
        ("expkit evaluate RUN mod", []),
        ("expkit replay RUN logger=vis", ["logger=visdom"]),
        ("expkit reproduce RUN dataset.ro", ["dataset.root="]),
        ("expkit new ", []),
    ],
)
def test_a_line_of_each_command_is_completed(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_every_command_is_offered(name: str) -> None:
    own = {flag for flag in module_of(name).parser().flags if flag.startswith("--")}
    assert own <= set(complete(f"expkit {name} --"))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("expkit report ", ["outputs/", "outputs/first", "other/"]),
        ("expkit report out", ["outputs/"]),
        ("expkit predict outputs/f", ["outputs/first"]),
        ("expkit predict outputs/first/checkpoints/", ["outputs/first/checkpoints/best.safetensors"]),
        ("expkit reproduce other/", ["other/shared.zip"]),
        ("expkit compare outputs/first ot", ["other/"]),
        ("expkit checkpoint.resume=outputs/", ["checkpoint.resume=outputs/first"]),
    ],
)
def test_runs_checkpoints_and_records_are_offered(
    line: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("outputs/first/record.json", "outputs/first/checkpoints/best.safetensors", "other/shared.zip",
                 "other/notes.txt", ".hidden/x", "with space/x"):  # fmt: skip
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    assert complete(line) == sorted(offered)


KEPT = """
import json, sys
from expkit.cli.completion import complete
offered = complete(sys.argv[1])
print(json.dumps([offered, sorted({"torch", "hydra", "omegaconf", "yaml", "numpy", "rich"} & set(sys.modules))]))
"""


@pytest.mark.parametrize(
    "line", ["expkit optimizer.name=adama", "expkit run model=squeezenet model.width=3 model.wei", "expkit pre",
             "expkit model=squ", "expkit export --to on"],
)  # fmt: skip
def test_what_is_kept_is_answered_without_slow_libraries(line: str) -> None:
    offered = complete(line)  # keeps it
    done = subprocess.run([sys.executable, "-c", KEPT, line], capture_output=True, text=True, check=True)
    assert offered
    assert json.loads(done.stdout) == [offered, []]
