"""The metrics by name, and which way is better. Imports no torch: compare reads it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from expkit.config.registry import metrics
from expkit.tasks.class_metrics import (
    F1,
    Accuracy,
    Auc,
    AveragePrecision,
    BalancedAccuracy,
    CalibrationError,
    ClassF1,
    Exact,
    LogLoss,
    MeanAveragePrecision,
    Precision,
    TopK,
)
from expkit.tasks.metric import KeptSamples, Loss, Metric, SampleMean
from expkit.tasks.number_metrics import R2, MeanAbsoluteError
from expkit.tasks.pixel_metrics import MeanIoU, Psnr

_LOWER_IS_BETTER = re.compile(
    r"(.*[_ ./-])?(loss|error|err|mae|mse|rmse|nll|ece|mce|brier|perplexity|hinge|divergence|distance|fpr|fnr"
    r"|seconds|duration)",
    re.IGNORECASE,
)

METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        Loss(), Accuracy(), TopK(), MeanAveragePrecision(), Exact(), F1("macro"), F1("micro"), F1("weighted"),
        Precision(), ClassF1(), BalancedAccuracy(), Auc(), AveragePrecision(), CalibrationError(),
        R2(1), MeanAbsoluteError((1.0,)), MeanIoU(1), Psnr(),
    )
}  # fmt: skip
_IN_PARTS = ("r2", "mae")  # metrics that give a score for each number


@metrics.share
@dataclass(frozen=True)
class MetricOptions:
    """Options of every metric.

    higher_is_better: which way checkpoint.monitor and compare go; null: as the metric itself says.
    """

    higher_is_better: bool | None = None


for _name, _class in {
    "exact": Exact, "f1": F1, "balanced_accuracy": BalancedAccuracy, "auc": Auc,
    "average_precision": AveragePrecision, "calibration_error": CalibrationError, "top_k": TopK,
}.items():  # fmt: skip
    metrics.add(_name, _class, "expkit")


def _load_torchmetrics() -> None:
    from expkit.tasks.torch_metrics import register_all  # takes seconds

    register_all()


metrics.lazily("", _load_torchmetrics)


def validation_metrics(task: str, num_classes: int) -> list[Metric]:
    """Return the metrics of a task's validation, which are of logits; the first is the main one, beside the loss."""
    if task == "multilabel":
        return [MeanAveragePrecision(), Accuracy()]
    return [Accuracy(), *([TopK()] if num_classes > 5 else [])]


def evaluation_metrics(task: str, num_classes: int, top_k: int = 5) -> list[SampleMean | KeptSamples]:
    """Return the metrics of a trained model, which are of probabilities, in the order in which they are shown."""
    more: list[SampleMean | KeptSamples] = [BalancedAccuracy(), Auc(), AveragePrecision(), CalibrationError()]
    if task == "multilabel":
        return [Accuracy(of_probabilities=True), Exact(), F1("macro"), F1("micro"), F1("weighted"), *more]
    top = [TopK(top_k)] if top_k < num_classes else []
    return [Accuracy(), *top, LogLoss(), F1("macro"), F1("weighted"), *more]


def higher_is_better(name: str, told: Mapping[str, bool] | None = None) -> bool:
    """Return True for a score of which more is better: `accuracy`, `best val/loss`, `val/calibration_error`.

    The run says so (told: by the score's name), or the metric of that name, for each of its parts too (`mae_area`). A
    name that neither has (an old run's) is guessed from its words: lower is better for what ends in loss, error,
    distance and the like.
    """
    score = re.sub("^(best |last )?(val/)?", "", name)
    if told and score in told:
        return told[score]
    own = score.rpartition("/")[2]
    metric = METRICS.get(own) or next((METRICS[key] for key in _IN_PARTS if own.startswith(f"{key}_")), None)
    known = metric.higher_is_better if metric else None
    return _LOWER_IS_BETTER.fullmatch(own) is None if known is None else known
