"""What the tables of remedies share: a row makes a mistake, says what is printed, and then follows it."""

import re
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from expkit.cli import run
from expkit.config.command_line import plan
from expkit.config.compose import Place, compose_one, plain
from expkit.config.conf_folder import conf_folder
from expkit.config.hydra_loader import guarded
from expkit.config.hydra_settings import refuse_unheeded
from expkit.config.listing import show
from expkit.config.plan import plan_jobs
from expkit.config.texts import as_meant
from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.records.environment import data_facts
from expkit.runs.build import build
from expkit.runs.check import check, check_plan
from expkit.runs.resume import find_origin
from expkit.runs.session import _data_changes

_SMALL = {
    "dataset.size": "32", "dataset.train_images": "40", "dataset.val_images": "10", "epochs": "2", "model.width": "4",
    "batch_size": "8", "logger": "none", "dataset.num_workers": "0",
}  # fmt: skip


def key_of(word: str) -> str:
    """Return the key of an override."""
    return word.lstrip("+~").partition("=")[0]


def small(words: Sequence[str]) -> list[str]:
    """Return a command line with what makes its run small, where it says nothing else."""
    chosen = {key_of(word) for word in words}
    if "checkpoint.resume" in chosen:  # then its config is the run's
        return [*words]
    taken = {group for group in ("dataset", "model") if group in chosen}
    common = [f"{key}={value}" for key, value in _SMALL.items() if key not in chosen]
    return [*(word for word in common if key_of(word).partition(".")[0] not in taken), *words]


def fault_of(words: Sequence[str], is_small: bool = True) -> str:
    """Return what is wrong with a command line, "" for nothing; nothing is written. Goes on from checkpoints too."""
    try:
        config = plain(compose_one(small(words) if is_small else [*words]))
        refuse_unheeded(words, is_sweep=False, is_ours=False)
        check(config)
        origin = find_origin(config)
        try:
            job = build(config, origin)
            job.close()
            _data_changes(job, data_facts(load(config["dataset"])))
        finally:
            origin.release()
    except ConfigError as error:
        return "\n".join(error.faults)
    return ""


@cache
def fault_of_line(*words: str, is_quick: bool = False) -> str:
    """Return what is wrong with a whole command line of expkit.run, flags and sweeps too; no job is run.

    is_quick: the jobs of a sweep are not composed and checked.
    """
    try:
        if words[:1] == ("--list",):
            show(words[1:], conf_folder())
        elif is_quick and words[:1] == ("-m",):
            with guarded():
                plan_jobs(as_meant([*words[1:]], several=True), True, Place())
            refuse_unheeded(words, is_sweep=True, is_ours=True)
        else:
            check_plan(plan(words, run.parser()))
    except ConfigError as error:
        return "\n".join(error.faults)
    except SystemExit as end:
        return str(end.code or "")
    return ""


def says(message: str, said: str) -> bool:
    """Say whether a message holds a sentence, in which {} stands for whatever is put in there."""
    pattern = ".*?".join(map(re.escape, said.split("{}")))
    return re.search(pattern, message, re.S) is not None


def hands_on(message: str, typed: Sequence[str], then: Sequence[str]) -> None:
    """Assert that a message names what is then typed and was not before, or what is taken back."""
    new = [word for word in then if word not in typed] or [word for word in typed if word not in then]
    names = [key_of(word).rpartition(".")[2] for word in new]
    assert "KEY=VALUE" in message or any(name in message for name in names), (new, message)


def words_of(line: str, **places: Path | str) -> list[str]:
    """Return the words of a line as a shell makes them. places: what stands for NAME in it."""
    for name, place in places.items():
        line = line.replace(name, shlex.quote(str(place)))
    return shlex.split(line)
