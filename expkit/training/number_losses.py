"""Losses of numbers and pixels, and which losses fit which targets."""

from torch import nn

from expkit.config.registry import losses
from expkit.core.errors import ConfigError


@losses.register("mse")
def mse(task: str) -> nn.Module:
    """Mean squared error, for numbers (standardised by the training data) or pixels."""
    return _of_numbers(nn.MSELoss(), "mse", task)


@losses.register("mae")
def mae(task: str) -> nn.Module:
    """Mean absolute error, for numbers (standardised by the training data) or pixels."""
    return _of_numbers(nn.L1Loss(), "mae", task)


@losses.register("huber")
def huber(task: str, delta: float = 1.0) -> nn.Module:
    """Huber loss: squared error up to delta, linear beyond (Huber 1964), for numbers or pixels.

    delta: in standard deviations of the training data's numbers; of pixels, in units of their range from 0 to 1.
    """
    if delta <= 0:
        raise ConfigError(f"loss.delta: takes a number above 0, got {delta}")
    return _of_numbers(nn.HuberLoss(delta=delta), "huber", task)


def _of_numbers(loss: nn.Module, name: str, task: str) -> nn.Module:
    if task not in ("regression", "reconstruction"):
        raise ConfigError(f"loss.name: {name} is for numbers or pixels; {instead(task)}")
    return loss


def needs_multilabel(name: str, task: str) -> None:
    if task != "multilabel":
        raise ConfigError(f"loss.name: {name} is for images with several classes; {instead(task)}")


def needs_one_class(name: str, task: str) -> None:
    if task == "multilabel":
        raise ConfigError(f"loss.name: {name} needs one class per image, this data has several; use loss=bce")
    if task != "single_label":
        raise ConfigError(f"loss.name: {name} needs one class per image; {instead(task)}")


def instead(task: str) -> str:
    """Return what to use for a task."""
    names = {"multilabel": "bce", "single_label": "cross_entropy", "segmentation": "cross_entropy"}
    return f"use loss={names.get(task, 'mse')} here"
