"""torchmetrics' classes: a catalogue by name, and what makes any of them the same for each number of ranks."""

import importlib
import inspect
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torchmetrics
from torch import Tensor

from expkit.config.registry import metrics
from expkit.devices import Ranks
from expkit.tasks.chosen_metrics import OutputFacts, numbers
from expkit.tasks.metric import Metric

AnyTorchMetric = Any  # torchmetrics.Metric: it has no types of its own
_PARTS = ("classification", "regression", "segmentation", "image", "detection", "clustering", "nominal")
_FROM_DATA = ("task", "num_classes", "num_labels", "num_outputs")  # filled where the config says nothing


class TorchMetric(Metric):
    """One of torchmetrics' metrics. Its sums are added among ranks, its lists are put into the order of the samples.

    Sums are kept in float64, so that the parts in which samples are added do not show.
    """

    def __init__(self, made: AnyTorchMetric, names: Sequence[str]) -> None:
        self._made, self.higher_is_better = made, made.higher_is_better
        self._names = names if getattr(made, "average", None) in (None, "none") else ()  # else a list is of no classes
        self._parts = [one for one in made.modules() if isinstance(one, torchmetrics.Metric)]
        self._of_two = type(made).__name__.startswith("Binary")
        for part in self._parts:
            part.sync_on_compute = part._to_sync = False  # ranks are merged here, and by gloo
            part.compute_on_cpu = True

    def reset(self, device: torch.device) -> None:
        self._dtype = torch.float32 if device.type == "mps" else torch.float64  # which MPS has not
        self._made.to(device)
        self._marks: list[list[int]] = []  # after each batch: lengths of the lists
        for part in self._parts:
            for name, value in part._defaults.items():
                if isinstance(value, Tensor) and value.is_floating_point():
                    part._defaults[name] = value.to(self._dtype)
            part.reset()

    def update(self, outputs: Any, targets: Any, weights: Tensor | None = None) -> None:
        if weights is not None:
            outputs, targets = outputs[weights > 0], targets[weights > 0]
        if len(targets):  # a rank may have no part of a batch
            with quiet():
                self._made.update(*self._prepared(outputs, targets))
        self._marks.append([len(value) for _, _, value in self._states() if isinstance(value, list)])

    def _prepared(self, outputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return outputs and targets in float64, those of a single number or of two classes as a row of numbers."""
        given = [
            one.to(self._dtype) if isinstance(one, Tensor) and one.is_floating_point() else one
            for one in (outputs, targets)
        ]
        if self._of_two and isinstance(outputs, Tensor) and outputs.shape[1:] == (2,) and targets.ndim == 1:
            given[0] = given[0][:, 1]
        return tuple(one.squeeze(1) if isinstance(one, Tensor) and one.shape[1:] == (1,) else one for one in given)  # type: ignore[return-value]

    def _states(self) -> Iterator[tuple[Any, str, Any]]:
        """Yield (its owner, its name, its value) of each state."""
        for part in self._parts:
            for name in part._defaults:
                yield part, name, getattr(part, name)

    def merge(self, ranks: Ranks) -> None:
        marks, number = ranks.collect(self._marks), 0
        for part, name, value in [*self._states()]:
            if isinstance(value, list):
                setattr(part, name, _in_order(ranks.collect(value), marks, number))
                number += 1
            else:
                gathered, reduce = ranks.gather(value).to(value.device), part._reductions[name]
                setattr(part, name, reduce(gathered) if reduce else gathered)
        for part in self._parts:
            part._computed, part._update_count = None, max(part._update_count, 1)

    def compute(self) -> float | dict[str, float]:
        with quiet():
            return numbers(self._made.compute(), self._names)

    def state_dict(self) -> dict[str, Any]:
        counts = [part._update_count for part in self._parts]
        return {"values": [value for _, _, value in self._states()], "marks": self._marks, "counts": counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for (part, name, _), value in zip([*self._states()], state["values"], strict=True):
            setattr(part, name, value)
        for part, count in zip(self._parts, state["counts"], strict=True):
            part._computed, part._update_count = None, count
        self._marks = state["marks"]


def _in_order(lists: Sequence[list[Any]], marks: Sequence[list[list[int]]], number: int) -> list[Any]:
    """Return the ranks' lists as one, batch by batch. marks: of each rank and batch, the lengths of all lists."""
    found = []
    for batch in range(len(marks[0])):
        for values, lengths in zip(lists, marks, strict=True):
            found += values[lengths[batch - 1][number] if batch else 0 : lengths[batch][number]]
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torchmetrics from warning in each epoch, e.g. of classes that do not occur."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def register_all() -> None:
    """Add every public class of torchmetrics that compares outputs with targets."""
    for part in _PARTS:
        module = importlib.import_module(f"torchmetrics.{part}")
        for name in module.__all__:
            made = getattr(module, name)
            if inspect.isclass(made) and issubclass(made, torchmetrics.Metric) and _compares(made):
                metrics.add(name, _factory(made), "torchmetrics")


def _compares(kind: type) -> bool:
    """Return True if a class's `update` takes outputs and targets, and needs nothing else."""
    if "__new__" in vars(kind):  # it makes the class of a task
        return True
    taken = [*inspect.signature(kind.update).parameters.values()][1:]  # type: ignore[attr-defined]
    named = [one.name for one in taken if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    return named in (["preds", "target"], ["preds", "targets"])


def _factory(kind: type) -> Callable[..., Any]:
    """Return what builds a class, with its signature; what the data tell need not be given."""

    def build(facts: OutputFacts, **options: Any) -> Any:
        filled = {key: value for key, value in _of_data(facts).items() if key in taken}
        with quiet():
            return kind(
                **filled | {key: value for key, value in options.items() if value is not None or key not in filled}
            )

    maker: Any = kind.__new__ if "__new__" in vars(kind) else kind.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(maker)
    taken = {
        name: one.replace(annotation=hints.get(name, Any), kind=one.KEYWORD_ONLY)
        for name, one in inspect.signature(kind).parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD
    }  # fmt: skip
    for name in taken.keys() & {*_FROM_DATA}:
        taken[name] = taken[name].replace(annotation=taken[name].annotation | None, default=None)
    runtime = inspect.Parameter("facts", inspect.Parameter.KEYWORD_ONLY, annotation=OutputFacts)
    build.__doc__ = kind.__doc__
    build.__annotations__ = {name: one.annotation for name, one in taken.items()}
    build.__signature__ = inspect.Signature([runtime, *taken.values()])  # type: ignore[attr-defined]
    return build


def _of_data(facts: OutputFacts) -> dict[str, Any]:
    count = len(facts.names)
    if facts.task in ("single_label", "multilabel"):
        task = "multiclass" if facts.task == "single_label" else "multilabel"
        return {"task": task, "num_classes": count, "num_labels": count}
    return {"num_classes": count} | ({"num_outputs": count} if facts.task == "regression" and count > 1 else {})
