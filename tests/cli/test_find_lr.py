"""python -m expkit find-lr from end to end."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.cli.find_lr import main

SMALL = [
    "dataset.size=32",
    "dataset.train_images=60",
    "dataset.val_images=10",
    "dataset.num_workers=0",
    "model.width=8",
]


def test_a_rate_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["--steps", "60", *SMALL, "optimizer.lr=5", "batch_size=16"])
    said = capsys.readouterr().out
    found = re.search(r"suggestion  python -m expkit\.run .* batch_size=16 optimizer\.lr=(\S+)\n", said)
    assert found
    assert 1e-5 < float(found[1]) < 1
    assert "optimizer.lr=5" not in said
    (picture,) = tmp_path.glob("outputs/find_lr/shapes-small_resnet_*.png")
    assert f"picture     {picture.relative_to(tmp_path)}" in said
    pixels = np.asarray(Image.open(picture)).reshape(-1, 3)
    for colour in ((0x1F, 0x5F, 0xA8), (0xC4, 0x32, 0x1E)):  # the curve and its marks
        assert (pixels == colour).all(1).sum() > 200
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["data", "find_lr"]
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_mistake_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["optimizer.lr=fast"])
    assert "error: optimizer.lr: expected a number" in capsys.readouterr().err


def test_one_process_tries_what_several_will_train_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(["--steps", "60", *SMALL, "batch_size=16", "device=multi_cpu", "device.count=2"])
    said = capsys.readouterr().out
    assert re.search(r"suggestion  python -m expkit\.run .* device=multi_cpu device.count=2 optimizer\.lr=", said)
