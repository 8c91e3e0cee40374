"""Losses: weights by hand, tasks that do not fit, auxiliary heads, the level of guessing."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from expkit.registry import ConfigError, losses
from expkit.training.losses import WithAuxiliary, chance_level

FACTS = {"class_names": ["a", "b"], "class_counts": np.array([30, 10]), "task": "single_label"}


def test_balanced_weights_follow_the_formula() -> None:
    loss = losses.build({"name": "cross_entropy", "class_weights": "balanced"}, **FACTS)
    assert loss.weight.tolist() == pytest.approx([40 / (2 * 30), 40 / (2 * 10)])
    assert "weight" in dict(loss.named_buffers())  # so it follows the model to its device


def test_a_task_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="use loss=bce"):
        losses.build({"name": "cross_entropy"}, **FACTS | {"task": "multilabel"})
    with pytest.raises(ConfigError, match="use loss=cross_entropy"):
        losses.build({"name": "BCEWithLogitsLoss"}, **FACTS)


def test_torch_s_own_take_their_options() -> None:
    loss = losses.build({"name": "MultiMarginLoss", "margin": 2.0}, **FACTS)
    assert isinstance(loss, nn.MultiMarginLoss)
    assert loss.margin == 2.0


def test_auxiliary_heads_count_their_share() -> None:
    loss = WithAuxiliary(nn.CrossEntropyLoss(), 0.4)
    main, extra, targets = torch.randn(4, 2), torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    plain = nn.CrossEntropyLoss()
    assert loss((main, extra), targets) == pytest.approx(float(plain(main, targets) + 0.4 * plain(extra, targets)))
    assert loss(main, targets) == plain(main, targets)


def test_the_level_of_guessing() -> None:
    assert chance_level(nn.CrossEntropyLoss(label_smoothing=0.1), 3, "single_label") == pytest.approx(math.log(3))
    assert chance_level(nn.BCEWithLogitsLoss(), 5, "multilabel") == pytest.approx(math.log(2))
