"""Data sets and weights that other programs wrote: whatever their files hold, it is a sentence, and nothing is run.

LSUN is not among them: lmdb, which reads its files as mapped memory, ends the process itself on damaged pages.
"""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision import datasets as tv

from expkit.checkpoints.foreign_weights import import_weights
from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.data.decode import BadImage, Decoder
from expkit.models.pretrained import check_weights_file, find_weights, weights_file
from tests.mutations import mutations, tried

IS_LONG = bool(os.environ.get("EXPKIT_LONG"))
FEW = 500 if IS_LONG else 20
MANY = 500 if IS_LONG else 60


class Hostile:
    """Is pickled as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def used(node: dict[str, Any]) -> None:
    """Read a data set, with what a run asks of its samples."""
    splits = load(node)
    for data in (splits.train, splits.val):
        for index in range(min(len(data or ()), 2)):
            assert data is not None
            data.sample_name(index), data.location(index)
            with suppress(BadImage):
                data.image(index)


def idx(array: np.ndarray) -> bytes:
    """Return an array in the idx format of MNIST."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    folder = root / "MNIST/raw"
    folder.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(np.zeros((12, 28, 28), np.uint8)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(12, dtype=np.uint8) % 10))
    return folder / name, {"name": "mnist"}


def old_mnist(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Write what torchvision wrote before 0.9."""
    folder = root / "MNIST/processed"
    folder.mkdir(parents=True)
    for one in ("training.pt", "test.pt"):
        torch.save((torch.zeros(12, 28, 28, dtype=torch.uint8), torch.arange(12) % 10), folder / one)
    return folder / name, {"name": "mnist"}


def usps(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    import bz2

    line = " ".join(f"{place}:-1.0" for place in range(1, 257))
    for one in ("usps.bz2", "usps.t.bz2"):
        (root / one).write_bytes(bz2.compress("".join(f"{number % 10 + 1} {line}\n" for number in range(12)).encode()))
    return root / name, {"name": "usps"}


def written(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 60 + number).convert("RGB").save(root / name)


def gtsrb(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    base = root / "gtsrb"
    written(base, *(f"GTSRB/Training/{c:05}/{n}.ppm" for c in range(3) for n in range(3)))
    written(base, *(f"GTSRB/Final_Test/Images/{n}.ppm" for n in range(3)))
    rows = [f"{n}.ppm;16;16;1;1;15;15;{n}" for n in range(3)]
    (base / name).write_text("\n".join(["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId", *rows]) + "\n")
    return base / name, {"name": "gtsrb"}


def food101(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    base = root / "food-101"
    names = {c: [f"{c}/{n}" for n in range(3)] for c in ("pie", "soup")}
    written(base / "images", *(f"{one}.jpg" for some in names.values() for one in some))
    (base / "meta").mkdir()
    for split in ("train", "test"):
        (base / f"meta/{split}.json").write_text(json.dumps(names))
    return base / name, {"name": "food101"}


def pets(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    base = root / "oxford-iiit-pet"
    written(base / "images", *(f"{c}_{n}.jpg" for c in ("Persian", "pug") for n in range(3)))
    (base / "annotations").mkdir()
    lines = "".join(f"{c}_{n} {i + 1} {i + 1} 1\n" for i, c in enumerate(("Persian", "pug")) for n in range(3))
    for split in ("trainval", "test"):
        (base / f"annotations/{split}.txt").write_text(lines)
    return base / name, {"name": "oxford_pets"}


def dtd(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    base = root / "dtd/dtd"
    names = [f"{c}/{c}_{n}.jpg" for c in ("banded", "dotted") for n in range(3)]
    written(base / "images", *names)
    (base / "labels").mkdir()
    for split in ("train1", "val1"):
        (base / f"labels/{split}.txt").write_text("\n".join(names) + "\n")
    return base / name, {"name": "dtd"}


def aircraft(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    base = root / "fgvc-aircraft-2013b/data"
    written(base / "images", *(f"{n}.jpg" for n in range(6)))
    (base / "variants.txt").write_text("707-320\nA380\n")
    for split in ("train", "val"):
        lines = (f"{n} {('707-320', 'A380')[n % 2]}\n" for n in range(6))
        (base / f"images_variant_{split}.txt").write_text("".join(lines))
    return base / name, {"name": "fgvc_aircraft"}


TORCHVISION: dict[str, tuple[Callable[[Path, str], tuple[Path, dict[str, Any]]], str]] = {
    "images of MNIST": (mnist, "train-images-idx3-ubyte"),
    "labels of MNIST": (mnist, "t10k-labels-idx1-ubyte"),
    "MNIST as it was": (old_mnist, "training.pt"),
    "USPS": (usps, "usps.bz2"),
    "CSV of GTSRB": (gtsrb, "GT-final_test.csv"),
    "JSON of Food-101": (food101, "meta/train.json"),
    "list of pets": (pets, "annotations/test.txt"),
    "list of DTD": (dtd, "labels/train1.txt"),
    "list of aircraft": (aircraft, "images_variant_train.txt"),
    "classes of aircraft": (aircraft, "variants.txt"),
}


@pytest.mark.parametrize("kind", TORCHVISION)
def test_files_that_torchvision_reads(kind: str, tmp_path: Path) -> None:
    make, name = TORCHVISION[kind]
    path, node = make(tmp_path, name)
    node |= {"root": str(tmp_path), "val_fraction": 0.5}
    used(node)  # as it should be
    for changed in mutations(path.read_bytes(), FEW, seed=21):
        tried(lambda: used(node), changed, path)


def test_batches_of_cifar_that_are_others_are_not_unpickled(tmp_path: Path) -> None:
    folder = tmp_path / tv.CIFAR10.base_folder
    folder.mkdir()
    for name in ("batches.meta", *(name for name, _ in [*tv.CIFAR10.train_list, *tv.CIFAR10.test_list])):
        (folder / name).write_bytes(pickle.dumps(Hostile(tmp_path / "mark")))
    with pytest.raises(ConfigError, match="cifar10 is not in"):
        load({"name": "cifar10", "root": str(tmp_path)})
    assert not (tmp_path / "mark").exists()


def saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


STATE = {"conv.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
WEIGHTS: dict[str, bytes] = {
    "torch": saved({"state_dict": STATE, "epoch": 3, "optimizer": {"lr": 0.1}}),
    "torch before 1.6": saved(STATE, _use_new_zipfile_serialization=False),
    "safetensors": safetensors.torch.save(STATE),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_others(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    for changed in mutations(WEIGHTS[kind], MANY, seed=22):
        tried(lambda: import_weights(path), changed, path)
    path.write_bytes(saved({"state_dict": Hostile(tmp_path / "mark")}))
    with pytest.raises(ConfigError, match="which can execute code"):
        import_weights(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["torch", "torch before 1.6"])
def test_weights_where_torch_keeps_its_own(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = find_weights("resnet18", "DEFAULT")
    path = weights_file(weights)
    path.parent.mkdir(parents=True)
    for changed in mutations(WEIGHTS[kind], MANY, seed=23):
        tried(lambda: check_weights_file(weights), changed, path)


FORMATS = {
    "JPEG": "RGB", "PNG": "RGBA", "GIF": "P", "WEBP": "RGB", "TIFF": "RGB", "BMP": "RGB", "PPM": "RGB", "TGA": "RGB",
    "ICO": "RGBA", "JPEG2000": "RGB", "PCX": "RGB", "SGI": "RGB", "DDS": "RGBA",
}  # fmt: skip
DEEP = {"PNG": "I;16", "TIFF": "I;16", "PPM": "I;16"}


@pytest.mark.parametrize("deep", [False, True])
def test_images(deep: bool) -> None:
    for form, mode in (DEEP if deep else FORMATS).items():
        file = io.BytesIO()
        image = Image.effect_noise((16, 16), 90)
        image.convert("I").convert(mode) if deep else image.convert("RGB").convert(mode).save(file, form)
        if deep:
            Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 200).save(file, form)
        for changed in mutations(file.getvalue(), 500 if IS_LONG else 10, seed=24):
            with suppress(BadImage):
                assert Decoder().decode(changed, "x").shape[0] == 3


def on_disk(root: Path, name: str) -> tuple[Path, dict[str, Any]]:
    library = pytest.importorskip("datasets")
    images = [Image.effect_noise((8, 8), 90).convert("RGB") for _ in range(4)]
    table = library.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}).cast_column("image", library.Image())
    library.DatasetDict({"train": table}).save_to_disk(str(root))
    (path,) = root.rglob(f"*{name}")
    return path, {"name": "huggingface", "root": str(root), "val_fraction": 0.5}


@pytest.mark.parametrize("name", ["dataset_dict.json", "dataset_info.json", "state.json", "arrow"])
def test_what_save_to_disk_wrote(name: str, tmp_path: Path) -> None:
    path, node = on_disk(tmp_path, name)
    used(node)
    for changed in mutations(path.read_bytes(), FEW, seed=26):
        tried(lambda: used(node), changed, path)


@pytest.mark.parametrize("end", [-1, 2**31 - 1, 0])
def test_offsets_of_arrow_that_lead_out_of_the_file(end: int, tmp_path: Path) -> None:
    """Arrow follows them without a look, and may end the process."""
    path, node = on_disk(tmp_path, "arrow")
    rows = pytest.importorskip("datasets").load_from_disk(str(tmp_path))["train"]
    sizes = [len(one.as_py()) for one in rows.data.column("image").combine_chunks().field("bytes")]
    offsets = np.cumsum([0, *sizes]).astype(np.int32)
    damaged = np.array([*offsets[:2], end, *offsets[3:]], np.int32)
    content = path.read_bytes()
    assert content.count(offsets.tobytes()) == 1
    path.write_bytes(content.replace(offsets.tobytes(), damaged.tobytes()))
    with pytest.raises(ConfigError, match=r"the split train is damaged \(.*\); save or copy it again"):
        used(node)
