"""python -m expkit predict: as a user types it."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import expkit
from expkit.cli.predict import main
from expkit.inference import load_trained


@pytest.fixture
def images(small_run: expkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 40 images; the command is given beside it."""
    source = next((small_run.folder.parents[1] / "shapes").rglob("val"))
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(source, tmp_path / "pictures"))


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


def csv_rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(name).read_text().splitlines()))


def test_csv_says_what_the_model_says(small_run: expkit.Run, images: Path) -> None:
    assert run(small_run.folder, images, "--output", "out.csv", "--top", 2) == 0
    rows = csv_rows("out.csv")
    assert len(rows) == 40
    assert list(rows[0]) == ["path", "class", "probability", "class_2", "probability_2"]
    trained = load_trained(small_run.folder)
    for row in rows[::13]:
        by_class = trained.predict([row["path"]])[0]
        best = list(by_class.items())[:2]
        assert (row["class"], row["class_2"]) == (best[0][0], best[1][0])
        assert float(row["probability"]) == pytest.approx(best[0][1], abs=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_format_tells_the_same_in_order(
    small_run: expkit.Run, images: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    common = (small_run.folder, images, "--workers", workers, "--batch-size", 7)
    assert run(*common, "--output", "out.csv") == 0
    assert run(*common, "--output", "out.jsonl") == 0
    assert run(*common, "--format", "json") == 0
    listed = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    rows = csv_rows("out.csv")
    assert listed == lines
    assert [line["path"] for line in lines] == [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert [line["class"] for line in lines] == [row["class"] for row in rows]
    assert list(lines[0]["top"].values()) == sorted(lines[0]["top"].values(), reverse=True)


def test_the_table_names_every_image_whole(
    small_run: expkit.Run, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small_run.folder, images) == 0
    out = capsys.readouterr().out
    assert all(str(path) in out for path in images.rglob("*.jpg"))
    assert "classes: " in out


def test_bad_files_are_named_and_the_rest_predicted(
    small_run: expkit.Run, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    (images / "empty.png").touch()
    assert run(small_run.folder, images, "--output", "out.jsonl", "--sheet", "sheet.png", "--batch-size", 1) == 1
    told = capsys.readouterr().err
    assert "broken.jpg: is no image" in told
    assert "empty.png: the file is empty" in told
    assert "2 of 42 files could not be read" in told
    assert len(Path("out.jsonl").read_text().splitlines()) == 40
    assert run(small_run.folder, images / "empty.png", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out) == []


def test_sorted_into_folders_without_overwriting(small_run: expkit.Run, images: Path) -> None:
    for number, path in enumerate(sorted(images.rglob("*.jpg"))):  # one name for many images
        path.rename(path.parent / "same.jpg") if number % 8 == 0 else None
    Path("sorted").mkdir()
    assert run(small_run.folder, images, "--sort-into", "sorted", "--output", "out.jsonl") == 0
    assert run(small_run.folder, images, "--sort-into", "sorted") == 0  # a second time changes nothing
    copies = [path for path in Path("sorted").rglob("*") if path.is_file()]
    assert len(copies) == 40
    assert {path.read_bytes() for path in copies} == {path.read_bytes() for path in images.rglob("*.jpg")}
    for line in map(json.loads, Path("out.jsonl").read_text().splitlines()):
        content = Path(line["path"]).read_bytes()
        assert any(path.read_bytes() == content for path in (Path("sorted") / line["class"]).iterdir())


def test_a_contact_sheet(small_run: expkit.Run, images: Path) -> None:
    assert run(small_run.folder, images, "--sheet", "sheet.png", "--sheet-images", 9) == 0
    with Image.open("sheet.png") as sheet:
        wide, high = sheet.size
    assert wide > 8 * 160
    assert 2 * 160 < high < 3 * 210


def test_several_labels_or_none(
    small_multilabel_run: expkit.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = small_multilabel_run.folder.parents[1] / "squares"
    common = (small_multilabel_run.folder, images, "--output", "out.jsonl")
    for threshold in (0.0, 0.5, 1.0):
        assert run(*common, "--threshold", threshold, "--sort-into", f"sorted{threshold}") == 0
        lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
        assert len(lines) == 24
        for line in lines:
            assert line["classes"] == [name for name, value in line["top"].items() if value >= threshold]
    assert len(list(Path("sorted0.0/red").iterdir())) == len(list(Path("sorted0.0/green").iterdir())) == 24
    assert len(list(Path("sorted1.0/_none").iterdir())) == 24
    assert run(*common[:2], "--output", "out.csv") == 0
    assert csv_rows("out.csv")[0].keys() >= {"classes", "class", "probability"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gone"], "there is no file or folder 'gone'"),
        (["pictures", "--top", "0"], "--top: expected an integer from 1 up"),
        (["pictures", "--threshold", "2"], "--threshold: expected a probability"),
        (["pictures", "--output", "pictures/x.csv/y.csv"], "--output: cannot write"),
        (["pictures", "--device", "gpu"], "device.name: gpu needs a CUDA device"),
    ],
    ids=str,
)
def test_a_mistake_ends_in_a_sentence(
    small_run: expkit.Run, images: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    (images / "x.csv").touch()
    if says.startswith("device") and __import__("torch").cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert run(small_run.folder, *words) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_a_list_on_standard_input_and_a_pipe_that_closes(small_run: expkit.Run, images: Path) -> None:
    command = [sys.executable, "-m", "expkit", "predict", str(small_run.folder), "-", "--format", "csv"]
    listed = "\n".join(map(str, sorted(images.rglob("*.jpg")))) + "\ngone.jpg\n"
    done = subprocess.run(command, input=listed, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 41
    assert "bad file: gone.jpg: No such file or directory" in done.stderr
