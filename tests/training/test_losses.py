"""Losses: weights by hand, tasks that do not fit, auxiliary heads, the level of guessing."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from expkit.config.registry import losses
from expkit.core.errors import ConfigError
from expkit.training.losses import Guessing, WithAuxiliary, chance_level

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


def with_probability(p: float) -> torch.Tensor:
    """Return (1, 2) logits whose first class has this probability."""
    return torch.tensor([[math.log(p / (1 - p)), 0.0]])


@pytest.mark.parametrize(("p", "times"), [(0.9, 100), (0.9684, 1000), (0.5, 4)])
def test_focal_loss_has_the_papers_ratios(p: float, times: float) -> None:
    """Lin et al. 2017, section 3.2: with gamma = 2 the loss is 100 times lower at 0.9, 1000 at 0.968, 4 at 0.5."""
    logits, target = with_probability(p), torch.tensor([0])
    plain = nn.functional.cross_entropy(logits, target)
    assert float(plain / losses.build({"name": "focal"}, **FACTS)(logits, target)) == pytest.approx(times, rel=2e-3)


def test_focal_loss_without_gamma_is_cross_entropy_also_on_shares() -> None:
    loss = losses.build({"name": "focal", "gamma": 0.0}, **FACTS)
    logits, shares = torch.randn(5, 3), torch.rand(5, 3).softmax(1)
    assert torch.allclose(loss(logits, shares), nn.functional.cross_entropy(logits, shares))
    sharp = losses.build({"name": "focal"}, **FACTS)
    targets = torch.tensor([0, 2, 1, 1, 0])
    one_hot = nn.functional.one_hot(targets).float()
    assert torch.allclose(sharp(logits, targets), sharp(logits, one_hot))


def test_focal_loss_of_a_sure_image_has_finite_gradients() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    losses.build({"name": "focal", "gamma": 0.5}, **FACTS)(logits, torch.tensor([0])).backward()
    assert torch.isfinite(logits.grad).all()  # type: ignore[arg-type]


def test_focal_loss_of_several_labels_is_the_papers_equation_5() -> None:
    loss = losses.build({"name": "focal", "alpha": 0.25}, **FACTS | {"task": "multilabel"})
    logits, targets = torch.randn(4, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    p_t = torch.where(targets > 0, logits.sigmoid(), 1 - logits.sigmoid())
    alpha_t = torch.where(targets > 0, 0.25, 0.75)
    assert torch.allclose(loss(logits, targets), (-alpha_t * (1 - p_t) ** 2 * p_t.log()).mean())


def test_balanced_softmax_is_the_papers_equation_4() -> None:
    loss = losses.build({"name": "balanced_softmax"}, **FACTS)
    logits, targets = torch.randn(6, 2), torch.tensor([0, 0, 1, 0, 1, 1])
    weighted = torch.tensor([30.0, 10.0]) * logits.exp()
    by_hand = -(weighted / weighted.sum(1, keepdim=True)).gather(1, targets[:, None]).log().mean()
    assert torch.allclose(loss(logits, targets), by_hand)
    even = losses.build({"name": "balanced_softmax"}, **FACTS | {"class_counts": np.array([7, 7])})
    assert torch.allclose(even(logits, targets), nn.functional.cross_entropy(logits, targets))


def test_label_smoothing_is_that_of_inception_v3() -> None:
    """Szegedy et al. 2016 (arXiv 1512.00567), section 7: q'(k) = (1 - e) [k = y] + e / K."""
    loss = losses.build({"name": "cross_entropy", "label_smoothing": 0.1}, **FACTS)
    logits, targets = torch.randn(6, 2), torch.tensor([0, 0, 1, 0, 1, 1])
    smooth = 0.9 * nn.functional.one_hot(targets) + 0.1 / 2
    assert torch.allclose(loss(logits, targets), -(smooth * logits.log_softmax(1)).sum(1).mean())


@pytest.mark.parametrize(
    ("node", "task", "says"),
    [
        ({"name": "focal", "gamma": -1.0}, "single_label", "loss.gamma"),
        ({"name": "focal", "alpha": 0.25}, "single_label", "loss.alpha"),
        ({"name": "focal", "alpha": 2.0}, "multilabel", "loss.alpha"),
        ({"name": "balanced_softmax"}, "multilabel", "use loss=bce"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(node: dict[str, object], task: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        losses.build(node, **FACTS | {"task": task})


def test_guessing_is_told_once_and_not_in_a_slow_start() -> None:
    guessing = Guessing(math.log(5))
    seen = [guessing.warning(1.609, 1.609, 60 * epoch) for epoch in range(1, 6)]
    assert [bool(text) for text in seen] == [False, False, True, False, False]
    assert "for 3 epochs the loss has been 1.6090, that of guessing (1.6094): nothing is learned" in str(seen[2])
    slow = Guessing(math.log(5))
    assert not any(slow.warning(*losses, 60) for losses in [(1.61, 1.60), (1.60, 1.61), (1.60, 1.58)] * 3)
    assert Guessing(math.log(5)).warning(1.609, 1.609, 5_000), "an epoch of 5,000 steps is long enough"
