"""Data sets of Hugging Face's library, written by that library."""

from pathlib import Path
from typing import Any

import pytest

import expkit
from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.data.decode import decode_file
from tests.remedies.followed import checked, follow

library = pytest.importorskip("datasets")


@pytest.fixture
def images(small_run: expkit.Run) -> list[Path]:
    return sorted(next((small_run.folder.parents[1] / "shapes").rglob("val")).rglob("*.jpg"))


def table(images: list[Path], **changes: Any) -> Any:
    words = sorted({path.parent.name for path in images})
    features = {"image": library.Image(), "label": library.ClassLabel(names=words)} | changes
    labels = [words.index(path.parent.name) for path in images]
    if changes:
        labels = [path.parent.name for path in images]  # type: ignore[misc]
    return library.Dataset.from_dict(
        {"image": [str(path) for path in images], "label": labels}, features=library.Features(features)
    )


@pytest.mark.parametrize("way", ["disk", "parquet"])
def test_every_row_has_its_pixels_and_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[Path], way: str
) -> None:
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    if way == "disk":
        library.DatasetDict({"train": table(images), "test": table(images[:7])}).save_to_disk(tmp_path / "data")
    else:
        table(images).to_parquet(tmp_path / "data" / "train-00000.parquet")
    splits = load({"name": "huggingface", "root": str(tmp_path / "data"), "val_fraction": 0.25})
    assert splits.val is not None
    assert (len(splits.train), len(splits.val)) == ((40, 7) if way == "disk" else (30, 10))
    whole = datasets.build({"name": "huggingface", "root": str(tmp_path / "data")}).train
    for index in (0, 17, 39):
        assert (whole.image(index) == decode_file(images[index])).all()
        assert whole.class_names[whole.targets[index]] == images[index].parent.name


@pytest.mark.parametrize(
    ("typed", "said", "then"),
    [
        ([], "set dataset.val_split=dev", "dataset.val_split=dev"),
        (["dataset.val_split=gone"], "there is train, dev, dev2", "dataset.val_split=dev"),
        (["dataset.val_split=dev", "dataset.label_column=labl"], "did you mean 'label'?", "dataset.label_column=label"),
        (["dataset.val_split=dev", "dataset.image_column=picture"], "there is image", "dataset.image_column=image"),
    ],
)
def test_the_remedies_work(tmp_path: Path, images: list[Path], typed: list[str], said: str, then: str) -> None:
    rows = table(images)
    library.DatasetDict({"train": rows, "dev": rows, "dev2": rows}).save_to_disk(tmp_path / "data")
    typed = ["dataset=huggingface", f"dataset.root={tmp_path}/data", *typed]
    with pytest.raises(ConfigError) as error:
        load(checked(typed))
    assert said in str(error.value)
    assert load(checked(follow(typed, then, str(error.value), tmp_path)))


def test_words_become_classes(tmp_path: Path, images: list[Path]) -> None:
    table(images, label=library.Value("string")).save_to_disk(tmp_path / "data")
    data = datasets.build({"name": "huggingface", "root": str(tmp_path / "data")}).train
    assert data.class_names == ("circle", "cross", "square", "star", "triangle")
    assert data.class_names[data.targets[-1]] == images[-1].parent.name


def test_a_run_trains_with_workers(tmp_path: Path, images: list[Path]) -> None:
    table(images).save_to_disk(tmp_path / "data")
    words = ["dataset=huggingface", f"dataset.root={tmp_path}/data", "epochs=1", "model.width=4", "logger=none"]
    run = expkit.train([*words, f"output_dir={tmp_path}/outputs", "dataset.num_workers=2"])
    assert run.load().classes == ("circle", "cross", "square", "star", "triangle")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_column": "images"}, "dataset.image_column: there is no column 'images'; did you mean 'image'"),
        ({"image_column": "label"}, "holds ClassLabel, not images"),
        ({"val_split": "dev"}, "dataset.val_split: there is no split 'dev'"),
        ({"root": "."}, "holds neither what save_to_disk wrote"),
    ],
    ids=str,
)
def test_a_mistake_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[Path], change: dict[str, str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    table(images).save_to_disk(tmp_path / "data")
    with pytest.raises(ConfigError, match=says):
        datasets.build({"name": "huggingface", "root": str(tmp_path / "data"), **change})


def test_leftovers_among_parquet_files_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[Path]
) -> None:
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    for name in ("data/train-0.parquet", "data/test-0.parquet", "$RECYCLE.BIN/train-0.parquet", "@eaDir/x.parquet"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        table(images[:10]).to_parquet(root / name)
    (root / "data/train-1.parquet.part").write_bytes(b"x")
    splits = load({"name": "huggingface", "root": str(root)})
    assert (len(splits.train), len(splits.val or [])) == (10, 10)
    assert "passed over 2 leftovers of other programs ($RECYCLE.BIN, @eaDir)" in splits.notes
