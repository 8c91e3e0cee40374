"""python -m expkit evaluate: as a user types it."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import expkit
from expkit.cli.evaluate import main


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


def csv_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_run_on_its_own_data(
    small_run: expkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(small_run.folder, "--checkpoint", "last", "--top-k", 2) == 0
    out = capsys.readouterr().out
    assert "shapes, val, 40 images, 5 classes" in out
    (folder,) = (tmp_path / "outputs").iterdir()
    (row,) = csv_rows(folder / "evaluations.csv")
    assert float(row["accuracy"]) == pytest.approx(small_run.scores["val/accuracy"], abs=1e-6)
    assert float(row["loss"]) == pytest.approx(small_run.scores["val/loss"], abs=1e-4)
    assert float(row["accuracy_low"]) < float(row["accuracy"]) < float(row["accuracy_high"])
    assert 0 <= float(row["top2"]) <= 1
    assert float(row["f1_macro"]) <= 1
    inside = folder / small_run.folder.name
    assert {path.name for path in inside.iterdir()} == {
        "by_class.csv", "confusion.csv", "confusion.png", "scores.json", "worst.png"
    }  # fmt: skip
    assert sum(int(one["count"]) for one in csv_rows(inside / "by_class.csv")) == 40
    confusion = csv_rows(inside / "confusion.csv")
    right = sum(int(one[one["true"]]) for one in confusion)
    assert right / 40 == pytest.approx(small_run.scores["val/accuracy"])
    for name in ("confusion.png", "worst.png"):
        with Image.open(inside / name) as picture:
            assert len(picture.getcolors(1 << 24)) > 10


def test_a_folder_of_runs_on_other_data_in_one_csv(
    small_run: expkit.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        shutil.copytree(small_run.folder, tmp_path / "runs" / "deep" / name)
    photos = tmp_path / "photos"
    shutil.copytree(next((small_run.folder.parents[1] / "shapes").rglob("val")), photos)
    (photos / "star" / "broken.jpg").write_bytes(b"nothing")
    data = ["dataset=image_folder", f"dataset.root={photos}", f"dataset.val_root={photos}"]
    assert run(tmp_path / "runs", *data, "--output", tmp_path / "out", "--views", "flip") == 1
    assert "bad file:" in capsys.readouterr().out
    rows = csv_rows(tmp_path / "out" / "evaluations.csv")
    assert [row["run"] for row in rows] == ["first", "second"]
    assert {row["images"] for row in rows} == {"40"}
    assert rows[0]["accuracy"] == rows[1]["accuracy"]
    bad = json.loads((tmp_path / "out" / "first" / "scores.json").read_text())["bad_files"]
    assert [Path(name).name for name in bad] == ["broken.jpg"]


def test_several_labels(small_multilabel_run: expkit.Run, tmp_path: Path) -> None:
    assert run(small_multilabel_run.folder, "--output", tmp_path / "out", "--checkpoint", "last") == 0
    (row,) = csv_rows(tmp_path / "out" / "evaluations.csv")
    assert float(row["average_precision"]) == pytest.approx(small_multilabel_run.scores["val/map"], abs=1e-4)
    assert float(row["accuracy"]) == pytest.approx(small_multilabel_run.scores["val/accuracy"], abs=1e-6)
    (inside,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert {path.name for path in inside.iterdir()} == {"by_class.csv", "scores.json", "worst.png"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dataset=shapes"], "runs: none given"),
        (["nowhere"], "there is no such folder"),
        (["nowhere", "--top-k", "0"], "--top-k: expected an integer"),
    ],
    ids=str,
)
def test_a_mistake_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
