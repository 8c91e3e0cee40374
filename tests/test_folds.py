"""The table over folds: made by a sweep, and again from the run folders."""

import json
import re
import statistics
from pathlib import Path

import pytest

from expkit import folds
from expkit.run import main

SMALL = [
    "dataset=fake", "dataset.images=40", "dataset.image_size=16", "dataset.num_classes=2", "dataset.folds=3",
    "model.width=4", "transforms.image_size=16", "epochs=1", "logger=none", "checkpoint=none", "device.threads=1",
]  # fmt: skip


def test_a_sweep_over_folds_ends_with_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["-m", *SMALL, "dataset.fold=range(3)", "seed=0,1", f"output_dir={tmp_path}/runs"])
    said = capsys.readouterr().out
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/**/result.json")]
    assert len(results) == 6
    for seed in (0, 1):
        runs = [path for path in tmp_path.glob("runs/**/config.yaml") if f"\nseed: {seed}\n" in path.read_text()]
        scores = [json.loads((path.parent / "result.json").read_text())["scores"]["val/loss"] for path in runs]
        assert f"3 folds: seed={seed}" in said
        assert f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}" in said
    folds.main([str(tmp_path / "runs")])
    again = capsys.readouterr().out
    assert set(again.splitlines()) <= set(said.splitlines())
    assert len(re.findall(r"mean .* ± ", again)) == 2
    (runs[0].parent / "record.json").write_text('{"status": "failed"}')
    folds.main([str(tmp_path / "runs")])
    assert re.search(r"not finished: dataset\.fold=[012]\n", capsys.readouterr().out)


def test_no_folds_are_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        folds.main([str(tmp_path)])
    assert "there are no two finished folds" in capsys.readouterr().err
