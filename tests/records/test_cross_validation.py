"""The table over folds: made by a sweep, and again from the run folders."""

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from expkit.cli import folds
from expkit.cli.run import main
from expkit.records import cross_validation
from tests.records.report.runs import write_run

KEPT = {"name": "last_and_best"}
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
        assert f"│ seed={seed} │ mean " in said
        assert f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}" in said
    means = [float(one) for one in re.findall(r"seed=. │ mean .*? ([0-9.]+) ± ", said)]
    assert f"{statistics.mean(means):.4f} ± {statistics.stdev(means):.4f}" in said.split("│ all ")[1]
    assert said.count("3 folds, 2 seeds") == 1
    folds.main([str(tmp_path / "runs")])
    again = capsys.readouterr().out
    assert set(again.splitlines()) <= set(said.splitlines())
    assert len(re.findall(r"mean .* ± ", again)) == 3
    (runs[0].parent / "record.json").write_text('{"status": "failed"}')
    folds.main([str(tmp_path / "runs")])
    told = capsys.readouterr().out
    assert re.search(r"not finished: seed=1 dataset\.fold=[012]\n", told)
    assert "│ all " not in told  # a mean over other folds than those of the others is none


def fold_run(folder: Path, fold: int, seed: int = 0, accuracy: float = 0.5, **config: object) -> None:
    """Write a run of two epochs on a fold; the first is the best one."""
    dataset = {"name": "fake", "fold": fold, "folds": 2} | dict(config.pop("dataset", {}))  # type: ignore[call-overload]
    write_run(
        folder, config={"seed": seed, "dataset": dataset, "checkpoint": {**KEPT, "monitor": "accuracy"}, **config}
    )
    points = [
        {"kind": "epoch", "epoch": number, "step": 10 * (number + 1), "val/accuracy": value, "val/loss": 1 - value}
        for number, value in enumerate((accuracy, accuracy - 0.25))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    scores = {name: value for name, value in points[-1].items() if "/" in name}
    (folder / "result.json").write_text(json.dumps({"epochs": 2, "scores": scores, "monitor": "accuracy"}))


def test_a_row_is_one_epoch_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in (0, 1):
        fold_run(tmp_path / str(fold), fold, accuracy=0.5 + fold / 4)
    folds.main([str(tmp_path)])
    header, *lines = [re.split(r"[│┃]", line) for line in capsys.readouterr().out.splitlines() if line[:1] in "│┃"]
    rows = [dict(zip(map(str.strip, header), map(str.strip, line), strict=True)) for line in lines]
    names = ["best epoch", "best val/accuracy", "best val/loss", "last val/accuracy", "last val/loss"]
    assert [rows[0][name] for name in names] == ["1", "0.5000", "0.5000", "0.2500", "0.7500"]
    assert [rows[1][name] for name in names] == ["1", "0.7500", "0.2500", "0.5000", "0.5000"]
    assert rows[2]["best val/accuracy"] == "0.6250 ± 0.1768"


@pytest.mark.parametrize(
    ("one", "other"),
    [({"epochs": 2}, {"epochs": 4}), ({"dataset": {"root": "a"}}, {"dataset": {"root": "b"}}),
     ({"checkpoint": KEPT | {"init_from": None}}, {"checkpoint": KEPT | {"init_from": "w.pt"}}),
     ({"max_steps": 5}, {"max_steps": 9}),
     ({"optimizer": {"lr": 0.1}}, {"optimizer": {"lr": 0.2}})],
)  # fmt: skip
def test_folds_of_other_settings_do_not_mix(one: dict[str, Any], other: dict[str, Any], tmp_path: Path) -> None:
    for number, config in enumerate((one, other)):
        for fold in (0, 1):
            fold_run(tmp_path / f"{number}-{fold}", fold, accuracy=0.5 + number / 4, **config)
    groups = cross_validation.gather_folds(sorted(tmp_path.iterdir()))
    assert [group.summary("best val/accuracy", (0, None))[0] for group in groups] == [0.5, 0.75]


def test_no_folds_are_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        folds.main([str(tmp_path)])
    assert "there are no two finished folds" in capsys.readouterr().err
