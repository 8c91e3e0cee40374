"""The trial of the transforms: random draws for training, one result for evaluation, and batches that must stack."""

from collections.abc import Callable

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.doctor.transform_trial import DRAWS, judge_trial, try_transforms


def test_train_draws_differ_and_the_next_time_they_are_the_same(small_config: Callable[..., Config]) -> None:
    config = small_config()
    data = load(config["dataset"]).train
    trial, again = (try_transforms(config, data, [0, 3]) for _ in range(2))
    assert (len(trial.rows), trial.image_size, trial.size) == (2, 32, (32, 32))
    name, original, draws, _ = trial.rows[1]
    assert name == data.sample_name(3)
    assert torch.equal(original, data.image(3))
    assert len({draw.numpy().tobytes() for draw in draws}) > 1
    assert len(draws) == DRAWS
    assert all(torch.equal(one, other) for one, other in zip(draws, again.rows[1][2], strict=True))
    assert judge_trial(trial) == []


def test_images_that_do_not_stack_are_a_problem(small_config: Callable[..., Config], tmp_path) -> None:
    from tests.doctor.drawn import picture, write

    root = write(tmp_path / "pets", "cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg")
    picture(9, (40, 70)).save(root / "cat/1.jpg")
    config = small_config("dataset=image_folder", f"dataset.root={root}", "transforms.eval=[]")
    data = load(config["dataset"] | {"val_root": str(root)}).train
    (found,) = judge_trial(try_transforms(config, data, range(len(data))))
    assert found.level == "problem"
    assert found.sentence.startswith("transforms.eval gives images of different sizes (40×70, 96×80)")


def test_a_chain_that_cannot_be_applied_is_named(small_config: Callable[..., Config]) -> None:
    config = small_config("transforms.train=[{name:RandomCrop,size:99}]")
    with pytest.raises(ConfigError, match=r"transforms\.train: cannot be applied"):
        try_transforms(config, load(config["dataset"]).train, [0])
