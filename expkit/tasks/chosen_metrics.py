"""The metrics that a config chooses, `metric.NAME: {name: …}`: built, tried before the start, and read as numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from expkit.config.registry import metrics
from expkit.core.errors import ConfigError
from expkit.tasks.class_metrics import probabilities_of
from expkit.tasks.metric import KeptSamples, Metric

if TYPE_CHECKING:
    from expkit.tasks.torch_metrics import AnyTorchMetric

_TRIED = 8  # samples


@dataclass(frozen=True)
class OutputFacts:
    """What a metric may need to know of outputs. task: single_label, multilabel, …; names: of the outputs."""

    task: str
    names: tuple[str, ...]

    def answers(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what chosen metrics get for a model's outputs: probabilities and whole targets of classes."""
        if self.task in ("single_label", "multilabel"):
            return probabilities_of(outputs.float(), self.task), targets.long()
        return outputs, targets

    def example(self) -> tuple[Tensor, Tensor] | None:
        """Return answers and targets such as the run's, None where they are not known beforehand."""
        count, draws = len(self.names), torch.Generator().manual_seed(0)
        if self.task not in ("single_label", "multilabel"):
            return None
        places = torch.arange(_TRIED) % count
        targets = places if self.task == "single_label" else torch.nn.functional.one_hot(places, count)
        return self.answers(torch.randn(_TRIED, count, generator=draws), targets)


class FunctionMetric(KeptSamples):
    """A function of all outputs and targets of an evaluation."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any], names: Sequence[str]) -> None:
        self.function, self.names = function, names
        self.higher_is_better = getattr(getattr(function, "func", function), "higher_is_better", None)

    def score(self, outputs: Tensor, targets: Tensor) -> Any:
        return numbers(self.function(outputs, targets), self.names)


def build_metrics(nodes: Mapping[str, Any], facts: OutputFacts, taken: Sequence[str] = ()) -> list[Metric]:
    """Build and try the metrics of checked nodes, named by their keys. Raises ConfigError with the faults of all.

    taken: names of scores that there are already.
    """
    built, faults = [], list[str]()
    for name, node in nodes.items():
        path = f"metric.{name}"
        try:
            if name in taken:
                raise ConfigError(f"{path}: the run has a score '{name}' already; give the metric another key")
            built.append(_built(name, node, facts))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)
    return built


def _built(name: str, node: Mapping[str, Any], facts: OutputFacts) -> Metric:
    made = metrics.build(node, f"metric.{name}", facts=facts, class_names=facts.names)
    metric = as_metric(made, facts.names)
    if metric is None:
        raise ConfigError(f"metric.{name}: {node['name']} made a {type(made).__name__}, which is no metric")
    metric.name, given = name, metrics.shared(node).higher_is_better
    metric.higher_is_better = metric.higher_is_better if given is None else given
    if example := facts.example():
        _try(metric, f"metric.{name}: {node['name']}", *example)
    return metric


def as_metric(made: Any, names: Sequence[str]) -> Metric | None:
    """Return what a factory has made as a metric: one of ours, of torchmetrics, or a function; None for others."""
    if isinstance(made, Metric):
        return made
    if all(hasattr(made, method) for method in ("update", "compute", "reset", "_reductions")):
        from expkit.tasks.torch_metrics import TorchMetric  # torchmetrics takes seconds to import

        of_torch: AnyTorchMetric = made
        return TorchMetric(of_torch, names)
    return FunctionMetric(made, names) if callable(made) else None


def _try(metric: Metric, what: str, outputs: Tensor, targets: Tensor) -> None:
    """Compute a metric of an example. Raises ConfigError where it does not fit the task, or gives no numbers."""
    try:
        metric.reset(torch.device("cpu"))
        metric.update(outputs, targets)
        found = metric.compute()
    except Exception as error:  # whatever a library or a plugin raises
        reason = " ".join(str(error).split()) or type(error).__name__
        shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
        raise ConfigError(f"{what} cannot be computed of {shapes}: {reason}") from error
    metric.keys = tuple(found) if isinstance(found, Mapping) else ()
    metric.reset(torch.device("cpu"))


def numbers(found: Any, names: Sequence[str]) -> float | dict[str, float]:
    """Return what was computed as a number, or as numbers by name. names: of the outputs, for a list of as many.

    Raises ValueError for anything else, such as a matrix or curves.
    """
    if isinstance(found, Mapping):
        return {str(key): _number(value) for key, value in found.items()}
    values = torch.as_tensor(found)
    if values.numel() == 1:
        return _number(values)
    if values.ndim != 1:
        raise ValueError(f"it gives an array of shape {tuple(values.shape)}, which is no score")
    keys = names if len(names) == len(values) else range(len(values))
    return {str(key): float(value) for key, value in zip(keys, values, strict=True)}


def _number(value: Any) -> float:
    value = torch.as_tensor(value)
    if value.numel() != 1 or value.is_complex():
        raise ValueError(f"it gives an array of shape {tuple(value.shape)}, which is no score")
    return float(value)
