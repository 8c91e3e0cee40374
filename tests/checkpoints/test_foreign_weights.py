"""Weights of other programs, there and back; and files that would execute something execute nothing."""

import argparse
import datetime
import gzip
import hashlib
import io
import os
import random
import shutil
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from expkit.checkpoints.foreign_weights import WeightsRefused, export_weights, import_weights, read_weights
from expkit.checkpoints.reader import newest_intact, read_checkpoint
from expkit.core.manifest import CheckpointDamaged, manifest_bytes, manifest_path, read_manifest
from tests.checkpoints.pickles import malicious
from tests.checkpoints.states import same, state_of, write_checkpoint

ENDINGS = ["safetensors", "pt", "pth", "bin", "ckpt"]


def weights() -> dict[str, Tensor]:
    return dict(state_of(1)["model"])


# ---- there and back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_exported_weights_are_imported(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{ending}"
    path.write_text("an old one")
    export_weights(weights(), path)
    assert same(import_weights(path), weights())
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_others_read_what_is_exported(tmp_path: Path) -> None:
    model = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    for ending, load in {"safetensors": safetensors.torch.load_file, "pt": torch.load}.items():
        export_weights(model.state_dict(), tmp_path / f"w.{ending}")
        other = nn.Conv2d(3, 4, 2)
        other.load_state_dict(load(tmp_path / f"w.{ending}"))
        assert torch.equal(other.weight, model.weight)


def test_a_part_of_a_large_tensor_is_exported_alone(tmp_path: Path) -> None:
    export_weights({"w": torch.zeros(1_000_000)[:2]}, tmp_path / "w.pt")
    assert (tmp_path / "w.pt").stat().st_size < 10_000


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        OrderedDict,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {name: nn.Parameter(value) for name, value in state.items() if value.is_floating_point()},
    ],
    ids=["plain", "ordered", "in state_dict", "in model", "parameters"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torchs_own_files_are_imported(wrapped: Callable[[Any], Any], zipped: bool, tmp_path: Path) -> None:
    torch.save(wrapped(weights()), tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    imported = import_weights(tmp_path / "w.pt")
    assert imported
    assert same(imported, {name: weights()[name] for name in imported})
    assert not any(value.requires_grad for value in imported.values())


def test_the_weights_of_a_checkpoint_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, state_of(1), {})
    assert same(import_weights(path), weights())
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsRefused, match=r"c\.safetensors: its content does not match the digest"):
        import_weights(path)
    manifest_path(path).unlink()
    with pytest.raises(WeightsRefused, match=r"c\.safetensors: has no manifest"):
        import_weights(path)


# ---- refused with a reason -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "holds a list that is no state dict"),
        ({"a": 1}, "holds a dict that is no state dict"),
        ({0: torch.zeros(1)}, "holds a dict that is no state dict"),
        (torch.zeros(1), "holds a Tensor that is no state dict"),
        (nn.Linear(1, 1), "it asks for torch.nn.modules.linear.Linear, which can execute code"),
    ],
    ids=["list", "numbers", "keys", "tensor", "module"],
)
def test_what_is_no_state_dict_is_refused(content: Any, sentence: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsRefused, match=rf"w\.pt: .*{sentence}"):
        import_weights(tmp_path / "w.pt")


def test_a_script_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path)
    with pytest.raises(WeightsRefused, match=r"w\.pt: "):
        import_weights(path)


@pytest.mark.parametrize("ending", ["h5", "onnx", "", "PT"])
def test_other_endings_are_not_written(ending: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match=r"weights go to \.safetensors or"):
        export_weights(weights(), tmp_path / f"w.{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["w.pth.tar", "w.PT", "w", "w.safetensors", "w.model", "w.t7"])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_is_known_by_its_first_bytes(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if kind == "safetensors":
        safetensors.torch.save_file({key: value.clone() for key, value in weights().items()}, path)
    else:
        torch.save(weights(), path, _use_new_zipfile_serialization=kind == "zip")
    assert same(import_weights(path), weights())


def archive(compression: int, *members: tuple[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return data.getvalue()


def overlapping() -> bytes:
    """Return a zip file whose parts all lie in the same place."""
    data = archive(zipfile.ZIP_STORED, ("a/data.pkl", bytes(10_000)))
    begin = data.index(b"PK\1\2")
    entry, end = data[begin : data.index(b"PK\5\6")], data[data.index(b"PK\5\6") :]
    count = 500
    counts = struct.pack("<HHI", count, count, count * len(entry))
    return data[:begin] + entry * count + end[:8] + counts + end[16:]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(300), "it is an HDF5 file of Keras"),
        (gzip.compress(b"x" * 999), "it is compressed with gzip: unpack it first"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is the pointer of Git LFS: `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>", "it is a page of the web"),
        (b'{"a": 1}', "it is JSON"),
        (bytes(257) + b"ustar\x0000" + bytes(300), "torch's format before 0.1.10, .* load it with torch and save it"),
        (b"\x08\x07\x12\x07pytorch", "neither safetensors nor torch's own format"),
        (b"", "neither safetensors nor torch's own format"),
        (archive(zipfile.ZIP_DEFLATED, ("a/data.pkl", bytes(10**6))), "its parts are compressed"),
        (overlapping(), "its parts overlap"),
        (archive(zipfile.ZIP_STORED, ("word/document.xml", b"<x/>")), "it is a zip archive of something else"),
    ],
    ids=["hdf5", "gzip", "lfs", "html", "json", "tar", "onnx", "empty", "bomb", "overlap", "docx"],
)
def test_other_files_are_named(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth.tar"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match=rf"w\.pth\.tar: is damaged or no file .*{sentence}"):
        import_weights(path)


INSIDE = {
    "net": lambda state: {"net": state, "acc": 91.2, "epoch": 199},
    "model_state": lambda state: {"model_state": state, "optimizer_state": {"state": {0: {"m": state}}}},
    "network in a model": lambda state: {"model": {"network": state, "name": "x"}, "step": torch.tensor(3)},
    "an unknown key": lambda state: {"my_very_own": state, "epoch": torch.tensor(3), "lr": torch.tensor(0.1)},
    "torchvision's": lambda state: {
        "model": state, "args": argparse.Namespace(lr=0.1, path=Path("x"), names=["a"], more=argparse.Namespace()),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "epoch": 3, "scaler": None,
    },
    "timm's": lambda state: {
        "epoch": 3, "arch": "resnet18", "state_dict": state, "args": argparse.Namespace(a=1),
        "metric": np.float64(71.2), "when": datetime.datetime(2020, 1, 1), "version": 2,
    },
    "with counters": lambda state: {**state, "n_averaged": 3},
    "within itself": lambda state: (one := {"state_dict": state}) | {"again": one, "twice": {"again": one}},
}  # fmt: skip


@pytest.mark.parametrize("wrapped", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_weights_are_found_in_what_training_scripts_write(wrapped: Any, zipped: bool, tmp_path: Path) -> None:
    torch.save(wrapped(weights()), tmp_path / "w.pth.tar", _use_new_zipfile_serialization=zipped)
    assert same(import_weights(tmp_path / "w.pth.tar"), weights())


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "ema"])
def test_averaged_weights_come_first_and_it_is_said(name: str, tmp_path: Path) -> None:
    fresh = {key: value + 1 for key, value in weights().items()}
    torch.save({"state_dict": fresh, name: weights()}, tmp_path / "w.pth")
    found, note = read_weights(tmp_path / "w.pth")
    assert same(found, weights())
    assert note == f"took its part {name}; there is state_dict"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"generator": {"w": torch.ones(1)}, "critic": {"w": torch.ones(2)}},
            r"several state dicts \(generator, critic\)",
        ),
        ({"lr": 0.1, "epoch": 3}, "no state dict .* its keys: lr, epoch"),
        ({"model": torch.nn.Linear}, "it asks for torch.nn.modules.linear.Linear, which can execute code"),
        ({"w": torch.ones(2).to_sparse()}, "its w holds no plain numbers"),
        ({"w": torch.ones(2, device="meta")}, "its w holds no plain numbers"),
        ({"x" * 5000: 1}, "its keys: x{60}$"),
        ({str(n): n for n in range(99)}, "its keys: 0, 1, 2, 3, 4, 5 and 93 more"),
    ],
    ids=["several", "none", "class", "sparse", "meta", "long", "many"],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_what_is_inside_is_named(content: Any, sentence: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsRefused, match=sentence) as found:
        import_weights(tmp_path / "w.pth")
    assert len(str(found.value)) < 500


def test_a_file_that_names_one_mapping_in_many_places_takes_no_time(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    for _ in range(3):
        content = {str(number): content for number in range(2000)}
    content["0"]["0"]["self"] = content
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsRefused, match="no state dict"):
        import_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_missing_file_is_named(ending: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match=rf"w\.{ending}: there is no such file"):
        import_weights(tmp_path / f"w.{ending}")


def test_flipped_bits_in_torchs_file_are_found(tmp_path: Path) -> None:
    """torch.load itself takes nearly all of them. What a flip leaves as it was may be taken: padding, for one."""
    path, draw, refused = tmp_path / "w.pt", random.Random(0), 0
    export_weights(weights(), path)
    data = path.read_bytes()
    for byte in draw.sample(range(len(data)), 300):
        path.write_bytes(data[:byte] + bytes([data[byte] ^ 1 << draw.randrange(8)]) + data[byte + 1 :])
        try:
            assert same(import_weights(path), weights())
        except WeightsRefused:
            refused += 1
    print(f"{refused} of 300 refused, the others changed nothing")
    assert refused > 50


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_a_cut_file_is_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{ending}"
    export_weights(weights(), path)
    data = path.read_bytes()
    for length in [0, 1, len(data) - 1, *random.Random(0).sample(range(len(data)), 50)]:
        path.write_bytes(data[:length])
        with pytest.raises(WeightsRefused, match=rf"w\.{ending}: is damaged or no"):
            import_weights(path)


# ---- nothing executes ----------------------------------------------------------------------------------------------

FORMS = malicious("canary")


def test_there_are_many_forms() -> None:
    assert len(FORMS) >= 150


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that each form makes, in a folder of its own."""
    folder = tmp_path / "cage"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder / "canary"


def has_run(canary: Path) -> bool:
    """Return True if the cage holds anything; it is empty afterwards."""
    found = list(canary.parent.iterdir())
    for path in found:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return bool(found)


@pytest.mark.parametrize("form", FORMS)
def test_a_malicious_file_runs_nothing(form: str, canary: Path, tmp_path: Path) -> None:
    data = FORMS[form]()
    path = tmp_path / "w.pt"
    path.write_bytes(data)
    for unsafe in (path, io.BytesIO(data)):
        with warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            torch.load(unsafe, weights_only=False)
    assert has_run(canary), "the form itself must work, or the test says nothing"

    for ending in ENDINGS:
        with pytest.raises(WeightsRefused, match=rf"x\.{ending}: "):
            import_weights(path.rename(path.with_name(f"x.{ending}")))
        path.write_bytes(data)
    assert not has_run(canary)


@pytest.mark.parametrize("form", FORMS)
def test_a_malicious_checkpoint_runs_nothing(form: str, canary: Path, tmp_path: Path) -> None:
    """As the tensors' file with a manifest forged to vouch for it, and as the manifest."""
    data, path = FORMS[form](), tmp_path / "c" / "epoch_1.safetensors"
    path.parent.mkdir()
    write_checkpoint(path, state_of(1), {})
    facts = {"format": 2, **read_manifest(path), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_bytes(data)
    manifest_path(path).write_bytes(manifest_bytes(facts))
    with pytest.raises(CheckpointDamaged, match="is no checkpoint that expkit wrote"):
        read_checkpoint(path)
    manifest_path(path).write_bytes(data)
    with pytest.raises(CheckpointDamaged, match=r"epoch_1\.json: was cut or changed"):
        newest_intact(path.parent)
    assert not has_run(canary)
    assert os.listdir(path.parent)
