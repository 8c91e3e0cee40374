"""Losses by name: what is minimised, on logits (N, C)."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from expkit.config.registry import losses
from expkit.config.signature import FROM_NOW_ON
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.training.number_losses import instead, needs_multilabel, needs_one_class
from expkit.training.pixel_losses import PixelCrossEntropy

Counts = NDArray[np.int64]


@losses.register("cross_entropy")
def cross_entropy(
    task: str,
    class_names: Sequence[str],
    class_counts: Counts,
    class_weights: list[float] | Literal["balanced"] | None = None,
    label_smoothing: float = 0.0,
) -> nn.Module:
    """Cross entropy for one class per image, or per pixel; class_weights may be a list by class, or balanced.

    label_smoothing: this share of each label is spread evenly over all classes.
    """
    if task != "segmentation":
        needs_one_class("cross_entropy", task)
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"loss.label_smoothing: takes a number from 0 up to, not including, 1, got {label_smoothing}")
    if task == "segmentation" and class_weights == "balanced":
        raise ConfigError("loss.class_weights: balanced needs one class per image; for masks, list a weight per class")
    weight = _class_weights("loss.class_weights", class_weights, class_names, class_counts)
    loss_class = PixelCrossEntropy if task == "segmentation" else nn.CrossEntropyLoss
    return loss_class(weight=weight, label_smoothing=label_smoothing)


@losses.register("bce")
def bce(
    task: str,
    class_names: Sequence[str],
    class_counts: Counts,
    pos_weight: list[float] | Literal["balanced"] | None = None,
) -> nn.Module:
    """Binary cross entropy on each class's logit, for images with any number of classes.

    pos_weight: weight of a present label of each class, in the order of the classes; "balanced": N / (C * its count).
    """
    needs_multilabel("bce", task)
    weight = _class_weights("loss.pos_weight", pos_weight, class_names, class_counts)
    return nn.BCEWithLogitsLoss(pos_weight=weight)


@losses.register("focal")
def focal(task: str, gamma: float = 2.0, alpha: float | None = None) -> nn.Module:
    """Focal loss (Lin et al. 2017): what is classified well counts less, by (1 - p)**gamma; one or several labels.

    gamma: 0 is cross entropy. alpha: with several labels, the weight of present ones, 1 - alpha that of absent ones.
    """
    if task not in ("single_label", "multilabel"):
        raise ConfigError(f"loss.name: focal is for classes of images; {instead(task)}")
    if gamma < 0:
        raise ConfigError(f"loss.gamma: takes a number from 0 up, got {gamma}")
    if alpha is not None and task == "single_label":
        raise ConfigError("loss.alpha: weighs present labels against absent ones, and here each image has one class")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ConfigError(f"loss.alpha: takes a number from 0 to 1 or null, got {alpha}")
    return Focal(gamma) if task == "single_label" else SigmoidFocal(gamma, alpha)


@losses.register("balanced_softmax")
def balanced_softmax(task: str, class_counts: Counts, label_smoothing: float = 0.0) -> nn.Module:
    """Balanced softmax (Ren et al. 2020) for classes of unequal size: logits are trained with their log counts.

    label_smoothing: this share of each label is spread evenly over all classes.
    """
    needs_one_class("balanced_softmax", task)
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"loss.label_smoothing: takes a number from 0 up to, not including, 1, got {label_smoothing}")
    return BalancedSoftmax(class_counts, label_smoothing)


@losses.register("distill")
def distill(
    task: str,
    teacher: Annotated[str, FROM_NOW_ON],
    temperature: float = 4.0,
    weight: float = 0.9,
    label_smoothing: float = 0.0,
) -> nn.Module:
    """Cross entropy with the labels, and with a teacher's softened answers; teacher: a run folder or checkpoint.

    temperature: divides both logits before they are compared; weight: share of the teacher in the loss, the labels have
    the rest. label_smoothing: this share of each label is spread evenly over all classes.
    """
    needs_one_class("distill", task)
    if temperature <= 0:
        raise ConfigError(f"loss.temperature: takes a number above 0, got {temperature}")
    if not 0 <= weight <= 1:
        raise ConfigError(f"loss.weight: takes a number from 0 to 1, got {weight}")
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"loss.label_smoothing: takes a number from 0 up to, not including, 1, got {label_smoothing}")
    return Distillation(temperature, weight, label_smoothing)


def _class_weights(
    path: str, given: list[float] | Literal["balanced"] | None, class_names: Sequence[str], class_counts: Counts
) -> Tensor | None:
    """Return (C,) weights; balanced is N / (C * count), as scikit-learn's compute_class_weight has it."""
    if given is None:
        return None
    if given == "balanced":
        return torch.tensor(class_counts.sum() / (len(class_counts) * np.maximum(class_counts, 1)), dtype=torch.float32)
    if len(given) != len(class_names):
        problem = f"{count_noun(len(given), 'weight')} for {count_noun(len(class_names), 'class')}"
        raise ConfigError(f"{path}: {problem}; give one for each, in this order: {', '.join(class_names)}")
    if min(given) < 0:
        raise ConfigError(f"{path}: takes numbers from 0 up, got {given}")
    return torch.tensor(given, dtype=torch.float32)


# Losses on (logits, class index), on (logits, 0/1 per class) and on (numbers, numbers). Left out: those on pairs or
# triplets of embeddings (CosineEmbedding, Triplet, ...), on probabilities (BCELoss, NLLLoss, KLDivLoss) or sequences
# (CTCLoss).
_KINDS = {
    "single_label": (nn.CrossEntropyLoss, nn.MultiMarginLoss),
    "multilabel": (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss),
    "numbers": (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss),
}


def _from_torch(loss_class: type[nn.Module], kind: str) -> Callable[..., nn.Module]:
    def build(task: str, reduction: Literal["mean"] = "mean", **options: Any) -> nn.Module:
        if kind == "multilabel":
            needs_multilabel(loss_class.__name__, task)
        elif kind == "single_label":
            needs_one_class(loss_class.__name__, task)
        elif task not in ("regression", "reconstruction"):
            raise ConfigError(f"loss.name: {loss_class.__name__} is for numbers; {instead(task)}")
        if options.pop("size_average", None) is not None or options.pop("reduce", None) is not None:
            raise ConfigError("loss: size_average and reduce are gone from torch; the mean is always taken")
        return loss_class(**options)

    build.__doc__ = loss_class.__doc__
    return build


for _kind, _classes in _KINDS.items():
    for _class in _classes:
        losses.add(_class.__name__, _from_torch(_class, _kind), "torch", _class)


class Focal(nn.Module):
    """Mean of -(1 - p)**gamma * log p, p being the true class's softmax; soft targets weigh each class's term.

    Lin et al. 2017 (arXiv 1708.02002), equation 4, on a softmax.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits: (N, C); targets: (N,) classes or (N, C) shares."""
        logs = logits.log_softmax(1)
        terms = -((1 - logs.exp()).clamp_min(1e-8) ** self.gamma) * logs  # the root of 0 has no gradient
        if targets.ndim == 1:
            return terms.gather(1, targets[:, None]).mean()
        return (terms * targets).sum(1).mean()


class SigmoidFocal(nn.Module):
    """Focal loss of each class's yes or no (Lin et al. 2017, equation 5), by torchvision's operator; the mean."""

    def __init__(self, gamma: float, alpha: float | None) -> None:
        super().__init__()
        self.gamma, self.alpha = gamma, -1 if alpha is None else alpha

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits, targets: (N, C)."""
        loss: Tensor = sigmoid_focal_loss(logits, targets, self.alpha, self.gamma, "mean")
        return loss


class BalancedSoftmax(nn.Module):
    """Cross entropy of logits + log(class counts): Ren et al. 2020 (arXiv 2007.10740), equation 4."""

    prior: Tensor

    def __init__(self, class_counts: Counts, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        counts = torch.tensor(np.maximum(class_counts, 1), dtype=torch.float64)
        self.register_buffer("prior", (counts / counts.sum()).log().float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits: (N, C); targets: (N,) classes or (N, C) shares."""
        return nn.functional.cross_entropy(logits + self.prior, targets, label_smoothing=self.label_smoothing)


class Distillation(nn.Module):
    """weight * T**2 * KL(teacher || student) of the softmaxes at temperature T + (1 - weight) * cross entropy.

    Hinton, Vinyals & Dean 2015 (arXiv 1503.02531), section 2: the factor T**2 keeps the gradients of the soft answers
    as large as those of the labels at any temperature. Without a teacher's answers, in evaluation, the cross entropy.
    """

    def __init__(self, temperature: float, weight: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.temperature, self.weight, self.label_smoothing = temperature, weight, label_smoothing

    def forward(self, logits: Tensor, targets: Tensor, taught: Tensor | None = None) -> Tensor:
        """logits, taught (the teacher's): (N, C); targets: (N,) classes or (N, C) shares."""
        hard = nn.functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if taught is None:
            return hard
        ours, theirs = ((one.float() / self.temperature).log_softmax(1) for one in (logits, taught))
        soft = nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return self.weight * self.temperature**2 * soft + (1 - self.weight) * hard


class WithAuxiliary(nn.Module):
    """Adds a share of the loss of auxiliary heads, which some models (inception_v3, googlenet) have in training."""

    def __init__(self, loss: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss, self.weight = loss, weight

    def forward(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor, *taught: Tensor) -> Tensor:
        """outputs: (N, C) logits, or a tuple of them with the main head's first; taught: a teacher's, for that one."""
        if isinstance(outputs, Tensor):
            return self.loss(outputs, targets, *taught)  # type: ignore[no-any-return]
        total: Tensor = self.loss(outputs[0], targets, *taught)
        for auxiliary in outputs[1:]:
            total = total + self.weight * self.loss(auxiliary, targets)
        return total


_EPOCHS_OF_GUESSING, _STEPS_OF_GUESSING = 3, 1_000  # after which it is no slow start any more


def chance_level(loss: nn.Module, num_classes: int, task: str) -> float:
    """Return the loss of a model that knows nothing: of all-zero logits (ln C for cross entropy, ln 2 for bce).

    NaN for tasks without classes. Raises ConfigError where the loss cannot be computed on logits and targets such as
    the run's.
    """
    if task not in ("single_label", "multilabel"):
        return math.nan
    logits = torch.zeros(num_classes, num_classes)
    targets = torch.arange(num_classes) if task == "single_label" else torch.eye(num_classes)
    if task == "multilabel":
        targets = torch.zeros(num_classes, num_classes)  # what a pos_weight does not touch
    try:
        with torch.no_grad():
            return float(loss(logits, targets))
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        kind = "class indices" if task == "single_label" else "0 or 1 for each class"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        problem = f"cannot be computed on logits {tuple(logits.shape)} and targets {tuple(targets.shape)} of {kind}"
        raise ConfigError(f"loss.name: {type(loss).__name__} {problem}: {reason}") from error


class Guessing:
    """Notices a model that learns nothing: its loss stays that of all-zero logits, and not only in a warm-up.

    chance: that loss, as `chance_level` gives it.
    """

    def __init__(self, chance: float) -> None:
        self.chance, self.epochs, self.has_warned = chance, 0, False

    def warning(self, trained: float, evaluated: float, steps: int) -> str | None:
        """Return what is to be said after an epoch, once in a run.

        trained, evaluated: the mean losses of the epoch; a slow start passes by chance while the model learns already,
        which the second one tells. steps: all so far.
        """
        is_close = abs(trained - self.chance) < 0.01 * self.chance and not evaluated < 0.99 * self.chance
        self.epochs = self.epochs + 1 if is_close else 0
        if self.has_warned or not is_close or (self.epochs < _EPOCHS_OF_GUESSING and steps < _STEPS_OF_GUESSING):
            return None
        self.has_warned = True
        return (
            f"warning: for {count_noun(self.epochs, 'epoch')} the loss has been {trained:.4f}, that of"
            f" guessing ({self.chance:.4f}): nothing is learned. Usual remedies: a lower optimizer.lr (try a tenth),"
            " schedule.warmup_epochs=1, clip_grad_norm=1, model.init=kaiming_normal, model.head_relu=false"
            " (SqueezeNet), a model with normalisation layers, pretrained weights (model.weights=DEFAULT); and look at"
            " the labels"
        )
