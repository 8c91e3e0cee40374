"""dataset.val_fraction=0: a run that trains on everything, from its start to what is done with it afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import expkit
from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.inference.evaluate.dataset import split_of
from expkit.records.compare.table import compare
from expkit.runs.build import build

Write = Callable[..., Path]


@pytest.fixture
def words(image_files: Write, tmp_path: Path) -> list[str]:
    root = image_files("x", *(f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(8)))
    return [
        "dataset=image_folder", f"dataset.root={root}", "dataset.val_fraction=0", "dataset.num_workers=0",
        "batch_size=8", "transforms.image_size=16", "model.width=4", "logger=none", f"output_dir={tmp_path}/outputs",
        "watch=default", "early_stopping_patience=9", "schedule=torch", "schedule.name=ReduceLROnPlateau",
        "ema_decay=0.9",
    ]  # fmt: skip


def test_training_on_everything_is_said_and_all_that_follows_works(words: list[str], tmp_path: Path) -> None:
    run = expkit.train([*words, "epochs=1"])
    resumed = expkit.train([*words, "epochs=2", f"checkpoint.resume={run.folder}"])
    whole = expkit.train([*words, "epochs=2", f"output_dir={tmp_path}/whole"])
    assert resumed.folder == run.folder
    assert resumed.scores == whole.scores
    assert set(whole.scores) == {"train/loss", "train/accuracy"}
    log = (whole.folder / "log.txt").read_text()
    assert "16 images to train, none to validate" in log
    assert "no validation images (dataset.val_fraction=0): nothing is evaluated, the last checkpoint is kept" in log
    assert "val:" not in log
    assert "best val" not in log
    assert [path.name for path in (whole.folder / "checkpoints").glob("*.safetensors")] == [
        "epoch_0002_step_00000004.safetensors"
    ]
    found = whole.load().predict([tmp_path / "x/cat/1.jpg"])[0]
    assert set(found) == {"cat", "dog"}
    assert set(compare([whole.folder]).rows[0].scores) == {"last train/loss", "last train/accuracy"}
    node = {"name": "image_folder", "root": str(tmp_path / "x"), "val_fraction": 0}
    with pytest.raises(ConfigError, match="no val images of its own"):
        split_of(node, "val")
    assert len(split_of(node, "train")) == 16


@pytest.mark.parametrize(
    ("monitor", "higher"), [("accuracy", True), ("loss", False), ("train/loss", False), ("null", False), ("map", None)]
)
def test_the_monitored_score_is_one_of_training(words: list[str], monitor: str, higher: bool | None) -> None:
    from expkit.config.compose import compose_one, plain

    config: Any = plain(compose_one([*words, f"checkpoint.monitor={monitor}"]))
    if higher is None:
        with pytest.raises(ConfigError, match="no score 'map' without validation images; there is loss, accuracy"):
            build(config)
        return
    job = build(config)
    assert (job.trainer.observers.monitor.higher_is_better, job.trainer.state.stopping.sign > 0) == (higher, higher)  # type: ignore[union-attr]


def test_a_validation_split_of_its_own_stays(image_files: Write) -> None:
    root = image_files("x", *(f"{split}/{name}/{n}.jpg" for split in ("train", "val") for name in "ab" for n in (1, 2)))
    assert len(load({"name": "image_folder", "root": str(root), "val_fraction": 0}).val or []) == 4


def test_classes_of_one_image_point_to_it(image_files: Write) -> None:
    root = image_files("x", "a/1.jpg", "b/1.jpg")
    with pytest.raises(
        ConfigError, match=r"so none can be held out; dataset\.val_fraction=0 trains without validation"
    ):
        load({"name": "image_folder", "root": str(root)})
    assert len(load({"name": "image_folder", "root": str(root), "val_fraction": 0}).train) == 2


def test_without_validation_images_nothing_is_searched_or_ranked(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from expkit.cli.run import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([*words, "-m", "hydra/sweeper=search", "optimizer.lr=interval(0.001,0.1)"])
    assert end.value.code == 2
    assert "no trial has a score; set dataset.val_fraction=0.2" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
    main([*words, "epochs=1", "-m", "seed=0,1"])
    assert "nothing is ranked: without validation images (dataset.val_fraction=0)" in capsys.readouterr().out
