"""torchvision's data sets, read from small files in their real formats."""

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets as tv

from expkit.core.errors import ConfigError
from expkit.data.datasets import load


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array in the idx format of MNIST (magic: 0, 0, type 8, dimensions; sizes big-endian)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def test_mnist(tmp_path: Path) -> None:
    images = np.arange(12 * 28 * 28, dtype=np.uint8).reshape(12, 28, 28)
    labels = np.arange(12, dtype=np.uint8) % 10
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / "MNIST/raw" / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / "MNIST/raw" / f"{prefix}-labels-idx1-ubyte", labels)
    splits = load({"name": "mnist", "root": str(tmp_path)})
    assert splits.train.image(3).shape == (3, 28, 28)
    assert (splits.train.image(3)[0].numpy() == images[3]).all()
    assert splits.train.targets.tolist() == labels.tolist()
    assert splits.train.class_names[7] == "7 - seven"


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / tv.CIFAR10.base_folder
    folder.mkdir()
    pixels = np.arange(10 * 3072, dtype=np.int64).astype(np.uint8).reshape(10, 3072)

    def write(name: str, content: dict[str, object]) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def write_all(names: list[list[str]]) -> list[list[str]]:
        return [[name, write(name, {"data": pixels, "labels": list(range(10))})] for name, _ in names]

    # torchvision refuses files whose md5 it does not know, so that no foreign pickle is ever read; ours are new.
    monkeypatch.setattr(tv.CIFAR10, "train_list", write_all(tv.CIFAR10.train_list))
    monkeypatch.setattr(tv.CIFAR10, "test_list", write_all(tv.CIFAR10.test_list))
    digest = write("batches.meta", {"label_names": [f"class {number}" for number in range(10)]})
    monkeypatch.setattr(tv.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": digest})
    splits = load({"name": "cifar10", "root": str(tmp_path)})
    assert len(splits.train) == 50
    assert splits.train.in_memory
    assert (splits.train.image(1).numpy() == pixels[1].reshape(3, 32, 32)).all()


def test_what_is_not_there_says_where_it_belongs(tmp_path: Path) -> None:
    for name in ("cifar10", "mnist", "imagenet", "svhn", "flowers102"):
        with pytest.raises(ConfigError) as caught:
            load({"name": name, "root": str(tmp_path)})
        assert len(caught.value.faults) == 1
        assert str(tmp_path) in caught.value.faults[0]
        assert "\n" not in caught.value.faults[0]


def test_fake_has_the_labels_that_it_shows() -> None:
    splits = load({"name": "fake", "images": 20, "image_size": 8, "num_classes": 3})
    assert len(splits.train) == 20
    drawn = tv.FakeData(20, (3, 8, 8), 3)
    assert splits.train.targets.tolist() == [int(drawn[index][1]) for index in range(20)]
    assert (splits.train.image(4).permute(1, 2, 0).numpy() == np.array(drawn[4][0])).all()
