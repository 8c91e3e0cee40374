"""The held-out split: stratified, by name, the same in any order of listing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from expkit.data.datasets.image_files import ImageFiles
from expkit.data.datasets.image_folder import read_folders
from expkit.data.splits import fold_of, hold_out, take_fold, with_label_noise


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


def listed(*counts: int, root: str = "", backwards: bool = False) -> ImageFiles:
    targets = [number for number, count in enumerate(counts) for _ in range(count)]
    names = [f"{number}/{place}.jpg" for place, number in enumerate(targets)]
    step = -1 if backwards else 1
    return ImageFiles(Path(root), names[::step], targets[::step], [str(number) for number in range(len(counts))])


def test_folds_are_stratified_and_each_sample_is_in_one() -> None:
    """What scikit-learn's StratifiedKFold promises: sizes, and those of each class, differ by one at most."""
    data = listed(23, 7, 41)
    parts = [take_fold(data, fold, 5, seed=3) for fold in range(5)]
    assert sorted(np.concatenate([val.indices for _, val in parts]).tolist()) == list(range(71))
    assert all(not set(train.indices) & set(val.indices) and len(train) + len(val) == 71 for train, val in parts)
    sizes = [len(val) for _, val in parts]
    assert max(sizes) - min(sizes) <= 1
    by_class = np.array([np.bincount(val.targets, minlength=3) for _, val in parts])
    assert (by_class.max(0) - by_class.min(0)).max() <= 1


def test_folds_depend_on_names_and_seed_alone() -> None:
    data, other = listed(20, 10), listed(20, 10, root="/elsewhere", backwards=True)
    assert fold_of(data, 4, 1).tolist() == fold_of(other, 4, 1)[::-1].tolist()
    assert fold_of(data, 4, 1).tolist() != fold_of(data, 4, 2).tolist()


def test_label_noise_changes_its_share_to_every_other_class_alike() -> None:
    data = listed(3000, 3000, 3000, 3000)
    noisy = with_label_noise(data, 0.25, seed=0)
    changed = noisy.targets != data.targets
    assert changed.sum() == 3000
    moves = np.array([np.bincount(noisy.targets[changed & (data.targets == one)], minlength=4) for one in range(4)])
    assert (np.diag(moves) == 0).all()
    others = moves[~np.eye(4, dtype=bool)]  # 250 each, with a standard deviation of 15
    assert others.min() > 250 - 60
    assert others.max() < 250 + 60
    again = with_label_noise(listed(3000, 3000, 3000, 3000, backwards=True), 0.25, seed=0)
    assert (again.targets[::-1] == noisy.targets).all()
    assert (with_label_noise(data, 0.25, seed=1).targets != noisy.targets).any()
