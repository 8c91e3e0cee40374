"""python -m expkit predict with models of numbers, masks and images: as a user types it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import expkit
from expkit.cli.evaluate import main as evaluate
from expkit.cli.predict import main
from expkit.inference import load_trained
from tests.inference.test_trained_model import changed, set_path

Runs = dict[str, expkit.Run]
CLASSES = ["background", "circle", "cross", "square", "star", "triangle"]


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0)


def rows_of(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(name).read_text().splitlines()))


def lines_of(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


@pytest.fixture
def photos(task_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of other sizes than the model sees, and one of the same; the command is given beside them."""
    source = sorted((task_runs["regression"].folder.parents[1] / "shapes").rglob("val/*/*.jpg"))
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, (place, size) in enumerate({"a.png": (57, 44), "b.png": (32, 32), "more/a.png": (20, 70)}.items()):
        with Image.open(source[number]) as image:
            image.resize(size).save(tmp_path / "photos" / place)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_numbers_are_columns_in_their_own_units(task_runs: Runs, photos: Path) -> None:
    folder = task_runs["regression"].folder
    assert run(folder, photos, "--output", "out.csv", "--sheet", "sheet.png") == 0
    assert run(folder, photos, "--output", "out.jsonl") == 0
    rows, lines, trained = rows_of("out.csv"), lines_of("out.jsonl"), load_trained(folder, device="cpu")
    assert list(rows[0]) == list(lines[0]) == ["path", "centre_x", "centre_y", "area"]
    for row, line in zip(rows, lines, strict=True):
        (told,) = trained.predict(row["path"])
        assert told.keys() == {"centre_x", "centre_y", "area"}
        assert [float(row[name]) for name in told] == pytest.approx(list(told.values()), rel=1e-4)
        assert [line[name] for name in told] == pytest.approx(list(told.values()), rel=1e-4)
        outputs = trained.outputs(trained.seen(row["path"])[None])[0].double()
        mean, std = (torch.tensor(trained.task.info.statistics[name]).double() for name in ("mean", "std"))
        assert list(told.values()) == pytest.approx((outputs * std + mean).tolist(), rel=1e-4)
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 3 * 160


def test_masks_have_the_size_of_the_image_and_never_overwrite(task_runs: Runs, photos: Path) -> None:
    (photos / "a_mask.png").write_bytes(b"drawn by hand")
    folder, images = task_runs["segmentation"].folder, [photos / "a.png", photos / "b.png", photos / "more"]
    assert run(folder, *images, "--output", "out.csv", "--into", photos, "--sheet", "sheet.png") == 0
    assert (photos / "a_mask.png").read_bytes() == b"drawn by hand"
    rows, trained = rows_of("out.csv"), load_trained(folder, device="cpu")
    assert [Path(row["mask"]).name for row in rows] == ["a_mask-2.png", "b_mask.png", "a_mask-3.png"]
    assert list(rows[0]) == ["path", "mask", "overlay", *(f"share_{name}" for name in CLASSES)]
    for row in rows:
        with Image.open(row["path"]) as image, Image.open(row["mask"]) as mask, Image.open(row["overlay"]) as over:
            assert image.size == mask.size == over.size
            assert (mask.mode, over.mode) == ("P", "RGB")
            values = np.asarray(mask)
        assert values.tolist() == trained.predict(row["path"])[0].tolist()
        shares = [float(row[f"share_{name}"]) for name in CLASSES]
        assert shares == pytest.approx([(values == number).mean() for number in range(6)], abs=1e-6)
    seen = trained.seen(photos / "b.png")
    expected = trained.outputs(seen[None])[0].argmax(0)
    assert np.array_equal(np.asarray(Image.open(rows[1]["mask"])), expected.numpy())


def test_reconstructions_are_pictures_in_a_new_folder(
    task_runs: Runs, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = task_runs["reconstruction"].folder
    assert run(folder, photos, "--format", "json") == 0
    printed = capsys.readouterr()
    lines, trained = json.loads(printed.out), load_trained(folder, device="cpu")
    assert [Path(line["path"]).name for line in lines] == ["a.png", "b.png", "a.png"]
    assert "pictures in outputs/prediction_" in printed.err
    for line in lines:
        given = np.asarray(Image.open(line["image"])).astype(int)
        (told,) = trained.predict(line["path"])
        assert (told.dtype, tuple(told.shape)) == (torch.uint8, (3, 32, 32))
        assert np.abs(given - told.permute(1, 2, 0).numpy()).max() <= 1  # in a batch of three, or alone
        errors = (trained.seen(line["path"]).float() - told.float()) / 255
        assert line["psnr"] == pytest.approx(-10 * float(errors.square().mean().log10()), abs=0.05)


@pytest.mark.parametrize("task", ["regression", "segmentation", "reconstruction"])
def test_every_format_and_a_bad_file(
    task_runs: Runs, photos: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    for form in ("table", "csv", "json", "jsonl"):
        assert run(task_runs[task].folder, photos, "--format", form, "--batch-size", 1) == 1
        printed = capsys.readouterr()
        assert "broken.jpg: is no image" in printed.err
        assert "1 of 4 files could not be read" in printed.err
        assert str(photos / "more" / "a.png") in printed.out
    assert run(task_runs[task].folder, photos / "broken.jpg", "--format", "json") == 1
    assert json.loads(capsys.readouterr().out) == []


def test_masks_may_be_averaged_with_the_mirror_image(task_runs: Runs, photos: Path) -> None:
    trained = load_trained(task_runs["segmentation"].folder, device="cpu")
    seen = trained.seen(photos / "b.png")[None]
    both = trained.outputs(seen).softmax(1) + trained.outputs(seen.flip(-1)).softmax(1).flip(-1)
    assert torch.allclose(trained.outputs(seen, "flip").exp(), both / 2, atol=1e-6)
    assert run(task_runs["segmentation"].folder, photos, "--views", "flip", "--format", "csv") == 0


@pytest.mark.parametrize(
    ("task", "words", "says"),
    [
        ("regression", ["--top", "2"], "--top: is for classes of images, and this model is for regression"),
        ("segmentation", ["--threshold", "0"], "--threshold: is for classes of images"),
        ("reconstruction", ["--sort-into", "sorted"], "--sort-into: is for classes of images"),
        ("regression", ["--into", "masks"], "--into: is for masks and reconstructed images"),
        ("regression", ["--views", "flip"], "views: flip cannot be averaged for regression; it takes none"),
        ("segmentation", ["--views", "five_crop"], "views: five_crop cannot be averaged for segmentation"),
        ("reconstruction", ["--views", "flip"], "views: flip cannot be averaged for reconstruction"),
        ("segmentation", ["--into", "photos/a.png/b"], "--into: cannot make"),
        ("regression", ["--output", "photos/a.png/b.csv"], "--output: cannot write"),
    ],
    ids=str,
)
def test_a_wrong_use_ends_in_a_sentence(
    task_runs: Runs, photos: Path, capsys: pytest.CaptureFixture[str], task: str, words: list[str], says: str
) -> None:
    assert run(task_runs[task].folder, photos, *words) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert not (photos.parent / "outputs").exists()


@pytest.mark.parametrize("task", ["regression", "segmentation", "reconstruction"])
def test_a_model_without_classes_gives_no_probabilities(task_runs: Runs, task: str) -> None:
    trained = task_runs[task].load(device="cpu")
    with pytest.raises(expkit.ConfigError, match="gives no probabilities; use predict"):
        trained.probabilities(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(expkit.ConfigError, match="views: expected one of"):
        trained.predict(torch.zeros(3, 32, 32), views="tiles")  # type: ignore[arg-type]
    assert trained.task.kind == task


PLUGIN = """
from expkit.extend import tasks
from expkit.tasks.task import Task


class Sums(Task):
    kind = "regression"

    def answers(self, outputs):
        return outputs.sum(1, keepdim=True)


@tasks.register("sums_of_numbers")
def sums_of_numbers():
    \"\"\"One number, whatever the model gives.\"\"\"
    return Sums()
"""


def test_a_task_of_a_plugin_is_given_by_its_file(
    task_runs: Runs, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sums_task.py").write_text(PLUGIN)
    place = changed(task_runs["regression"], tmp_path, set_path("config", "task", value={"name": "sums_of_numbers"}))
    assert run(place, photos, "--output", "out.csv") == 2
    assert "there is no task 'sums_of_numbers'; --plugin names the file that adds it" in capsys.readouterr().err
    assert run(place, photos, "--plugin", "sums_task.py", "--output", "out.csv") == 0
    plain = task_runs["regression"].load(device="cpu")
    for row in rows_of("out.csv"):
        total = float(plain.outputs(plain.seen(row["path"])[None]).sum())
        assert float(row["output_1"]) == pytest.approx(total, abs=1e-4)
    with pytest.raises(SystemExit) as ended:
        evaluate([str(place), "--plugin", "sums_task.py"])
    assert ended.value.code == 2
    assert "regression has no metrics to score by; give it metrics()" in capsys.readouterr().err
