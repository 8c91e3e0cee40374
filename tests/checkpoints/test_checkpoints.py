"""Checkpoints: the state comes back exactly, and what is damaged is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from expkit.checkpoints import CheckpointDamaged, Checkpoints, read_checkpoint, write_checkpoint


def state() -> dict[str, Any]:
    tied = torch.randn(3, 4)
    laid_out = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    optimizer = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": laid_out}},
        "param_groups": [{"betas": (0.9, 0.99)}],
    }
    return {"model": {"a.weight": tied, "b.weight": tied}, "optimizer": optimizer, "epoch": 3, "best_score": None}


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    before = state()
    write_checkpoint(tmp_path / "x.safetensors", before, {"step": 7})
    after, facts = read_checkpoint(tmp_path / "x.safetensors")
    assert facts["step"] == 7
    assert torch.equal(after["model"]["b.weight"], before["model"]["b.weight"])
    assert torch.equal(after["optimizer"]["state"][0]["exp_avg"], before["optimizer"]["state"][0]["exp_avg"])
    assert after["optimizer"]["param_groups"] == before["optimizer"]["param_groups"]
    assert (after["epoch"], after["best_score"]) == (3, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "x.safetensors"]


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not PosixPath"):
        write_checkpoint(tmp_path / "x.safetensors", {"path": tmp_path}, {})


@pytest.mark.parametrize("damage", ["bit", "cut", "no manifest", "broken manifest"])
def test_damage_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, state(), {"step": 7})
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[-5] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "no manifest":
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text("{")
    with pytest.raises(CheckpointDamaged, match=r"x\.(safetensors|json)"):
        read_checkpoint(path)


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "c", "accuracy", higher_is_better=True)
    best = [
        kept.save({}, {"epoch": epoch, "step": epoch}, {"accuracy": score})
        for epoch, score in enumerate([0.5, 0.9, 0.7])
    ]
    assert best == [True, True, False]
    assert sorted(path.name for path in (tmp_path / "c").glob("*.safetensors")) == [
        "epoch_0001_step_00000001.safetensors",
        "epoch_0002_step_00000002.safetensors",
    ]
