"""What differs between two configs, and what each key affects: the result, the speed, a path, or what is shown."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from expkit.config.registry import GROUPS
from expkit.config.run_options import RunOptions
from expkit.config.signature import OUTPUT, RESULT, Affects, Option, options_of

Kind = Literal["free", "forced", "never"]
_NO_OPTIONS = ("experiment", "hydra")  # they choose other keys


class Difference(NamedTuple):
    """A key of the config and its values in both; kind: whether a resumed run may have the other value."""

    key: str
    theirs: Any
    ours: Any
    affects: Affects
    kind: Kind

    def __str__(self) -> str:
        return f"{self.key}: {self.theirs!r} -> {self.ours!r}"


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], within_epoch: bool = False) -> list[Difference]:
    """Return what differs, key by key; within_epoch: whether the checkpoint is from within an epoch."""
    old, new = flatten(theirs), flatten(ours)
    for key in old.keys() ^ new.keys():
        option = _option(key, ours, theirs)
        is_whole = option is not None and not option.required and key.endswith(option.name)
        if option and is_whole and affects(key, ours, theirs).what == "result":
            old.setdefault(key, option.default)  # a config that does not list it computes like this
            new.setdefault(key, option.default)
    found = []
    for key in sorted(key for key in {**old, **new} if old.get(key) != new.get(key)):
        what = affects(key, ours, theirs)
        kind: Kind = what.on_resume if what.on_resume != "epoch_end" else "never" if within_epoch else "forced"
        if not _is_the_other_devices(key, kind, theirs, ours):
            found.append(Difference(key, old.get(key), new.get(key), what, kind))
    return found


def affects(key: str, *configs: Mapping[str, Any]) -> Affects:
    """Return what a key affects. configs: those that may hold it, for the registered name of its group."""
    group, _, rest = key.partition(".")
    option = _option(key, *configs)
    if group not in GROUPS:
        return (option and option.affects) or (OUTPUT if group in _NO_OPTIONS else RESULT)
    registry = GROUPS[group]
    return registry.known.get(rest or "name") or (option and option.affects) or registry.affects


def flatten(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return a config as dotted key -> value, e.g. optimizer.lr -> 0.1; a list or an empty mapping is one value."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        found |= flatten(value, below) if isinstance(value, Mapping) and value else {below: value}
    return found


def _option(key: str, *configs: Mapping[str, Any]) -> Option | None:
    """Return the option that a key sets, by the first of the configs that has it, or None."""
    group, _, option = key.partition(".")
    if group not in GROUPS:
        return options_of(RunOptions).get(key)
    nodes = [config.get(group) for config in configs]
    names = dict.fromkeys(str(node.get("name")) for node in nodes if isinstance(node, Mapping))
    return next(filter(None, (GROUPS[group].find_option(name, option.partition(".")[0]) for name in names)), None)


def _is_the_other_devices(key: str, kind: Kind, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Return True for a free option that the other config's device lacks: the device's name says it."""
    group, _, option = key.partition(".")
    devices = [node if isinstance(node := config.get("device"), Mapping) else {} for config in (theirs, ours)]
    is_one_sided = group == "device" and not all(option in device for device in devices)
    return is_one_sided and option not in ("name", "count") and kind == "free"
