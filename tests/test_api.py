"""The public names: few, typed, documented, light to import; training and loading from Python."""

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import expkit
from tests.inference.runs import overrides

NAMES = ["ConfigError", "Run", "Trained", "TrainingFailed", "load", "train"]


def test_the_public_names_are_these() -> None:
    assert expkit.__all__ == NAMES
    for name in NAMES:
        assert inspect.getdoc(getattr(expkit, name)), name
    assert (Path(expkit.__file__).parent / "py.typed").is_file()


def test_every_public_function_is_annotated() -> None:
    for function in (expkit.load, expkit.train, expkit.Run.load, expkit.Trained.predict, expkit.Trained.transforms):
        signature = inspect.signature(function)
        assert signature.return_annotation is not signature.empty, function
        for parameter in signature.parameters.values():
            assert parameter.name == "self" or parameter.annotation is not parameter.empty, (function, parameter)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        expkit.trian  # noqa: B018


def test_the_import_brings_no_torch() -> None:
    code = "import expkit, sys; print('torch' in sys.modules, 'hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_train_returns_the_run_and_load_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = expkit.train(overrides(tmp_path))
    assert run.status == "finished"
    assert run.folder.is_dir()
    trained = run.load(device="cpu")
    assert trained.classes == ("circle", "cross", "square", "star", "triangle")
    assert expkit.load(str(run.folder), "last").path.parent == run.folder / "checkpoints"
    picture = next((tmp_path / "shapes").rglob("*.jpg"))
    model_input = trained.transforms(picture)
    assert model_input.dtype == torch.float32
    assert model_input.shape == (3, 32, 32)
    assert torch.equal(model_input, trained.transforms(Image.open(picture)))
    found = trained.predict([picture, Image.fromarray(np.zeros((50, 60), dtype=np.uint8))])
    assert [sum(one.values()) for one in found] == pytest.approx([1, 1])
    by_hand = trained.model(model_input[None]).detach().softmax(1)[0]
    assert found[0][trained.classes[int(by_hand.argmax())]] == pytest.approx(float(by_hand.max()), abs=1e-6)
    assert next(iter(found[0])) == trained.classes[int(by_hand.argmax())]


def test_a_mistake_is_a_config_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(expkit.ConfigError, match=r"model\.width: expected an integer"):
        expkit.train(["model.width=wide"])
    assert not (tmp_path / "outputs").exists()


def test_ranks_train_and_return_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("EXPKIT_LONG") != "1":
        pytest.skip("starts several processes: EXPKIT_LONG=1 runs it")
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    run = expkit.train([*overrides(tmp_path), "device=multi_cpu"])
    assert signal.getsignal(signal.SIGINT) is before
    assert (run.status, sorted(run.scores)[-1]) == ("finished", "val/loss")
    assert len(run.load(device="cpu").predict([next((tmp_path / "shapes").rglob("*.jpg"))])) == 1
    with pytest.raises(expkit.ConfigError, match=r"checkpoint\.monitor: there is no score 'nonsense'"):
        expkit.train([*overrides(tmp_path), "device=multi_cpu", "checkpoint.monitor=nonsense"])
    with pytest.raises(expkit.TrainingFailed, match=r"the loss became"):
        expkit.train([*overrides(tmp_path), "device=multi_cpu", "optimizer=sgd", "optimizer.lr=1e30"])


def test_ranks_that_cannot_be_started_from_here_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(expkit.ConfigError, match="multi_node is for the command line"):
        expkit.train(["device=multi_node", "device.endpoint=localhost:29400"])
    with ThreadPoolExecutor(1) as thread, pytest.raises(expkit.ConfigError, match="from the main thread only"):
        thread.submit(expkit.train, ["device=multi_cpu"]).result()
    assert not (tmp_path / "outputs").exists()


def test_a_run_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_files: Callable[..., Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = image_files("photos", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(5)))
    for broken in (root / "cat").glob("[1-4].jpg"):
        broken.write_bytes(b"nothing")
    with pytest.raises(expkit.TrainingFailed, match="an image cannot be read") as failed:
        expkit.train(["dataset=image_folder", f"dataset.root={root}", "epochs=1", "model.width=4", "logger=none"])
    assert failed.value.run.status == "failed"
