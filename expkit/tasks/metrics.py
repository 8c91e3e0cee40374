"""The metrics by name, and which way is better. Imports no torch: compare reads it."""

import re

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
    )
}  # fmt: skip


def training_metrics() -> tuple[SampleMean, ...]:
    """Return the metrics of training: the loss, and one of outputs."""
    return Loss(), Accuracy()


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


def higher_is_better(name: str) -> bool:
    """Return True for a score of which more is better: `accuracy`, `best val/loss`, `val/calibration_error`.

    The metric of that name says so. A name that no metric here has (an old run's, a plugin's) is guessed from its
    words: lower is better for what ends in loss, error, distance and the like.
    """
    own = name.rpartition("/")[2]
    known = METRICS[own].higher_is_better if own in METRICS else None
    return _LOWER_IS_BETTER.fullmatch(own) is None if known is None else known
