"""python -m expkit export: written, read back by the format's own library, and equal."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image

import expkit
from expkit.checkpoints.foreign_weights import import_weights
from expkit.cli.export import main
from expkit.inference import load_trained
from expkit.inference.export import formats

SUFFIX = {word: one.suffix for word, one in formats.FORMATS.items()}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


@pytest.fixture
def picture(small_run: expkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image of another size than the model sees; the command is given beside it."""
    monkeypatch.chdir(tmp_path)
    path = next((small_run.folder.parents[1] / "shapes").rglob("*.jpg"))
    with Image.open(path) as image:
        image.resize((57, 44)).save("picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("preprocess", ["none", "normalize", "full"])
def test_onnx(small_run: expkit.Run, picture: Path, capsys: pytest.CaptureFixture[str], preprocess: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert run(small_run.folder, "--to", "onnx", "--preprocess", preprocess, "--output", "m.onnx") == 0
    assert "equal" in (out := capsys.readouterr().out)
    assert "over 16 images" in out
    session = onnxruntime.InferenceSession("m.onnx")
    shape = ["batch", "height", "width", 3] if preprocess == "full" else ["batch", 3, 32, 32]
    assert sorted(map(str, session.get_inputs()[0].shape)) == sorted(map(str, shape))
    assert session.get_outputs()[0].shape == [
        "batch",
        len(json.loads(session.get_modelmeta().custom_metadata_map["classes"])),
    ]
    trained = load_trained(small_run.folder, device="cpu")
    given = session.get_modelmeta().custom_metadata_map
    assert json.loads(given["classes"]) == list(trained.classes)
    assert json.loads(given["expkit"])["transforms"]["image_size"] == 32
    image = trained.transforms(picture)[None] if preprocess == "none" else trained.seen(picture)[None]
    if preprocess == "full":
        image = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)[None]
    for count in (1, 3):
        logits = session.run(None, {"images": image.repeat(count, 1, 1, 1).contiguous().numpy()})[0]
        probabilities = torch.from_numpy(logits).softmax(1)
        expected = trained.probabilities(trained.seen(picture)[None]).repeat(count, 1)
        assert torch.allclose(probabilities, expected, atol=2e-2 if preprocess == "full" else 1e-5)


@pytest.mark.parametrize("preprocess", ["none", "full"])
def test_torch_export(small_run: expkit.Run, picture: Path, preprocess: str) -> None:
    assert run(small_run.folder, "--to", "torch_export", "--preprocess", preprocess, "--images", picture) == 0
    more = {"expkit": ""}
    program = torch.export.load(f"{small_run.folder.name}.pt2", extra_files=more)
    trained = load_trained(small_run.folder, device="cpu")
    assert json.loads(more["expkit"])["classes"] == list(trained.classes)
    image = trained.transforms(picture)[None]
    if preprocess == "full":
        image = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)[None]
    given = program.module()(image).softmax(1)
    assert torch.allclose(given, trained.probabilities(trained.seen(picture)[None]), atol=2e-2)


@pytest.mark.parametrize("word", ["safetensors", "state_dict"])
def test_weights(small_run: expkit.Run, picture: Path, word: formats.FormatName) -> None:
    path = Path("m" + SUFFIX[word])
    assert run(small_run.folder, "--to", word, "--output", path) == 0
    given, expected = import_weights(path), load_trained(small_run.folder, device="cpu").model.state_dict()
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)
    if word == "safetensors":
        with safetensors.safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
            told = json.loads(file.metadata()["expkit"])
    else:
        told = json.loads(path.with_suffix(".json").read_text())
    assert told["classes"] == ["circle", "cross", "square", "star", "triangle"]


def test_a_file_that_differs_is_told_of(
    small_run: expkit.Run, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small_run.folder, "--to", "torch_export", "--preprocess", "full", "--tolerance", 0) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_several_labels(small_multilabel_run: expkit.Run, tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    assert run(small_multilabel_run.folder, "--to", "torch_export", "--output", path) == 0
    more = {"expkit": ""}
    torch.export.load(path, extra_files=more)
    assert "sigmoid" in json.loads(more["expkit"])["output"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to", "safetensors", "--preprocess", "full"], "safetensors holds weights alone"),
        (["--to", "state_dict", "--output", "m.onnx"], "ends in .pt"),
        (["--to", "state_dict", "--images", "gone.jpg"], "there is no file or folder 'gone.jpg'"),
    ],
    ids=str,
)
def test_a_mistake_ends_in_a_sentence(
    small_run: expkit.Run, picture: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run(small_run.folder, *words) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in Path.cwd().iterdir()] == ["picture.png"]
