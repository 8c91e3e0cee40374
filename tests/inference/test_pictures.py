"""What `predict` takes from Python: every form of one image gives one answer, and what is none is a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import expkit
from expkit.data.decode import BadImage
from expkit.inference import Trained
from expkit.inference.locate import read_trained

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(PIXELS).permute(2, 0, 1).clone()


@pytest.fixture(scope="module")
def trained(small_run: expkit.Run) -> Trained:
    return small_run.load(device="cpu")


def saved(folder: Path) -> Path:
    Image.fromarray(PIXELS).save(folder / "image.png")
    return folder / "image.png"


FORMS: dict[str, Callable[[Path], Any]] = {
    "path": saved,
    "path as text": lambda folder: str(saved(folder)),
    "paths": lambda folder: [saved(folder)],
    "array of paths": lambda folder: np.array([str(saved(folder))]),
    "pillow": lambda _: Image.fromarray(PIXELS),
    "pillow, RGBA": lambda _: Image.fromarray(PIXELS).convert("RGBA"),
    "numpy": lambda _: PIXELS,
    "numpy, CHW": lambda _: TENSOR.numpy(),
    "numpy, RGBA": lambda _: np.concatenate([PIXELS, PIXELS[..., :1]], axis=2),
    "numpy, a view": lambda _: np.ascontiguousarray(PIXELS[:, ::-1])[:, ::-1],
    "numpy, float": lambda _: PIXELS / 255,
    "numpy, float16": lambda _: (PIXELS / 255).astype(np.float16),
    "numpy, uint16": lambda _: PIXELS.astype(np.uint16) * 257,
    "numpy, batch": lambda _: PIXELS[None],
    "tensor": lambda _: TENSOR,
    "tensor, HWC": lambda _: TENSOR.permute(1, 2, 0),
    "tensor, float": lambda _: TENSOR / 255,
    "tensor, double": lambda _: TENSOR.double() / 255,
    "tensor, half": lambda _: (TENSOR / 255).half(),
    "tensor, with gradient": lambda _: (TENSOR / 255).requires_grad_(),
    "tensor, batch": lambda _: TENSOR[None],
    "tensor, RGBA": lambda _: torch.cat([TENSOR, TENSOR[:1]]),
    "generator": lambda _: (image for image in [TENSOR]),
    "tuple": lambda _: (TENSOR,),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_image_has_one_answer(form: str, trained: Trained, tmp_path: Path) -> None:
    expected = trained.probabilities(trained.chain(TENSOR)[None])[0]
    (found,) = trained.predict(FORMS[form](tmp_path))
    assert [found[name] for name in trained.classes] == pytest.approx(expected.tolist(), abs=1e-6)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize(
    "grey",
    [
        PIXELS[..., 0], PIXELS[..., :1], PIXELS[..., 0][None], PIXELS[..., 0] / 255, TENSOR[0], TENSOR[:1],
        Image.fromarray(PIXELS[..., 0]), [Image.fromarray(PIXELS[..., 0])],
    ],
    ids=["(H, W)", "(H, W, 1)", "(1, H, W)", "float", "tensor", "(1, H, W) tensor", "L", "list"],
)  # fmt: skip
def test_grey_becomes_three_channels(grey: Any, trained: Trained) -> None:
    assert trained.predict(grey) == trained.predict(TENSOR[:1].expand(3, -1, -1))


def test_many_are_many(trained: Trained, tmp_path: Path) -> None:
    dark = TENSOR // 2
    one, other = trained.predict(TENSOR)[0], trained.predict(dark)[0]
    assert trained.predict([saved(tmp_path), dark, Image.fromarray(PIXELS)]) == [one, other, one]
    assert trained.predict(torch.stack([TENSOR, dark])) == [one, other]
    assert trained.predict([torch.stack([TENSOR, dark]), PIXELS]) == [one, other, one]
    assert trained.predict([]) == trained.predict(iter(())) == []


def test_a_square_of_three_is_read_as_its_library_has_it(trained: Trained) -> None:
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3) * 9
    assert torch.equal(trained.seen(image), trained.chain(torch.from_numpy(image).permute(2, 0, 1)))
    assert torch.equal(trained.seen(torch.from_numpy(image)), trained.chain(torch.from_numpy(image)))


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (None, "images: expected paths, .* got None"),
        (3, "images: expected paths, .* got 3"),
        (b"\x89PNG", r"images: expected paths, .* got a bytes; Image.open\(io.BytesIO\(data\)\)"),
        ({"a": TENSOR}, "got a dict"),
        ([TENSOR, None], r"images\[1\]: expected paths"),
        ([[[[[TENSOR]]]]], "lists within lists"),
        (PIXELS > 9, "holds bool values; expected uint8 from 0 to 255 or floats from 0 to 1"),
        (TENSOR > 9, "holds bool values"),
        (TENSOR.long(), "holds int64 values"),
        (PIXELS.astype(np.int32), "holds int32 values"),
        (TENSOR.to(torch.complex64), "holds complex64 values"),
        (TENSOR.float(), "holds floats from 0 to 255; expected floats from 0 to 1, before normalisation"),
        (TENSOR / 255 * 4 - 2, "holds floats from -2 to 2; "),
        (TENSOR / 255 * torch.nan, "holds NaN or infinite values"),
        (torch.full((3, 4, 4), torch.inf), "holds floats from inf to inf"),
        (TENSOR[:2], r"has the shape \(2, 40, 36\); expected \(H, W\), \(H, W, C\)"),
        (torch.zeros(5, 40, 36), r"has the shape \(5, 40, 36\)"),
        (torch.zeros(3), r"has the shape \(3,\)"),
        (torch.zeros(1, 1, 3, 4, 4), r"has the shape \(1, 1, 3, 4, 4\)"),
        (torch.zeros(3, 0, 4), r"has the shape \(3, 0, 4\)"),
        (TENSOR.float().to_sparse(), "is a tensor without plain pixels"),
        (TENSOR.to("meta"), "is a tensor without plain pixels"),
    ],
    ids=str,
)
def test_what_is_no_image_is_refused(images: Any, sentence: str, trained: Trained) -> None:
    with pytest.raises(expkit.ConfigError, match=sentence) as found:
        trained.predict(images)
    assert "\n" not in str(found.value)


def test_a_file_that_cannot_be_read_is_named(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("nothing")
    for path in (tmp_path / "no.png", tmp_path / "gone.png", tmp_path):
        with pytest.raises(BadImage, match=str(path)):
            trained.predict([path])
    data = saved(tmp_path).read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(BadImage, match=r"cut\.png"):
        trained.predict(image)


def test_the_input_of_one_image_alone(trained: Trained) -> None:
    assert trained.transforms(PIXELS).shape == (3, 32, 32)
    for several in (torch.stack([TENSOR] * 2), [TENSOR] * 2, []):
        with pytest.raises(expkit.ConfigError, match=r"expected one image, got (several|none)"):
            trained.transforms(several)  # type: ignore[arg-type]


def test_a_misspelt_choice_is_refused(trained: Trained, small_run: expkit.Run) -> None:
    with pytest.raises(expkit.ConfigError, match="views: expected one of none, flip, five_crop, got 'flips'"):
        trained.predict(TENSOR, "flips")  # type: ignore[arg-type]
    with pytest.raises(expkit.ConfigError, match="checkpoint: expected one of best, last, newest, got 'first'"):
        small_run.load("first")  # type: ignore[arg-type]


def test_the_newest_is_the_last(small_run: expkit.Run) -> None:
    assert read_trained(small_run.folder, "newest").path == read_trained(small_run.folder, "last").path
    assert small_run.load("newest").path == small_run.load("last").path
    assert expkit.load(small_run, "newest").path == max((small_run.folder / "checkpoints").glob("*.safetensors"))
