"""Orders: lengths, weights, and the same draws for the same key."""

from typing import Any

import numpy as np
import pytest
import torch

from expkit.config.registry import samplers
from expkit.core.errors import ConfigError
from expkit.core.seeding import generator
from expkit.data.samplers import Order

TARGETS = np.array([0] * 80 + [1] * 20)


def order(**node: Any) -> Order:
    made: Order = samplers.build(node, targets=TARGETS, class_names=("cat", "dog"))
    return made


@pytest.mark.parametrize("name", ["shuffle", "sequential", "RandomSampler", "SequentialSampler"])
def test_every_sample_comes_once(name: str) -> None:
    drawn = order(name=name).draw(generator(1))
    assert sorted(drawn.tolist()) == list(range(100))


def test_a_key_is_an_order() -> None:
    shuffled = order(name="shuffle")
    assert (shuffled.draw(generator(1)) == shuffled.draw(generator(1))).all()
    assert (shuffled.draw(generator(1)) != shuffled.draw(generator(2))).any()


def test_weights_are_per_class() -> None:
    drawn = order(name="weighted", class_weights={"dog": 8}, num_samples=20_000).draw(generator(0))
    # Dogs: 20 samples of weight 8 against 80 cats of weight 1, so 160 of 240.
    assert TARGETS[drawn].mean() == pytest.approx(160 / 240, abs=0.02)
    balanced = order(name="class_balanced", num_samples=20_000).draw(generator(0))
    assert TARGETS[balanced].mean() == pytest.approx(0.5, abs=0.02)


def test_weights_without_effect_are_said() -> None:
    assert "the weights do nothing" in order(name="weighted", class_weights=[1, 2], replacement=False).notes[0]
    assert not order(name="weighted", class_weights=[1, 2], replacement=False, num_samples=50).notes


def test_too_many_without_replacement_is_refused() -> None:
    with pytest.raises(ConfigError, match="101 is more than the 100 samples"):
        order(name="weighted", class_weights=[1, 2], replacement=False, num_samples=101)


def test_a_subset_is_a_share() -> None:
    assert len(order(name="subset", fraction=0.1)) == 10
    assert order(name="subset", indices=[3, 1], shuffle=False).draw(generator(0)).tolist() == [3, 1]


def test_repeated_augmentation_is_that_of_torchvision_s_sampler() -> None:
    """Its RASampler: a shuffled list, each sample `repetitions` times in a row, cut to the length of the data."""
    drawn = order(name="repeated", repetitions=3, round_to=64).draw(generator(7))
    shuffled = torch.randperm(100, generator=generator(7)).tolist()
    assert drawn.tolist() == [index for index in shuffled for _ in range(3)][: 100 // 64 * 64]
