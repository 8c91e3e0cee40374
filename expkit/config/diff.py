"""What differs between the config of a checkpoint and the one that is to go on from it, and whether it may."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Kind = Literal["free", "forced", "never"]

# What changes no step that both runs do: how images are read, what is shown and kept, where the run ends. Paths are
# free so that data may have moved; the number of samples and the classes are compared apart from the config.
_FREE = (
    "name", "output_dir", "epochs", "max_steps", "log_every", "logger", "watch", "checkpoint", "experiment",
    "dataset.num_workers", "dataset.prefetch", "dataset.start_method", "dataset.timeout", "dataset.cache",
    "dataset.cache_dir", "dataset.decoder", "dataset.root", "dataset.val_root", "dataset.max_bad",
    "dataset.deep_range",  # what it comes to is compared instead
    "loss.teacher",  # its weights are compared instead
    "device.keep_memory", "device.compile",
    # Ranks have each a part of the same batches: the sums' order differs, and their draws of dropout.
    "device.name", "device.index", "device.indices", "device.count", "device.nodes", "device.endpoint", "device.run_id",
    "device.timeout", "device.max_restarts", "device.strategy", "device.devices", "device.table",
    "device.unused_parameters",
)  # fmt: skip
# What a config that does not list the key computes like.
_AS_IF = {
    "device.sync_batchnorm": True,
    "device.deterministic": False,
    "device.micro_batch": None,
    "dataset.deep_range": "auto",
}
_FREE_NO_MORE = ("checkpoint.monitor",)  # it says when early stopping ends the run, and which checkpoint is best
_NEVER = ("model.name", "optimizer.name")  # the state is that of another thing
_OF_POSITION = ("batch_size", "accumulate_steps", "limit_train_batches", "dataset.drop_last")  # within an epoch


class Difference(NamedTuple):
    """A key of the config, its value in the checkpoint and now; kind: may change, asks for force, or may not."""

    key: str
    theirs: Any
    ours: Any
    kind: Kind

    def __str__(self) -> str:
        return f"{self.key}: {self.theirs!r} -> {self.ours!r}"


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], within_epoch: bool = False) -> list[Difference]:
    """Return what differs, key by key; within_epoch: whether the checkpoint stands in the midst of an epoch."""
    old, new = flatten(theirs), flatten(ours)
    for key, value in _AS_IF.items():
        if key in {**old, **new}:
            old.setdefault(key, value)
            new.setdefault(key, value)
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    told = [key for key in sorted(changed) if not _is_the_other_devices(key, old, new)]
    return [Difference(key, old.get(key), new.get(key), _kind(key, within_epoch)) for key in told]


def _is_the_other_devices(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether a free option is one that the device on the other side has not: the device's name tells it."""
    is_one_sided = key.startswith("device.") and (key not in old or key not in new)
    return is_one_sided and key not in ("device.name", "device.count") and _kind(key, False) == "free"


def flatten(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return a config as dotted key -> value, e.g. optimizer.lr -> 0.1; a list or an empty mapping is one value."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        found |= flatten(value, below) if isinstance(value, Mapping) and value else {below: value}
    return found


def _kind(key: str, within_epoch: bool) -> Kind:
    if key in _NEVER or (within_epoch and key in _OF_POSITION):
        return "never"
    free = any(key == word or key.startswith(f"{word}.") for word in _FREE)
    return "free" if free and key not in _FREE_NO_MORE else "forced"
