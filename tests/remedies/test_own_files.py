"""What is said of a data set of one's own, of weights that cannot be read or fetched, and what then is done."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from expkit.checkpoints.foreign_weights import import_weights
from expkit.core.errors import ConfigError
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets import load
from expkit.data.labels import check_image, check_labels
from expkit.models.pretrained import check_weights_file, find_weights, weights_file
from tests.data.test_labels import Drawn
from tests.remedies.followed import checked, follow
from tests.remedies.told import fault_of, says

MANY, NAMES = np.tile(np.eye(3, dtype=np.float32), (4, 1)), ["a", "b", "c"]
ONE = Drawn([0, 1, 2], NAMES)


class Unnamed(Drawn):
    """One whose author forgot to name its images."""

    def sample_name(self, index: int) -> str:
        raise NotImplementedError


# What a data set gives, what is said, and what it then gives.
LABELS: list[tuple[Any, str, ImageDataset | Splits]] = [
    ((ONE, None), "a dataset factory returns expkit.data.dataset.Splits", Splits(ONE)),
    (Drawn(MANY, NAMES), 'for several labels an image, set task = "multilabel"', Drawn(MANY, NAMES, "multilabel")),
    (Drawn(MANY, NAMES, "multi_label"), "did you mean 'multilabel'?", Drawn(MANY, NAMES, "multilabel")),
    (Drawn(MANY, NAMES, "x"), "there is single_label, multilabel", Drawn(MANY, NAMES, "multilabel")),
    (Drawn(MANY[:, :1], ["a"], "multilabel"), 'use task = "single_label" with two classes, present and absent',
     Drawn(1 - MANY[:, 0], ["present", "absent"])),
    (Drawn(MANY[:, :2], NAMES, "multilabel"), "must be (N, 3), one column a class", Drawn(MANY, NAMES, "multilabel")),
    (Drawn(MANY / 2, NAMES, "multilabel"), "must be 0 or 1 for each class", Drawn(MANY, NAMES, "multilabel")),
    (Drawn([0, 1, 3], NAMES), "must be a class index from 0 to 2; wrong in 1 image, e.g. 3 for 'drawn/2'", ONE),
    (Drawn(["a", "b"], NAMES), "must be whole numbers", ONE),
    (Drawn([0, 1, 2], "abc"), "must be a list of texts", ONE),
    (Drawn([0, 1], [0, 1]), "must be texts, got 0 (int)", Drawn([0, 1], ["0", "1"])),
    (Splits(ONE, Drawn([], NAMES)), "return None for a split that is not there", Splits(ONE, None)),
    (Splits(ONE, Drawn(MANY, NAMES, "multilabel")), "task is single_label in train and multilabel in val",
     Splits(ONE, ONE)),
    (Splits(ONE, Drawn([0, 1], ["a", "c"])), "differ between train and val: b and c", Splits(ONE, ONE)),
    (Unnamed([0, 1, 2], NAMES), "has no sample_name(); it names each image for messages", ONE),
]  # fmt: skip


def splits_of(given: Any) -> Any:
    return Splits(given) if isinstance(given, ImageDataset) else given


@pytest.mark.parametrize(("given", "said", "then"), LABELS, ids=[row[1] for row in LABELS])
def test_the_data_can_be_trained_on_then(given: Any, said: str, then: ImageDataset | Splits) -> None:
    with pytest.raises(ConfigError) as raised:
        check_labels(splits_of(given), "mine")
    assert said in str(raised.value)
    check_labels(splits_of(then), "mine")


def test_an_image_is_what_is_said_then() -> None:
    with pytest.raises(ConfigError, match=re.escape("image() must return (3, height, width) torch.uint8")):
        check_image(torch.zeros(16, 16, 3), "drawn/0")
    check_image(torch.zeros(3, 16, 16, dtype=torch.uint8), "drawn/0")


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


GOOD = {"weight": torch.zeros(2)}
WEIGHTS = [
    ({"first": GOOD, "second": {**GOOD}}, "holds several state dicts (first, second); save the one you mean by itself"),
    ([1, 2], "is no state dict (tensors by name)"),
]


@pytest.mark.parametrize(("content", "said"), WEIGHTS, ids=[row[1] for row in WEIGHTS])
def test_the_weights_are_read_then(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(saved(content))
    with pytest.raises(ConfigError) as raised:
        import_weights(path)
    assert said in str(raised.value)
    path.write_bytes(saved(GOOD))
    assert list(import_weights(path)) == ["weight"]


@pytest.mark.parametrize(
    ("content", "said"), [(b"damaged", "; remove it to download it again"), (saved([1]), "not a state dict; remove it")]
)
def test_damaged_weights_of_torch_are_removed_then(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = find_weights("resnet18", "DEFAULT")
    path = weights_file(weights)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        check_weights_file(weights)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)
    path.unlink()
    fetched = saved(GOOD)
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, to, *given, **more: Path(to).write_bytes(fetched))
    check_weights_file(weights)
    assert path.read_bytes() == fetched


def test_weights_that_cannot_be_fetched_are_put_there_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*given: object, **named: object) -> None:
        raise OSError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    typed = ["model=resnet18", "model.weights=DEFAULT", "transforms.image_size=32"]
    message = fault_of(typed)
    assert says(message, "; put the file at {}, or set model.weights=null")
    assert not fault_of([*typed, "model.weights=null"])
    place = Path(message.partition("put the file at ")[2].partition(", or set")[0])
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(resnet18().state_dict(), place)
    assert not fault_of(typed)


def test_what_is_not_downloaded_is_asked_for_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["dataset=cifar10", "dataset.root=cifar", "dataset.download=false"]
    with pytest.raises(ConfigError, match=r"put its files there, or set dataset\.download=true") as raised:
        load(checked(typed))
    then = follow(typed, "dataset.download=true", str(raised.value), tmp_path)
    assert checked(then)["download"] is True
