"""python -m expkit evaluate with models of numbers, masks and images: as a user types it."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import expkit
from expkit.cli.evaluate import main
from expkit.inference import load_trained
from expkit.inference.evaluate.dataset import for_model, split_of
from expkit.inference.evaluate.evaluate import evaluate

Runs = dict[str, expkit.Run]
TASKS = {"regression": "r2", "segmentation": "miou", "reconstruction": "psnr"}


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_are_those_of_training_with_intervals(
    task_runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    trained_as = task_runs[task]
    assert run(trained_as.folder, "--output", tmp_path / "out", "--batch-size", 4, "--workers", 0) == 0
    printed = capsys.readouterr().out
    assert "shapes, val, 10 images, " in printed
    assert "95 % confidence interval (bootstrap): " in printed
    (row,) = rows_of(tmp_path / "out" / "evaluations.csv")
    names = [name.removeprefix("val/") for name in trained_as.scores if name.startswith("val/")]
    scores = {name: trained_as.scores[f"val/{name}"] for name in names if name in row}
    assert TASKS[task] in scores
    assert not {"top5", "f1_macro", "auc"} & row.keys()
    told = json.loads((tmp_path / "out" / trained_as.folder.name / "scores.json").read_text())
    for name, value in scores.items():
        assert float(row[name]) == pytest.approx(value, abs=2e-5)
        low, high = (float(row[f"{name}_{end}"]) for end in ("low", "high"))
        assert low <= float(row[name]) <= high
        assert told["intervals"][name]["method"] == "bootstrap"
    inside = {path.name for path in (tmp_path / "out" / trained_as.folder.name).iterdir()}
    assert inside == {"scores.json", "worst.png", *(["by_class.csv"] if task == "segmentation" else [])}
    with Image.open(tmp_path / "out" / trained_as.folder.name / "worst.png") as picture:
        assert len(picture.getcolors(1 << 24) or range(99)) > 10


def test_the_interval_is_that_of_samples_drawn_again(task_runs: Runs) -> None:
    trained = task_runs["regression"].load(device="cpu")
    data = for_model(split_of(trained.config["dataset"], "val"), trained)
    first, second = (evaluate(trained, data).scores for _ in range(2))
    assert first.intervals == second.intervals
    outputs = trained.outputs(torch.stack([trained.seen(data.image(index)) for index in range(len(data))])).double()
    truth = trained.task.targets(outputs, torch.from_numpy(data.targets)).double()
    std, draw = np.array(trained.task.info.statistics["std"]), np.random.default_rng(0)
    errors = ((outputs - truth).abs().numpy() * std)[:, 0]
    means = [errors[draw.integers(0, len(errors), len(errors))].mean() for _ in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert first.overall["mae_centre_x"] == pytest.approx(errors.mean(), rel=1e-4)
    assert first.intervals["mae_centre_x"].low == pytest.approx(low, rel=0.1)
    assert first.intervals["mae_centre_x"].high == pytest.approx(high, rel=0.1)


def test_masks_have_scores_by_class(task_runs: Runs, tmp_path: Path) -> None:
    folder = task_runs["segmentation"].folder
    assert run(folder, "--output", tmp_path, "--views", "flip") == 0
    rows = rows_of(tmp_path / folder.name / "by_class.csv")
    assert [row["name"] for row in rows] == ["background", "circle", "cross", "square", "star", "triangle"]
    assert sum(int(row["count"]) for row in rows) == 10 * 32 * 32
    (total,) = rows_of(tmp_path / "evaluations.csv")
    known = [float(row["iou"]) for row in rows if row["iou"]]
    assert float(total["miou"]) == pytest.approx(sum(known) / len(known), abs=1e-5)


def test_runs_of_several_tasks_in_one_csv(task_runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task, one in task_runs.items():
        for name in ("first", "second"):
            shutil.copytree(one.folder, tmp_path / "runs" / f"{task}_{name}")
    assert run(tmp_path / "runs", "--output", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    for main_score in ("r2", "miou", "psnr"):
        assert f"95 % confidence interval of {main_score} (bootstrap over samples)" in printed
    assert len(rows_of(tmp_path / "out" / "evaluations.csv")) == 6


@pytest.mark.parametrize(
    ("task", "words", "says"),
    [
        ("regression", ["--top-k", "2"], "--top-k: is for classes of images, and "),
        ("segmentation", ["--views", "five_crop"], "views: five_crop cannot be averaged for segmentation"),
        ("reconstruction", ["--views", "flip"], "views: flip cannot be averaged for reconstruction; it takes none"),
        ("segmentation", ["PHOTOS"], "dataset: this data set has no targets for segmentation"),
        ("regression", ["PHOTOS"], "dataset: this data set has no targets for regression"),
    ],
    ids=str,
)
def test_a_wrong_use_ends_in_a_sentence(
    task_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    task: str, words: list[str], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    photos = next((task_runs[task].folder.parents[1] / "shapes").rglob("val"))
    others = ["dataset=image_folder", f"dataset.root={photos}", f"dataset.val_root={photos}"]
    assert run(task_runs[task].folder, *(others if words == ["PHOTOS"] else words)) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert any(says in line for line in said)
    assert not list(tmp_path.iterdir())


def test_reconstruction_takes_images_of_any_kind(task_runs: Runs, tmp_path: Path) -> None:
    photos = next((task_runs["reconstruction"].folder.parents[1] / "shapes").rglob("val"))
    data = ["dataset=image_folder", f"dataset.root={photos}", f"dataset.val_root={photos}"]
    folder = task_runs["reconstruction"].folder
    assert run(folder, *data, "--output", tmp_path) == 0
    (row,) = rows_of(tmp_path / "evaluations.csv")
    scores = load_trained(folder, device="cpu").scores
    assert float(row["psnr"]) == pytest.approx(scores["psnr"], abs=1e-4)
