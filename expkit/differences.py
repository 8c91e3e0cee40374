"""What differs between the config of a checkpoint and the one that is to go on from it, and whether it may."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Kind = Literal["free", "forced", "never"]

# What changes no step that both runs do: how images are read, what is shown and kept, where the run ends. Paths are
# free so that data may have moved; the number of samples and the classes are compared apart from the config.
_FREE = (
    "name", "output_dir", "epochs", "max_steps", "log_every", "logger", "watch", "checkpoint", "experiment",
    "dataset.num_workers", "dataset.prefetch", "dataset.start_method", "dataset.timeout", "dataset.cache",
    "dataset.cache_dir", "dataset.decoder", "dataset.root", "dataset.val_root", "dataset.max_bad",
    "loss.teacher",  # its weights are compared instead
    "device.keep_memory",
)  # fmt: skip
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
    old, new = dict(_leaves(theirs)), dict(_leaves(ours))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [Difference(key, old.get(key), new.get(key), _kind(key, within_epoch)) for key in sorted(changed)]


def _leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        below = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, below)
        else:
            yield below, value


def _kind(key: str, within_epoch: bool) -> Kind:
    if key in _NEVER or (within_epoch and key in _OF_POSITION):
        return "never"
    free = any(key == word or key.startswith(f"{word}.") for word in _FREE)
    return "free" if free and key not in _FREE_NO_MORE else "forced"
