"""expkit reproduce: runs a shared record again, and says what differs here and in the result."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from expkit.cli.arguments import plugin_option
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.errors import ConfigError, nearest
from expkit.core.formatting import count_noun
from expkit.core.process import importing, mistakes_reported, refuse_torchrun
from expkit.core.user_folders import expanded

Config = dict[str, Any]

# Beside what affects the speed or a place; device.* shows among the differences.
_ALSO = ("name", "output_dir", "checkpoint.resume", "checkpoint.init_from")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with mistakes_reported():
        asked = parser().parse_intermixed_args(given)
        refuse_torchrun()
        if asked.steps is not None and asked.steps < 1:
            raise ConfigError(f"--steps: expected an integer from 1 up, got {asked.steps}")
        _run(asked, shlex.join(["python", "-m", "expkit", "reproduce", *given]))


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("reproduce", "Prints what differs here, runs the config again, and leaves a record.")
    add = made.add_argument
    add("record", metavar="RECORD", help="run folder, .zip, or record.yaml")
    keys = "paths of the data and how they are read, e.g. dataset.root=FOLDER device=cpu"
    add("overrides", nargs="*", metavar="KEY=VALUE", help=keys)
    add(
        "--verify",
        action="store_true",
        help="compare each logged point: identical, equal to 1e-6, or differs from step N",
    )
    add("--steps", type=int, metavar="N", help="run only the first N steps")
    kinds = "run although this differs: code, packages, hardware, data, edited or all; may be repeated"
    add("--allow", action="append", default=[], metavar="KIND", help=kinds)
    add("--dry", action="store_true", help="print what differs here, and run nothing")
    add("--check", action="store_true", help="name every file of the record that was edited")
    single = "write the record as one file: .zip (all but checkpoints and log) or .yaml (config, expectations)"
    add("--export", metavar="FILE", help=f"{single}; secrets in source code are filtered by pattern: read it first")
    plugin_option(made)
    return made


def _run(asked: argparse.Namespace, command: str) -> None:
    from expkit.config.plugins import load_plugins

    place = expanded(asked.record)
    if asked.check:
        sys.exit(_check(place))
    if asked.export:
        target = expanded(asked.export)
        from expkit.records.export import export, export_summary, left_out_sources

        print(export_summary(target, *export(place, target), left_out_sources(place)))
        return
    load_plugins(asked.plugin)
    _reproduce(place, asked, command)


def _check(place: Path) -> int:
    from expkit.records.integrity import check_record

    faults, notes = check_record(place)
    for sentence in [*faults, *(f"note: {note}" for note in notes)]:
        print(sentence)
    changed = count_noun(len(faults), "file is", "files are")
    print(f"{place}: {f'{changed} not as the run wrote them' if faults else 'as its run wrote it'}")
    return 1 if faults else 0


def _reproduce(place: Path, asked: argparse.Namespace, command: str) -> None:
    with importing():
        from expkit.records.compatibility import missing_plugins
        from expkit.records.shared_record import read_record
        from expkit.runs.check import check
        from expkit.runs.train import train

    allowed = _allowed(asked.allow)
    record = read_record(place)
    config = prepared_config(record, asked.overrides)
    try:
        check(config)
    except ConfigError as error:
        raise ConfigError(*error.faults, *missing_plugins(record)) from error
    _compare_places(place, record, config, allowed)
    if asked.dry:
        return
    last_step = _last_step(record.points, asked.steps)
    folder = train(config, asked.overrides, command, last_step)
    if asked.verify:
        sys.exit(_verify(record, read_record(folder), last_step))


def prepared_config(record: Any, overrides: Sequence[str]) -> Config:
    """Return a record's config for this machine: its paths found, the threads of the record, no loggers.

    record: a Shared; overrides: KEY=VALUE of the user. Raises ConfigError for a path that is not known here.
    """
    import copy

    from expkit.config.confined import confined
    from expkit.records import data_locations

    config: Config = copy.deepcopy(record.config)
    faults = [f"config: {record.place} has no mapping '{name}'" for name in ("dataset", "device", "checkpoint")
              if not isinstance(config.get(name), dict)]  # fmt: skip
    if faults:
        raise ConfigError(*faults)
    # The output folder of someone else's run is not ours to write to.
    config |= {"logger": {}, "output_dir": "outputs"}
    if config["checkpoint"].get("resume"):  # it would write into that run's folder
        config["checkpoint"]["resume"] = None
    known = data_locations.recall(record.data)
    for key in data_locations.missing(config):
        if key in known and Path(known[key]).exists():
            _set(config, key, known[key])
    config["dataset"], notes = confined(config["dataset"], [one.split("=")[0].split(".")[-1] for one in overrides])
    print(*notes, sep="\n", end="\n" * bool(notes))
    config["device"] |= {"trust_network": False} if "trust_network" in config["device"] else {}
    for override in overrides:
        _override(config, override)
    config["device"] = _device(config["device"], overrides)
    if lost := data_locations.missing(config):
        raise ConfigError(*(f"{key}: lay outside the folders of who ran it; give {key}=PATH" for key in lost))
    if threads := record.environment.get("threads"):
        config["device"]["threads"] = threads
    return config


def _override(config: Config, override: str) -> None:
    from expkit.config.diff import flatten
    from expkit.config.yaml_safety import parse_value

    key, equals, text = override.partition("=")
    key = "device.name" if key == "device" else key
    if not equals or not _may_be_set(key, config):
        free = [known for known in flatten(config) if _may_be_set(known, config)]
        hint = nearest(key, free)
        raise ConfigError(f"{key}: would make another run of it, or is no key; reproduce takes {', '.join(free)}{hint}")
    is_number = key.endswith(("num_workers", "prefetch", "timeout", "index", "count", "indices"))
    _set(config, key, parse_value(text, key) if is_number else text)


def _may_be_set(key: str, config: Config) -> bool:
    """Return True for a key that may have another value without it being another run."""
    from expkit.config.diff import affects
    from expkit.records import data_locations

    is_option = "." in key or key in config
    free = is_option and affects(key, config).what in ("speed", "place")
    return free or key in _ALSO or key in data_locations.missing(config)


def _set(config: Config, key: str, value: Any) -> None:
    node = config
    *groups, name = key.split(".")
    for group in groups:
        node = node[group]
    node[name] = None if value == "null" else value


def _device(node: Config, overrides: Sequence[str]) -> Config:
    """Return a device's node without what only the device of the record has. Raises ConfigError for several machines.

    Of what was typed nothing is left out: the check names what does not fit.
    """
    typed = {one.partition("=")[0].removeprefix("device.") for one in overrides if one.startswith("device")}
    if node.get("name") == "multi_node" and node.get("nodes") != 1:
        raise ConfigError(
            "device.name: the run was one of several machines, and reproduce uses this one;"
            " add device=multi_gpu, multi_cpu, gpu or cpu, and --allow hardware"
        )
    if not typed & {"device", "name"} or not isinstance(node.get("name"), str):
        return node
    return {key: value for key, value in node.items() if key in {"name", *typed} or _fits(node["name"], key, value)}


def _fits(device: str, key: str, value: Any) -> bool:
    from expkit.config.registry import devices
    from expkit.config.signature import Misfit, fit

    options = devices.options(device)
    if key not in options:
        return False
    try:
        fit(options[key].annotation, value)
    except Misfit:
        return False
    return True


def _allowed(given: Sequence[str]) -> set[str]:
    from expkit.records.compatibility import KINDS

    known = (*KINDS, "edited")
    allowed = {kind for some in given for kind in some.split(",")}
    if wrong := sorted(allowed - {*known, "all"}):
        raise ConfigError(f"--allow: takes {', '.join(known)} or all, got '{wrong[0]}'{nearest(wrong[0], known)}")
    return {*known} if "all" in allowed else allowed


def _compare_places(place: Path, record: Any, config: Config, allowed: set[str]) -> None:
    """Print what differs here. Raises ConfigError for what may change the result and is not allowed."""
    from expkit.data.datasets import load
    from expkit.records.compatibility import Mismatch, data_mismatches, find_mismatches
    from expkit.records.environment import data_facts, environment_facts
    from expkit.records.integrity import check_record

    found = find_mismatches(record, environment_facts(config), config["device"])
    found += data_mismatches(record, *data_facts(load(config["dataset"])))
    edited, _ = check_record(place)
    _show(found)
    by_kind: dict[str, list[Mismatch]] = {}
    for one in found:
        if one.breaks:
            by_kind.setdefault(one.kind, []).append(one)
    refused = [
        f"{kind}: {some[0].what} differs ({some[0].theirs} there, {some[0].here} here)"
        + (f" and {len(some) - 1} more" if len(some) > 1 else "")
        + f", so the result may differ; --allow {kind} runs it all the same"
        for kind, some in by_kind.items() if kind not in allowed
    ]  # fmt: skip
    by_hand = place.suffix in (".yaml", ".yml") and any("has no digest" in fault for fault in edited)
    if edited and not by_hand and "edited" not in allowed:
        refused += [f"edited: {fault}; --allow edited runs it all the same" for fault in edited]
    if refused:
        raise ConfigError(*refused)


def _show(found: Sequence[Any]) -> None:
    from rich.table import Table

    from expkit.core.terminal import Console

    console = Console(highlight=False)
    if not found:
        console.print("nothing differs here: code, packages, hardware and data are those of the record")
        return
    table = Table("what", "in the record", "here", "may change the result", title="differs here")
    for one in found:
        table.add_row(f"{one.kind}: {one.what}", one.theirs, one.here, "yes" if one.breaks else "no")
    console.print(table)


def _last_step(points: Sequence[Mapping[str, Any]], steps: int | None) -> int | None:
    """Return where to end: at the record's first point from `steps` on, so that there is something to compare."""
    if steps is None:
        return None
    return min((point["step"] for point in points if point["step"] >= steps), default=steps)


def _verify(record: Any, ours: Any, last_step: int | None) -> int:
    from expkit.records.replication import compare, with_weights

    verdict = compare(record.points, ours.points, last_step)
    if last_step is None:
        verdict = with_weights(verdict, record.result, ours.result)
    print(f"{record.name}: {verdict.text}")
    return 0 if verdict.holds else 1
