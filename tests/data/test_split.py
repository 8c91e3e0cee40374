"""The held-out split: stratified, by name, the same in any order of listing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from expkit.data.datasets.files import ImageFiles
from expkit.data.datasets.image_folder import read_folders
from expkit.data.split import hold_out


def test_each_class_gives_its_share(image_files: Callable[..., Path]) -> None:
    names = [f"a/{number}.jpg" for number in range(10)] + [f"b/{number}.jpg" for number in range(5)]
    train, val = hold_out(read_folders(image_files("x", *names), "dataset.root"), 0.2, 0)
    assert np.bincount(val.targets).tolist() == [2, 1]
    assert len(train) == 12
    both = {train.sample_name(index) for index in range(12)} | {val.sample_name(index) for index in range(3)}
    assert both == set(names)


def test_the_order_of_listing_does_not_matter() -> None:
    names = [f"{number}.jpg" for number in range(20)]
    forward = ImageFiles(Path(), names, [0] * 20, ["a"])
    backward = ImageFiles(Path("/elsewhere"), names[::-1], [0] * 20, ["a"])
    chosen = [
        {val.sample_name(index) for index in range(len(val))}
        for val in (hold_out(one, 0.25, 7)[1] for one in (forward, backward))
    ]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 5
