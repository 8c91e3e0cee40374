"""The guard: configs of a stranger, none of which runs, reads or fills anything; and honest ones, which all pass."""

import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from expkit.config.command_line import plan
from expkit.config.completion.overrides import complete_override
from expkit.config.compose import compose_one, plain
from expkit.config.hydra_loader import Config
from expkit.config.registry import GROUPS
from expkit.core.errors import ConfigError
from expkit.runs.build import build
from expkit.runs.check import check_plan

GLOBAL = "# @package _global_\n"
CANARY = "import pathlib\npathlib.Path({fired!r}).write_text('ran')\ndef fire(*a, **k): return lambda *a, **k: None\n"


@dataclass
class Attack:
    """Files of a stranger (experiment/x.yaml when it is one text), the command line, and what the refusal must say."""

    name: str
    files: dict[str, str]
    says: str
    arguments: list[str]


def attack(name: str, text: str | dict[str, str], says: str, *arguments: str) -> Attack:
    files = {"experiment/x.yaml": GLOBAL + text} if isinstance(text, str) else text
    return Attack(name, files, says, list(arguments) or ["experiment=x"])


def bomb(levels: int, line: str) -> str:
    """Return lines that each name the one before them several times."""
    return "a0: &a0 [x]\n" + "".join(line.format(now=n, before=n - 1) for n in range(1, levels))


CODE = "may not name code"
TYPED = "only the command line"
ENVIRONMENT = "may not read the environment"

# ---- code in a job's config: every group, every depth, every disguise ------------------------------------------------
IN_A_GROUP = [
    attack(f"target in {group}", {f"{group}/x.yaml": "name: x\n_target_: canary.fire\n"}, CODE, f"{group}=x")
    for group in GROUPS
]
IN_A_JOB = [
    attack("target at the top", "_target_: canary.fire\n", CODE),
    attack("target four levels down", "model: {a: {b: {c: {_target_: canary.fire}}}}\n", CODE),
    attack("target in a list", "transforms: {train: [{name: Resize, more: [{_target_: canary.fire}]}]}\n", CODE),
    attack("target that deletes", "model: {extra: {_target_: pathlib.Path.unlink, self: victim}}\n", CODE),
    attack("target that is os.system", "model: {extra: {_target_: os.system, command: touch fired}}\n", CODE),
    attack("partial alone", "loss: {_partial_: true}\n", CODE),
    attack("args alone", "loss: {_args_: [1]}\n", CODE),
    attack("factory key", "loss: {(): canary.fire}\n", CODE),
    attack("target behind an alias", "epochs: 1\nname: &t canary.fire\nmodel: {_target_: *t}\n", CODE),
    attack("target behind a merge key", "loss: &l {_target_: canary.fire}\nmodel: {<<: *l}\n", CODE),
    attack("target behind a reference", "loss: {_target_: canary.fire}\nmodel: ${loss}\n", CODE),
    attack("target by escapes", 'model: {"_tar\\u0067et_": canary.fire}\n', CODE),
    attack("target by another package", {"loss/x.yaml": "# @package model.extra\n_target_: canary.fire\n"}, CODE,
           "loss=x"),
]  # fmt: skip


# ---- code in Hydra's own node ----------------------------------------------------------------------------------------
def handler(text: str, node: str = "job_logging") -> str:
    return f"hydra: {{{node}: {{handlers: {{h: {text}}}, root: {{handlers: [h]}}}}}}\n"


SLURM = "_target_: hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher\n"
SEARCH = "_target_: expkit.sweeps.Search\n"
IN_HYDRA = [
    attack("callback", "hydra: {callbacks: {c: {_target_: canary.fire}}}\n", CODE),
    attack("callback of a callback", "hydra: {callbacks: {c: {_target_: hydra.experimental.callbacks."
           "LogJobReturnCallback, x: {_target_: canary.fire}}}}\n", CODE),
    attack("callback that deletes", "hydra: {callbacks: {c: {_target_: pathlib.Path.unlink, self: victim}}}\n", CODE),
    attack("callback by package", "defaults: [/loss@hydra.callbacks.c: x]\n", CODE),
    attack("callback by header", {"experiment/x.yaml": "# @package hydra.callbacks.c\n_target_: canary.fire\n"}, CODE),
    attack("callback by reference", "e: {c: {_target_: canary.fire}}\nhydra: {callbacks: '${e}'}\n", TYPED),
    attack("hydra instantiate", "hydra: {callbacks: {c: {_target_: hydra.utils.instantiate, config: "
           "{_target_: canary.fire}}}}\n", CODE),
    attack("hydra call", "hydra: {callbacks: {c: {_target_: hydra.utils.call}}}\n", CODE),
    attack("hydra get_method", "hydra: {callbacks: {c: {_target_: hydra.utils.get_method, path: canary}}}\n", CODE),
    attack("hydra internals", "hydra: {callbacks: {c: {_target_: hydra._internal.utils._locate}}}\n", CODE),
    attack("our own main", "hydra: {callbacks: {c: {_target_: expkit.run.main, arguments: [epochs=1]}}}\n", CODE),
    attack("logging.config", "hydra: {callbacks: {c: {_target_: logging.config.fileConfig, fname: evil.ini}}}\n", CODE),
    attack("launcher", "hydra: {launcher: {_target_: canary.fire}}\n", CODE),
    attack("launcher of a group", {"hydra/launcher/x.yaml": "_target_: canary.fire\n"}, CODE, "hydra/launcher=x"),
    attack("unknown plugin", "hydra: {launcher: {_target_: hydra_plugins.canary.Launcher}}\n", CODE),
    attack("launcher's shell commands", {"hydra/launcher/x.yaml": SLURM + "setup: [touch fired]\n"}, TYPED,
           "hydra/launcher=x"),
    attack("launcher's words", {"hydra/launcher/x.yaml": SLURM + "partition: 'a; touch fired'\n"}, TYPED,
           "hydra/launcher=x"),
    attack("launcher's words by reference", {"hydra/launcher/x.yaml": SLURM + "setup: ${class_names}\n"}, TYPED,
           "hydra/launcher=x"),
    attack("sweeper", "hydra: {sweeper: {_target_: canary.fire}}\n", CODE),
    attack("sweeper's sampler", {"hydra/sweeper/x.yaml": SEARCH + "sampler: {_target_: canary.fire}\n"}, CODE,
           "hydra/sweeper=x"),
    attack("sweeper's function", {"hydra/sweeper/x.yaml": SEARCH + "custom_search_space: canary.fire\n"}, TYPED,
           "hydra/sweeper=x"),
    attack("sweeper's database", {"hydra/sweeper/x.yaml": SEARCH + "storage: sqlite:///victim\n"}, TYPED,
           "hydra/sweeper=x"),
    attack("handler factory", handler("{(): canary.fire}"), CODE),
    attack("handler class", handler("{class: canary.fire}"), CODE),
    attack("handler class in one word", handler("{class: canary}"), CODE),
    attack("handler class by reference", "e: canary.fire\n" + handler("{class: '${e}'}"), CODE),
    attack("handler over a socket", handler("{class: logging.handlers.SocketHandler, host: h, port: 1}"), CODE),
    attack("handler that reads ext", handler("{class: logging.StreamHandler, stream: 'ext://canary.fire'}"), "is code"),
    attack("handler that reads cfg", handler("{class: logging.StreamHandler, stream: 'cfg://root'}"), "is code"),
    attack("ext by reference", "e: ext://canary.fire\n" + handler("{class: logging.StreamHandler, stream: '${e}'}"),
           TYPED),
    attack("handler's attributes", handler("{class: logging.NullHandler, '.': {flush: x}}"), CODE),
    attack("formatter factory", "hydra: {job_logging: {formatters: {simple: {(): canary.fire}}}}\n", CODE),
    attack("formatter class", "hydra: {job_logging: {formatters: {simple: {class: canary.fire}}}}\n", CODE),
    attack("filter factory", "hydra: {job_logging: {filters: {f: {(): canary.fire}}}}\n", CODE),
    attack("Hydra's own log", handler("{(): canary.fire}", "hydra_logging"), CODE),
    attack("logging by reference", "e: {handlers: {h: {(): canary.fire}}}\nhydra: {job_logging: '${e}'}\n", TYPED),
    attack("logging of a group", {"experiment/x.yaml": GLOBAL + "defaults: [override /hydra/job_logging: x]\n",
           "hydra/job_logging/x.yaml": "version: 1\nhandlers: {h: {(): canary.fire}}\nroot: {handlers: [h]}\n"}, CODE),
    attack("searchpath", "hydra: {searchpath: [pkg://canary]}\n", "may not say where more files lie"),
    attack("searchpath of the main config", {"config.yaml": "hydra: {searchpath: [pkg://canary]}\n"},
           "may not say where more files lie", "--config-path=conf"),
    attack("searchpath of a shadowed config", {"config.yaml": "hydra: {searchpath: [pkg://canary]}\n"},
           "may not say where more files lie", "epochs=1"),
    attack("searchpath by another way", {"config.yaml": "e: &e {searchpath: [pkg://canary]}\nhydra: *e\n"},
           "may not say where more files lie", "epochs=1"),
    attack("searchpath by a resolver", {"config.yaml":
           "hydra: \"${oc.create:'{search${e}: [pkg://canary]}'}\"\ne: path\n"}, ENVIRONMENT, "epochs=1"),
    attack("overrides of Hydra", "hydra: {mode: MULTIRUN, overrides: {hydra: "
           "['hydra.job_logging.handlers.console.class=canary.fire']}}\n", "was not typed"),
    attack("overrides of the job", "hydra: {overrides: {task: ['+model._target_=canary.fire']}}\n", "was not typed"),
    attack("sweep over Hydra's node", "hydra: {mode: MULTIRUN, sweeper: {params: "
           "{hydra.job_logging.handlers.console.class: canary.fire}}}\n", "keys of the job only"),
    attack("sweep with a target", "hydra: {mode: MULTIRUN, sweeper: {params: {+model._target_: canary.fire}}}\n", CODE),
    attack("sweep over files", {
           "experiment/x.yaml": GLOBAL + "hydra: {mode: MULTIRUN, sweeper: {params: {loss: 'cross_entropy,y'}}}\n",
           "loss/y.yaml": GLOBAL + "hydra: {job_logging: {filters: {f: {(): canary.fire}}}}\n"}, CODE),
    attack("sweep typed over files", {"loss/y.yaml": GLOBAL + "hydra: {callbacks: {c: {_target_: canary.fire}}}\n"},
           CODE, "-m", "loss=cross_entropy,y"),
]  # fmt: skip


# ---- what writes, or leaves its place --------------------------------------------------------------------------------
def log_file(name: str) -> str:
    return handler(f"{{class: logging.FileHandler, filename: '{name}', mode: w}}")


PLACES = [
    attack("log file elsewhere", log_file("victim"), TYPED),
    attack("log file by traversal", log_file("${hydra.runtime.output_dir}/../victim"), TYPED),
    attack("log file by its folder", "hydra: {runtime: {output_dir: /}}\n", TYPED),
    attack("log file by its name", "hydra: {job: {name: ../victim}}\n", TYPED),
    attack("config written over", "hydra: {output_subdir: conf}\n", TYPED),
    attack("run folder elsewhere", "hydra: {run: {dir: ../../elsewhere}}\n", TYPED),
    attack("sweep folder elsewhere", "hydra: {sweep: {dir: conf}}\n", TYPED),
    attack("sweep subfolder elsewhere", "hydra: {sweep: {subdir: ../../..}}\n", TYPED),
    attack("environment set", "hydra: {job: {env_set: {LD_PRELOAD: ./evil.so}}}\n", "may not touch the environment"),
    attack("name with a traversal", "name: ../../x\n", "name: expected letters"),
    attack("name that is a path", "name: /tmp/x\n", "name: expected letters"),
    attack("name of dots", "name: ..\n", "name: expected letters"),
    attack("choice with a traversal", {"../secret.yaml": "name: x\n"}, "leads out of its conf folder",
           "model=../../secret"),
    attack("defaults with a traversal", {"experiment/x.yaml": GLOBAL + "defaults: [../../secret]\n",
           "../secret.yaml": "name: x\n"}, "leads out of its conf folder"),
    attack("config name with a traversal", {"../secret.yaml": "name: x\n"}, "leads out of its conf folder",
           "--config-name=../secret"),
]  # fmt: skip

# ---- the environment, and whatever computes --------------------------------------------------------------------------
RESOLVERS = [
    attack(f"resolver {text}", f"name: {text!r}\n", ENVIRONMENT)
    for text in (
        "${oc.env:SECRET}",
        "${ oc.env : SECRET }",
        "${oc.env:SECRET,none}",
        "a${oc.env:SECRET}b",
        "${oc.decode:${oc.env:SECRET}}",
        "${oc.${seed}:SECRET}",
        "${oc.create:{a: 1}}",
        "${oc.select:seed}",
        "${oc.dict.keys:model}",
        "${hydra:job.env_set}",
        "${now:%Y${seed}}",
        "${model.${seed}}",
    )
] + [
    attack("clock in a job", "name: '${now:%Y}'\n", ENVIRONMENT),
    attack("environment in a list", "transforms: {normalize: {mean: ['${oc.env:SECRET}']}}\n", ENVIRONMENT),
    attack("environment in a group", {"model/x.yaml": "name: ${oc.env:SECRET}\n"}, ENVIRONMENT, "model=x"),
    attack("environment in the defaults", "defaults: [override /model: '${oc.env:SECRET}']\n", ENVIRONMENT),
    attack("environment in a folder", "hydra: {run: {dir: '${oc.env:SECRET}'}}\n", ENVIRONMENT),
    attack("environment by env_copy", "hydra: {job: {env_copy: [SECRET]}}\nname: '${hydra.job.env_set.SECRET}'\n",
           ENVIRONMENT),
    attack("environment by a list file", {"experiment/x.yaml": "# @package hydra.job.env_copy\n- SECRET\n"}, "lines"),
]  # fmt: skip

# ---- what grows ------------------------------------------------------------------------------------------------------
BOMBS = [
    attack("aliases in lists", bomb(10, "a{now}: &a{now} [" + "*a{before}, " * 9 + "]\n"), "use fewer aliases"),
    attack("aliases in mappings", "a0: &a0 {x: 1}\n" + "".join(
           f"a{n}: &a{n} {{" + ", ".join(f"k{k}: *a{n - 1}" for k in range(9)) + "}\n" for n in range(1, 10)),
           "use fewer aliases"),
    attack("aliases that go deep", bomb(60, "a{now}: &a{now} [*a{before}]\n"), "nested deeper"),
    attack("alias of itself", "a: &a [*a]\n", "holds itself"),
    attack("merge keys of merge keys", "a0: &a0 {x: 1}\n" + "".join(
           f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10)), "use fewer aliases"),
    attack("10 MB of text", "a: " + "x" * 10_000_000 + "\n", "larger than"),
    attack("10 MB of comment", "#" * 10_000_000, "larger than"),
    attack("many values", "a: [" + "1," * 30_000 + "1]\n", "more than 20,000 values"),
    attack("10,000 levels of lists", "a: " + "[" * 10_000 + "]" * 10_000 + "\n", "nest"),
    attack("10,000 levels of mappings", "a: " + "{a: " * 10_000 + "1" + "}" * 10_000 + "\n", "nested deeper"),
    attack("lines ever further in", "".join(" " * n + "a:\n" for n in range(1_300)), "nested deeper"),
    attack("number in base 60", "a: " + "1:" * 400_000 + "1\n", "in quotes"),
    attack("number of many digits", "a: " + "1" * 900_000 + "\n", "in quotes"),
    attack("references that multiply", "a0: xxxxxxxxxx\n" + "".join(
           f"a{n}: {f'${{a{n - 1}}}' * 9!r}\n" for n in range(1, 12)), "use fewer references"),
    attack("references to lists", "a0: [x]\n" + "".join(
           f"a{n}: [" + f"'${{a{n - 1}}}', " * 9 + "]\n" for n in range(1, 12)), "use fewer references"),
    attack("references in a circle", "a: ${b}\nb: ${c}\nc: ${a}\n", "leads back to itself"),
    attack("reference to its parent", "a: {b: '${a}'}\n", "leads back to itself"),
    attack("references in a long chain", "a0: 1\n" + "".join(f"a{n}: ${{a{n - 1}}}\n" for n in range(1, 1000)[::-1]),
           "write it out"),
    attack("defaults that multiply", {f"loss/x{n}.yaml": f"defaults: [x{n + 1}@a, x{n + 1}@b]\n" if n < 12 else ""
           for n in range(13)}, "name fewer", "loss=x0"),
    attack("defaults in a circle", {"loss/x.yaml": "defaults: [x]\n"}, "name fewer", "loss=x"),
    attack("sweep without end", "hydra: {mode: MULTIRUN, sweeper: {params: {seed: 'range(0,1000000000)'}}}\n",
           "more than 10,000 jobs"),
    attack("sweep of many keys", "hydra: {mode: MULTIRUN, sweeper: {params: {" + ", ".join(
           f"{key}: 'range(1,100)'" for key in ("seed", "epochs", "batch_size", "log_every")) + "}}}\n",
           "more than 10,000 jobs"),
]  # fmt: skip

# ---- what is no plain YAML -------------------------------------------------------------------------------------------
TAGS = [
    attack(f"tag {tag.split()[0]}", f"a: {tag}\n", "makes an object")
    for tag in (
        "!!python/object/apply:os.system ['touch fired']",
        "!!python/object/new:os.system ['touch fired']",
        "!!python/object:canary.fire {}",
        "!!python/name:canary.fire ''",
        "!!python/module:canary ''",
        "!!python/tuple [1, 2]",
        "!!python/object/apply:pathlib.Path [victim]",
        "!!binary aGVsbG8=",
        "!!timestamp 2001-01-01",
        "!!set {a, b}",
        "!canary [1]",
        "! plain",
    )
] + [attack("tag of a key", "!!python/name:canary.fire a: 1\n", "makes an object")]
FORMS = [
    attack("key twice", "epochs: 1\nepochs: 2\n", "here twice"),
    attack("key twice below", "model: {width: 1, width: 2}\n", "here twice"),
    attack("alias as a key", "a: &a epochs\n*a : 1\n", "where a key must"),
    attack("list as a key", "? [a, b]\n: 1\n", "where a key must"),
    attack("two documents", "a: 1\n---\na: 2\n", "second document"),
    attack("a list", "- a\n- b\n", "lines"),
    attack("a text", "just a text\n", "lines"),
    attack("broken YAML", "a: [1, 2\nb: }\n", "is not YAML"),
    attack("a NUL byte", "a: \0\n", "is not YAML"),
    attack("a wrong number", "a: !!int x\n", "plain values only"),
]

# ---- what a person types ---------------------------------------------------------------------------------------------
COMMANDS = [
    attack("typed target", {}, CODE, "+model._target_=canary.fire"),
    attack("typed target in a mapping", {}, CODE, "+model.extra={_target_:canary.fire}"),
    attack("typed target of a sweep", {}, CODE, "-m", "+model._target_=canary.fire,os.system"),
    attack("typed callback", {}, CODE, "+hydra.callbacks.c._target_=canary.fire"),
    attack("typed handler", {}, CODE, "hydra.job_logging.handlers.console.class=canary.fire"),
    attack("typed stream", {}, "is code", "hydra.job_logging.handlers.console.stream=ext://canary.fire"),
    attack("typed launcher", {}, CODE, "hydra.launcher._target_=canary.fire"),
    attack("typed environment", {}, ENVIRONMENT, "name=${oc.env:SECRET}"),
    attack("typed env_copy", {}, "environment", "hydra.job.env_copy=[SECRET]", "name=${hydra.job.env_set.SECRET}"),
    attack("typed name", {}, "name: expected letters", "name=../../x"),
    attack("typed pickle", {}, "loads a pickle", "--experimental-rerun=evil.pickle"),
    attack("typed folder that is not there", {}, "there is no folder", "--config-dir=nowhere"),
]  # fmt: skip

EVERY = [*IN_A_GROUP, *IN_A_JOB, *IN_HYDRA, *PLACES, *RESOLVERS, *TAGS, *FORMS, *COMMANDS]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with a module `canary` that leaves the file `fired` when imported, a secret, and a victim."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "a-secret-value")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary/__init__.py").write_text(CANARY.format(fired=str(tmp_path / "fired")))
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "conf/experiment").mkdir(parents=True)
    return tmp_path


def lay(folder: Path, attack: Attack) -> None:
    for name, text in attack.files.items():
        path = (folder / "conf" / name).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    loss = folder / "conf/loss/x.yaml"
    if attack.name == "callback by package":
        loss.parent.mkdir(exist_ok=True)
        loss.write_text("_target_: canary.fire\n")


def unharmed(folder: Path) -> bool:
    victim = folder / "victim"
    return not (folder / "fired").exists() and victim.exists() and victim.read_text() == "precious"


def refusal(arguments: list[str]) -> str:
    """Return the sentence with which a command line was refused; no folder may have been made."""
    with pytest.raises(ConfigError) as caught:
        check_plan(plan(arguments))
    assert not Path("outputs").exists()
    assert all("\n" not in fault and fault for fault in caught.value.faults)
    return str(caught.value)


@pytest.mark.parametrize("attack", EVERY, ids=[attack.name for attack in EVERY])
def test_a_malicious_config_is_refused(attack: Attack, folder: Path) -> None:
    lay(folder, attack)
    began = time.process_time()
    said = refusal(attack.arguments)
    assert time.process_time() - began < 5  # a hang is longer
    assert attack.says in said
    assert "a-secret-value" not in said
    assert unharmed(folder)


@pytest.mark.parametrize("attack", BOMBS, ids=[attack.name for attack in BOMBS])
def test_a_bomb_costs_neither_time_nor_memory(attack: Attack, folder: Path) -> None:
    lay(folder, attack)
    tracemalloc.start()
    began = time.process_time()
    try:
        said = refusal(attack.arguments)
        seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert attack.says in said
    assert seconds < 10  # tracemalloc slows it some five times; a hang is longer
    assert peak < 200_000_000


def test_there_are_enough_of_them() -> None:
    names = [attack.name for attack in (*EVERY, *BOMBS)]
    assert len(set(names)) == len(names) >= 60


# ---- links, checkpoints, and the ways to start -----------------------------------------------------------------------
@pytest.mark.parametrize("link", ["file", "folder", "device"])
def test_a_link_that_leads_out_of_conf_is_refused(link: str, folder: Path) -> None:
    outside = folder / "outside/x.yaml"
    outside.parent.mkdir()
    outside.write_text("name: small_cnn\n")
    if link == "folder":
        (folder / "conf/model").symlink_to(outside.parent)
    else:
        (folder / "conf/model").mkdir()
        (folder / "conf/model/x.yaml").symlink_to(outside if link == "file" else "/dev/zero")
    said = refusal(["model=x"])
    assert "leads out of its conf folder" in said or (link == "device" and "no choice 'x'" in said)


def test_a_link_within_conf_is_followed(folder: Path) -> None:
    (folder / "conf/model").mkdir()
    (folder / "conf/model/y.yaml").write_text("name: small_cnn\n")
    (folder / "conf/model/x.yaml").symlink_to("y.yaml")
    assert plain(compose_one(["model=x"]))["model"]["name"] == "small_cnn"


def test_a_checkpoint_that_is_none_is_not_read(folder: Path, small_config: Callable[..., Config]) -> None:
    (folder / "conf/experiment/x.yaml").write_text(GLOBAL + "checkpoint: {resume: ../../victim}\n")
    (folder / "deep/er").mkdir(parents=True)
    os.chdir(folder / "deep/er")  # pytest's monkeypatch takes us back
    config = small_config(f"hydra.searchpath=[file://{folder}/conf]", "experiment=x", "model.width=4")
    with pytest.raises(ConfigError, match="victim"):
        build(config)
    assert not (folder / "outputs").exists()


def name_of(attacks: list[Attack], name: str) -> Attack:
    return next(attack for attack in attacks if attack.name == name)


@pytest.mark.parametrize(
    "flags",
    [["-m"], ["--cfg=job"], ["--cfg=all", "--resolve"], ["--info=all"], ["--help"]],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["callback", "handler factory", "searchpath"])
def test_no_way_to_start_goes_round_the_guard(name: str, flags: list[str], folder: Path) -> None:
    lay(folder, name_of(IN_HYDRA, name))
    assert name_of(IN_HYDRA, name).says in refusal(["experiment=x", *flags])
    assert unharmed(folder)


def test_help_of_hydra_is_guarded(folder: Path) -> None:
    (folder / "conf/hydra/hydra_logging").mkdir(parents=True)
    (folder / "conf/hydra/hydra_logging/x.yaml").write_text("version: 1\nfilters: {f: {(): canary.fire}}\nroot: {}\n")
    assert CODE in refusal(["--hydra-help", "hydra/hydra_logging=x"])
    assert unharmed(folder)


def test_completion_is_guarded(folder: Path) -> None:
    (folder / "conf/config.yaml").write_text("hydra: {searchpath: [pkg://canary]}\n")
    assert complete_override([], "model=") == [], "nothing is offered beside a config that is refused"
    assert unharmed(folder)


@pytest.mark.parametrize("arguments", [["--cfg=job", "-m"], ["--resolve"], ["--info=all", "--cfg=job"]], ids=" ".join)
def test_flags_that_exclude_each_other_are_named(arguments: list[str], folder: Path) -> None:
    assert "--" in refusal(arguments)


# ---- the same in processes of their own, and what they would do without a guard --------------------------------------
UNGUARDED = """
import sys
from hydra.core.plugins import Plugins
from hydra.main import main
from expkit.config.conf_folder import conf_folder
from expkit.config.hydra_loader import OwnConf
Plugins.instance().register(OwnConf)
sys.argv.append("hydra/launcher=basic")
main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(lambda config: None)()
"""


def python(folder: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path[:2], str(Path(__file__).parents[2])])},
    )  # fmt: skip


DANGEROUS = [
    "callback",
    "callback that deletes",
    "handler factory",
    "handler that reads ext",
    "searchpath of a shadowed config",
    "overrides of Hydra",
    "sweep over Hydra's node",
    "log file elsewhere",
]


@pytest.mark.parametrize("name", DANGEROUS)
def test_without_the_guard_it_would_have_run(name: str, folder: Path) -> None:
    lay(folder, one := name_of([*IN_HYDRA, *PLACES], name))
    python(folder, "-c", UNGUARDED, *one.arguments)
    assert not unharmed(folder)


def test_without_the_guard_it_would_hang(folder: Path) -> None:
    lay(folder, one := name_of(BOMBS, "aliases in lists"))
    with pytest.raises(subprocess.TimeoutExpired):  # 0.6 s are enough for an honest config
        python(folder, "-c", UNGUARDED, *one.arguments, timeout=2)


@pytest.mark.parametrize(
    "name",
    ["callback", "handler factory", "target in model", "aliases in lists", "10 MB of text"],
)
def test_the_command_ends_with_2_and_one_sentence(name: str, folder: Path) -> None:
    lay(folder, one := name_of([*EVERY, *BOMBS], name))
    done = python(folder, "-m", "expkit.run", *one.arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert one.says in done.stderr
    assert unharmed(folder)
    assert not (folder / "outputs").exists()


UNFORESEEN = """
import sys
from expkit.config import command_line as config
from expkit.config.hydra_app import run_by_hydra
config.plan_jobs = lambda *anything: config.Plan()  # as under a sweeper that chooses its jobs one after the other
run_by_hydra(config.plan(sys.argv[1:]), print)
"""


def test_a_job_that_nobody_foresaw_is_guarded_when_it_starts(folder: Path) -> None:
    lay(folder, one := name_of(IN_HYDRA, "sweep over files"))
    done = python(folder, "-c", UNFORESEEN, "hydra/launcher=basic", *one.arguments)
    assert done.returncode != 0
    assert done.stderr.count(one.says) == 1
    assert unharmed(folder)


# ---- honest configs --------------------------------------------------------------------------------------------------
HONEST = [
    attack("nothing", {}, "", "epochs=3"),
    attack("no experiment", {}, "", "~experiment"),
    attack("our experiment", {}, "", "experiment=debug"),
    attack("anchors", "e: &e {width: 8}\nmodel: {<<: *e, dropout: 0.1}\n", "", "experiment=x", "~e"),
    attack("references", "epochs: ${seed}\nseed: 3\nmodel: {width: '${batch_size}'}\n", ""),
    attack("a relative reference", {"model/x.yaml": "name: small_cnn\nwidth: 8\ndepth: ${.width}\n"}, "", "model=x"),
    attack("output_dir in a file", "output_dir: /scratch/runs\n", ""),
    attack("a core tag", "name: !!str 12\n", ""),
    attack("a long list", {"sampler/x.yaml": "name: subset\nindices: [" + "1, " * 3_000 + "]\n"}, "", "sampler=x"),
    attack("an empty file", {"experiment/x.yaml": "# nothing yet\n"}, ""),
    attack("an own experiment", "defaults: [override /model: squeezenet, override /hydra/job_logging: stdout]\n", ""),
    attack("own help", "hydra: {help: {header: 'My words, ${hydra.job.name}'}}\n", ""),
    attack("own log levels", "hydra: {job_logging: {root: {level: DEBUG}}, verbose: [expkit]}\n", ""),
    attack("a log by rich", {"hydra/job_logging/x.yaml":
           "version: 1\nhandlers: {h: {class: rich.logging.RichHandler}}\n"}, "", "hydra/job_logging=x"),
    attack("a log in colours", {"hydra/job_logging/x.yaml":
           "version: 1\nformatters: {c: {(): colorlog.ColoredFormatter}}\n"}, "", "hydra/job_logging=x"),
    attack("a callback of Hydra", "hydra: {callbacks: {c: {_target_: hydra.experimental.callbacks."
           "LogJobReturnCallback}}}\n", ""),
    attack("Slurm", {"hydra/launcher/x.yaml": SLURM + "partition: gpu\ntimeout_min: 60\n"}, "", "hydra/launcher=x"),
    attack("a search", {"hydra/sweeper/x.yaml": SEARCH + "n_trials: 20\nsampler: random\npruner: none\n"
           "params: {optimizer.lr: 'interval(0.001, 0.1)'}\n"}, "", "hydra/sweeper=x"),
    attack("typed launcher", {}, "", "hydra/launcher=basic"),
    attack("typed folders", {}, "", "hydra.run.dir=/tmp/there", "hydra.output_subdir=here", "hydra.job.name=mine"),
    attack("typed log file", {}, "", "hydra.job_logging.handlers.file.filename=my.log"),
    attack("typed launcher's text", {"hydra/launcher/x.yaml": SLURM}, "", "hydra/launcher=x",
           "+hydra.launcher.setup=[module load cuda]"),
    attack("typed search path", {"../more/model/x.yaml": "name: small_cnn\n"}, "", "hydra.searchpath=[file://more]",
           "model=x"),
]  # fmt: skip


@pytest.mark.parametrize("honest", HONEST, ids=[honest.name for honest in HONEST])
def test_an_honest_config_composes(honest: Attack, folder: Path) -> None:
    lay(folder, honest)
    assert plain(compose_one(honest.arguments))["model"]["name"]


LAUNCH = """
import sys
from expkit.config.command_line import plan
from expkit.config.hydra_app import run_by_hydra
planned = plan(sys.argv[1:])
for job in planned.jobs:
    print("planned", job.config["seed"])
if planned.for_hydra:
    run_by_hydra(planned, lambda config, given: print("ran", config["seed"]))
"""


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["-m", "seed=3,4", "hydra/launcher=basic"], ["planned 3", "planned 4", "ran 3", "ran 4"]),
        (["experiment=x"], ["planned 5", "planned 6"]),  # a sweep that the file describes
        (["--config-dir=more dir", "+extra=x", "hydra.searchpath=[file://other]", "+other=x"], ["planned 7"]),
        (["--config-path=more dir", "--config-name=main"], ["planned 8"]),
        (["hydra.output_subdir=here", "seed=3"], ["planned 3", "ran 3"]),
        (["--cfg=job", "seed=3"], ["seed: 3"]),
        (["--help", "seed=3"], ["seed: 3"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_an_honest_command_line_runs(arguments: list[str], printed: list[str], folder: Path) -> None:
    texts = {
        "conf/experiment/x.yaml": GLOBAL + "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '5,6'}}}\n",
        "more dir/extra/x.yaml": GLOBAL + "seed: 7\n",
        "more dir/main.yaml": "seed: 8\nhydra: {run: {dir: .}, output_subdir: null}\n",
        "other/other/x.yaml": GLOBAL + "epochs: 9\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = python(folder, "-c", LAUNCH, *arguments)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.split(" ")[0] in ("planned", "ran", "seed:")]
    assert lines == printed
