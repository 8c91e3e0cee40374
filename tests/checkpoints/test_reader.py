"""What is torn or rotten is refused and named, and the checkpoint before it is taken."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from expkit.checkpoints.reader import newest_intact, read_checkpoint
from expkit.core.manifest import CheckpointDamaged, manifest_bytes, manifest_path, read_manifest
from tests.checkpoints.states import same, state_of, write_checkpoint

REASONS = {
    "safetensors": "has [0-9]+ bytes, its manifest says [0-9]+|its content does not match the digest in its manifest",
    "json": "was cut or changed: it does not match the digest at its end",
}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkpoints, the older one first."""
    older, newer = tmp_path / "epoch_1.safetensors", tmp_path / "epoch_2.safetensors"
    for number, path in enumerate((older, newer), start=1):
        write_checkpoint(path, state_of(number), {"number": number, "step": number, "class_names": ["cat", "dög"]})
    return older, newer


def flips(data: bytes) -> Iterator[bytes]:
    """One bit at 300 random places, and one in each of the first and the last 64 bytes."""
    draw = random.Random(0)
    ends = [*range(64), *range(len(data) - 64, len(data))]
    places = [(byte, draw.randrange(8)) for byte in [*draw.sample(range(len(data)), 300), *ends]]
    for byte, bit in places:
        yield data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]


def cuts(data: bytes) -> Iterator[bytes]:
    """200 lengths: none, all but one byte, and those between."""
    for length in [0, len(data) - 1, *random.Random(0).sample(range(1, len(data) - 1), 198)]:
        yield data[:length]


def zeros(data: bytes) -> Iterator[bytes]:
    """A tail that was never written out: 50 lengths, the whole file among them."""
    for length in [1, len(data), *random.Random(0).sample(range(2, len(data)), 48)]:
        if data[-length:].strip(b"\0"):
            yield data[:-length] + bytes(length)


@pytest.mark.parametrize("ending", REASONS)
@pytest.mark.parametrize(("damage", "least"), [(flips, 428), (cuts, 200), (zeros, 48)], ids=["flips", "cuts", "zeros"])
def test_every_damage_is_named_and_the_one_before_is_taken(
    damage: Any, least: int, ending: str, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = two
    victim = newer.with_suffix(f".{ending}")
    data, refused = victim.read_bytes(), 0
    parsed: list[int] = []  # which file's tensors were looked at
    load = safetensors.torch.load
    monkeypatch.setattr(safetensors.torch, "load", lambda content: parsed.append(len(content)) or load(content))
    sentence = re.compile(f"{re.escape(str(victim))}: ({REASONS[ending]})")
    for broken in damage(data):
        victim.write_bytes(broken)
        with pytest.raises(CheckpointDamaged, match=sentence):
            read_checkpoint(newer)
        assert parsed == []
        found = newest_intact(newer.parent)
        assert found is not None
        assert found.path == older
        assert same(found.state, state_of(1))
        assert [bool(sentence.match(problem)) for problem in found.problems] == [True]
        parsed.clear()
        refused += 1
    assert refused >= least
    print(f"{refused} of {refused} refused")
    victim.write_bytes(data)
    assert newest_intact(newer.parent).path == newer  # type: ignore[union-attr]


def test_a_state_comes_back_as_it_was(two: tuple[Path, Path]) -> None:
    state, facts = read_checkpoint(two[1])
    assert same(state, state_of(2))
    assert facts["step"] == 2
    assert facts["class_names"] == ["cat", "dög"]
    assert "digest" not in facts
    assert json.loads(manifest_path(two[1]).read_text())["file"] == "epoch_2.safetensors"


def test_where_it_was_saved_does_not_matter(two: tuple[Path, Path]) -> None:
    """No device is in the file, so one saved from cuda:1 loads where there is none."""
    text = two[1].read_bytes()[:3000] + manifest_path(two[1]).read_bytes()
    assert b"cuda" not in text
    assert b"cpu" not in text
    state, _ = read_checkpoint(two[1])
    assert {value.device for value in state["model"].values()} == {torch.device("cpu")}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to save from")
def test_saved_from_a_gpu_it_loads_on_the_cpu(tmp_path: Path) -> None:
    device = f"cuda:{torch.cuda.device_count() - 1}"
    weights = torch.randn(2, 3, 4, 5, device=device).to(memory_format=torch.channels_last)
    write_checkpoint(tmp_path / "x.safetensors", {"model": {"w": weights}}, {})
    state, _ = read_checkpoint(tmp_path / "x.safetensors")
    assert same(state["model"]["w"], weights.cpu().contiguous())


def test_what_is_missing_is_named(two: tuple[Path, Path]) -> None:
    older, newer = two
    manifest_path(newer).unlink()
    found = newest_intact(newer.parent)
    assert found is not None
    assert found.path == older
    assert found.problems == [f"{newer}: has no manifest epoch_2.json, so it was never finished"]
    older.unlink()
    with pytest.raises(CheckpointDamaged, match=r"no checkpoint is intact: .*epoch_2.* never finished; .*epoch_1"):
        newest_intact(newer.parent)


def test_no_finished_checkpoint_is_no_damage(tmp_path: Path) -> None:
    assert newest_intact(tmp_path) is None
    assert newest_intact(tmp_path / "none") is None
    (tmp_path / "epoch_1.safetensors").write_bytes(b"half")
    assert newest_intact(tmp_path) is None


def test_the_newest_is_the_one_written_last(tmp_path: Path) -> None:
    """After going back to an older checkpoint the steps begin again from there."""
    for number, step in enumerate([10, 20, 15], start=1):
        write_checkpoint(tmp_path / f"{step}.safetensors", state_of(step), {"number": number, "step": step})
    assert newest_intact(tmp_path).facts["step"] == 15  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 1}, "not a checkpoint's manifest of format 2"),
        ({"sha256": None}, "does not match the digest"),
        ({"state": {"model": {"$tensor": "model/other"}}}, "is no checkpoint that expkit wrote: 'model/other'"),
        ({"state": {"$items": 3}}, "is no checkpoint that expkit wrote: its manifest does not describe a state"),
        ({"state": [1]}, "is no checkpoint that expkit wrote: it holds a list"),
        ({"state": {"$tensor": ["a"]}}, "is no checkpoint that expkit wrote"),
        *(
            ({key: value}, f"its manifest is not one that expkit wrote: {key}")
            for key, value in [
                ("number", "x"),
                ("step", None),
                ("bytes", [1]),
                ("samples", 0.5),
                ("scores", {"loss": "x"}),
                ("scores", []),
                ("monitor", ["loss"]),
                ("best_score", "x"),
                ("config", []),
                ("class_names", [{}, None]),
            ]
        ),
    ],
)
def test_a_forged_manifest_is_refused(change: dict[str, Any], sentence: str, two: tuple[Path, Path]) -> None:
    """Whoever forges a checkpoint can also compute its digests: still nothing but a refusal comes of it."""
    facts = {"format": 2, **read_manifest(two[1])}
    manifest_path(two[1]).write_bytes(manifest_bytes(facts | change))
    with pytest.raises(CheckpointDamaged, match=sentence):
        read_checkpoint(two[1])
    assert newest_intact(two[0].parent).path == two[0]  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [b'{"a": ' * 100_000, b"[1]", b"\xff\xfe", b"{}"])
def test_a_sealed_manifest_that_is_no_json_object_is_refused(content: bytes, two: tuple[Path, Path]) -> None:
    from expkit.core.sealing import seal_of

    manifest_path(two[1]).write_bytes(content + seal_of(content))
    with pytest.raises(CheckpointDamaged, match="not a checkpoint's manifest"):
        read_checkpoint(two[1])
