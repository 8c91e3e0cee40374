"""Weights of other programs, there and back; and files that would execute something execute nothing."""

import hashlib
import io
import os
import random
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from expkit.checkpoints import (
    CheckpointDamaged,
    WeightsRefused,
    export_weights,
    import_weights,
    newest_intact,
    read_checkpoint,
    write_checkpoint,
)
from expkit.checkpoints.manifest import manifest_bytes, manifest_path, read_manifest
from tests.checkpoints.pickles import malicious
from tests.checkpoints.states import same, state_of

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
def test_other_endings_are_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{ending}"
    with pytest.raises(WeightsRefused, match=r"weights are in \.safetensors or \.pt, \.pth, \.bin, \.ckpt, not"):
        import_weights(path)
    with pytest.raises(WeightsRefused, match=r"weights go to \.safetensors or"):
        export_weights(weights(), path)
    assert not path.exists()


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
    """Say whether the cage holds anything; it is empty afterwards."""
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
