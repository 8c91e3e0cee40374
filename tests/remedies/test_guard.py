"""Every option, flag, choice and command that a text of the source tells is there: a renamed one leaves no advice."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from hydra.conf import HydraConf

import expkit
from expkit.cli.commands import COMMANDS, module_of
from expkit.config import hydra_flags
from expkit.config.conf_folder import conf_folder
from expkit.config.registry import GROUPS

SOURCE = Path(expkit.__file__).parent
# Options of other programs, and placeholders for whatever the user chooses.
EXEMPT_FOLDERS = ("config/redaction", "cli/new_project/templates")  # patterns of foreign commands; a user's own words
EXEMPT = {
    "--logdir": "a flag of TensorBoard", "--backend-store-uri": "a flag of MLflow", "--shm-size": "a flag of Docker",
    "--no-build-isolation": "a flag of pip", "key=": "a key in place of the user's, while a value is parsed",
    "charset=": "a part of an HTTP header", "dataset.KEY=": "any key", "dataset=CHOICE": "any choice",
    "install=": "a word of --shell-completion", "uninstall=": "a word of --shell-completion",
    "dataset=patterns": "a choice of a new project",
    "model=pattern_net": "a choice of a new project", "style=": "an attribute of HTML",
}  # fmt: skip
HOLE = "\0"  # stands for what an f-string puts in
OVERRIDE = re.compile(r"(?<![\w.:/\0${-])[+~]{0,2}([a-z]\w*(?:[./]\w+)*)=(?!\")([\w.]*)")
OPTION = re.compile(rf"(?<![\w./\0${{-])((?:{'|'.join(GROUPS)})\.[a-z]\w*(?:\.\w+)*)(?![\w(/=]|\.\w|\0)")
FLAG = re.compile(r"(?<![\w\0-])(--[a-z][\w-]*\w)(?![\w(-]|\0)")
COMMAND = re.compile(r"(?:python -m |`)expkit ([a-z][\w-]*)([^`;]*)")
MODULE = re.compile(r"python -m (expkit\.\w+)")


def told_in(code: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each literal that is no docstring; \0 stands for what an f-string puts in."""
    nodes = list(ast.walk(ast.parse(code)))
    passed = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            parts = [str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.lineno, node.value


@cache
def flags_of(command: str) -> frozenset[str]:
    """Return the flags of a command: its parser's, and Hydra's where the rest of its words are overrides."""
    parser = module_of(command).parser()
    more = hydra_flags.hydra_parser().flags if parser.takes_overrides else {}
    return frozenset({*parser.flags, *more, "--help"})


def keys_in(node: Any, path: str = "") -> set[str]:
    """Return the paths of all keys in a tree of mappings."""
    if not isinstance(node, dict):
        return set()
    return {f"{path}{key}" for key in node} | {deep for key in node for deep in keys_in(node[key], f"{path}{key}.")}


@cache
def options_of(group: str) -> frozenset[str]:
    """Return what may follow `group.`: options of its words, keys of its files, and words that stand side by side."""
    own = GROUPS[group]
    found = {"name", *own.options_of_all()} | {option for name in own.names() for option in _of_each(own, name)}
    for file in (conf_folder() / group).glob("*.yaml"):
        found |= keys_in(yaml.safe_load(file.read_text()))
    return frozenset(found)


def _of_each(group: Any, name: str) -> set[str]:
    return {f"{name}.{option}" for option in group.options(name)} | {name}


@cache
def top_keys() -> frozenset[str]:
    return frozenset(yaml.safe_load((conf_folder() / "config.yaml").read_text())) | set(GROUPS) | {"experiment"}


def is_of_hydra(path: str) -> bool:
    """Say whether Hydra's own node has a key; below what a plugin brings, anything goes."""
    known: Any = HydraConf
    for word in path.split(".")[1:]:
        if not is_dataclass(known):
            return True
        if word not in {field.name for field in fields(known)}:
            return False
        known = get_type_hints(known).get(word)
    return True


def fault_of_override(key: str, value: str) -> str:
    """Say what is wrong with an override, "" for nothing; of a group, its choice too."""
    group, _, option = key.partition(".")
    if group == "hydra" or group.startswith("hydra/"):
        return "" if is_of_hydra(key) else "Hydra has no such key"
    if option:
        known = options_of(group) if group in GROUPS else frozenset()
        return "" if option in known else f"{group} has no such option"
    if group not in top_keys():
        return "the config has no such key"
    if group not in GROUPS or not re.fullmatch(r"[a-z]\w*", value):
        return ""
    return "" if (conf_folder() / group / f"{value}.yaml").is_file() else f"{group} has no such choice"


def faults_of(text: str) -> Iterator[str]:
    """Yield what a text tells that is not there."""
    for key, value in OVERRIDE.findall(text):
        if not {f"{key}=", f"{key}={value}"} & EXEMPT.keys() and (fault := fault_of_override(key, value)):
            yield f"{key}={value}: {fault}"
    if " " in text or HOLE in text:  # else it may be a name within the program
        for path in OPTION.findall(text):
            if fault := fault_of_override(path, ""):
                yield f"{path}: {fault}"
        every = frozenset().union(*map(flags_of, COMMANDS))
        yield from (f"{flag}: no command has it" for flag in FLAG.findall(text) if flag not in every | EXEMPT.keys())
    for name, rest in COMMAND.findall(text):
        if name not in COMMANDS:
            yield f"expkit {name}: there is no such command"
        else:
            yield from (f"{name} has no {flag}" for flag in FLAG.findall(rest) if flag not in flags_of(name))
    yield from (f"{name}: there is no such module" for name in MODULE.findall(text) if not find_spec(name))


@pytest.fixture(scope="module")
def told() -> list[tuple[str, str]]:
    """Every text of the source, each with its place."""
    files = {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}
    read = {name: path.read_text("utf-8") for name, path in files.items() if not name.startswith(EXEMPT_FOLDERS)}
    return [(f"{name}:{line}", text) for name, code in read.items() for line, text in told_in(code)]


def test_what_the_source_tells_is_there(told: list[tuple[str, str]]) -> None:
    found = [f"{place}: {fault}" for place, text in told for fault in faults_of(text)]
    assert not found, "\n".join(found)


def test_no_exemption_is_left_over(told: list[tuple[str, str]]) -> None:
    assert [word for word in EXEMPT if not any(word in text for _, text in told)] == []


WRONG = [
    ("set dataset.val_rooot=DIR", "dataset.val_rooot=DIR: dataset has no such option"),
    ("fewer dataset.workers", "dataset.workers: dataset has no such option"),
    ("use +modell.width=4", "modell.width=4: modell has no such option"),
    ("lower batchsize=8", "batchsize=8: the config has no such key"),
    ("take device=tpu", "device=tpu: device has no such choice"),
    ("give hydra.sweep.folder=…", "hydra.sweep.folder=: Hydra has no such key"),
    ("add --anew", "--anew: no command has it"),
    ("python -m expkit docter finds it", "expkit docter: there is no such command"),
    ("see `expkit report RUN --html x`", "report has no --html"),
    ("python -m expkit.evaluator", "expkit.evaluator: there is no such module"),
]


@pytest.mark.parametrize(("text", "fault"), WRONG)
def test_what_is_not_there_is_found(text: str, fault: str) -> None:
    assert list(faults_of(text)) == [fault]


def test_docstrings_are_left_out_and_f_strings_are_read() -> None:
    code = '"""Sets a.b=1."""\nraise Error(f"{path}: set model.widht={width}, or {f\'add --anew\'}")\n'
    assert [fault for _, text in told_in(code) for fault in faults_of(text)] == [
        "model.widht=: model has no such option", "--anew: no command has it",
    ]  # fmt: skip
