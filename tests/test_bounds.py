"""Numbers out of files are bounded: none makes a run allocate what it says; no message is endless."""

import io
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from expkit.api import Run
from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.core.escaping import LONGEST, shortened
from expkit.core.manifest import manifest_bytes
from expkit.data.datasets import load
from expkit.data.decode import BadImage
from expkit.data.growth import Unfit, limit_growth
from expkit.inference import load_trained
from expkit.runs.build import build
from expkit.runs.check import check
from tests.data.datasets.test_webdataset import shard

HUGE = 10**9


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((20, 20), 90).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def shards(folder: Path, *labels: str) -> dict[str, Any]:
    files: dict[str, bytes] = {}
    for number, label in enumerate(labels):
        files |= {f"{number}.jpg": jpeg(), f"{number}.cls": label.encode()}
    shard(folder / "train.tar", files)
    return {"name": "webdataset", "root": str(folder), "val_fraction": 0.5}


def test_a_class_number_is_a_name_not_a_count(tmp_path: Path) -> None:
    splits = load(shards(tmp_path, "7", str(HUGE), "7", str(HUGE), "010", "10"))
    assert splits.train.class_names == ("7", "10", str(HUGE))
    assert set(splits.train.targets.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("label", ["", "x" * 201, "9" * 201, "  "])
def test_a_label_that_is_none_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.tar: 1\.cls' holds \d+ characters, no number or word of a class"):
        load(shards(tmp_path, "1", label, "2"))


@pytest.mark.parametrize("ids", [(7, HUGE), (0, 2**62), (5, 9)])
def test_class_numbers_of_parquet_are_names_too(tmp_path: Path, ids: tuple[int, int]) -> None:
    library = pytest.importorskip("datasets")
    images = [Image.effect_noise((8, 8), 90).convert("RGB") for _ in range(4)]
    table = library.Dataset.from_dict({"image": images, "label": [*ids, *ids]})
    table = table.cast_column("image", library.Image())
    (tmp_path / "train.parquet").parent.mkdir(exist_ok=True)
    table.to_parquet(str(tmp_path / "train.parquet"))
    splits = load({"name": "huggingface", "root": str(tmp_path), "val_fraction": 0.5})
    assert splits.train.class_names == tuple(map(str, ids))
    assert sorted(splits.train.targets.tolist()) == [0, 1]


@pytest.mark.parametrize("key", ["image", "category"])
def test_ids_of_coco_are_names_too(tmp_path: Path, key: str) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg())
    (tmp_path / "2.jpg").write_bytes(jpeg())
    ids = [3, 2**62] if key == "image" else [1, 2]
    kinds = [4, HUGE] if key == "category" else [1, 2]
    content = {
        "images": [{"id": one, "file_name": f"{at + 1}.jpg"} for at, one in enumerate(ids)],
        "categories": [{"id": one, "name": f"c{one}"} for one in kinds],
        "annotations": [
            {"image_id": ids[0], "category_id": kinds[0]}, {"image_id": ids[1], "category_id": kinds[1]},
            {"image_id": 99, "category_id": kinds[1]},
        ],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    node = {"name": "coco", "root": str(tmp_path), "annotations": str(tmp_path / "a.json"), "val_fraction": 0.5}
    splits = load(node)
    assert len(splits.train.class_names) == 2
    assert any(note.startswith("passed over 1 annotation of images that") for note in splits.notes)
    content["annotations"] = [{"image_id": ids[0], "category_id": 77}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"annotations\[0\]: its category_id 77 is not listed"):
        load(node)


def applied(path: Path) -> None:
    load_trained(path, device="cpu").predict([Image.new("RGB", (40, 40))])


def tried(config: Config) -> None:
    check(config)
    build(config)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config.model.width", HUGE), ("config.model.width", 30_000), ("config.model.blocks", HUGE),
        ("config.model.width", -1), ("config.model.width", 0.5), ("config.model.stem_stride", HUGE),
        ("transforms.image_size", HUGE), ("transforms.resize_size", HUGE), ("transforms.image_size", 0),
        ("transforms.eval", [{"name": "Resize", "size": HUGE}]), ("class_names", [{}, 1, None]), ("class_names", []),
        ("class_names", ["a"] * 100_000), ("deep_range", [1, "x"]), ("deep_range", [1e400, 2]),
        ("deep_range", [0, 10**400]), ("deep_range", 5),
        ("task", ["single_label"]), ("config", None), ("config.dataset", 5), ("transforms.normalize.std", [0, HUGE]),
    ],
)  # fmt: skip
def test_a_manifest_allocates_nothing_by_its_numbers(small_run: Run, tmp_path: Path, path: str, value: Any) -> None:
    source = next(iter(sorted(small_run.folder.glob("checkpoints/*.safetensors"))))
    shutil.copy(source, tmp_path / "x.safetensors")
    facts = json.loads(source.with_suffix(".json").read_bytes())
    facts.pop("digest", None)
    node, keys = facts, path.split(".")
    for key in keys[:-1]:
        node = node.setdefault(key, {})
    node[keys[-1]] = value
    (tmp_path / "x.json").write_bytes(manifest_bytes(facts))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ConfigError, BadImage)) as caught:
        applied(tmp_path / "x.safetensors")
    assert len(str(caught.value)) <= LONGEST + 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


@pytest.mark.parametrize("value", ["1000000000", "1" + "0" * 30])
@pytest.mark.parametrize(
    "key",
    ["model.width", "model.blocks", "transforms.image_size", "transforms.resize_size", "device.threads",
     "dataset.num_workers", "dataset.timeout", "dataset.size", "dataset.train_images"],
)  # fmt: skip
def test_a_config_allocates_nothing_by_its_numbers(small_config: Callable[..., Config], key: str, value: str) -> None:
    config = small_config(f"{key}={value}", *(["model.width=4"] if key.startswith("model") else []))
    if key == "model.width":
        config["model"]["width"] = int(value)
    with pytest.raises(ConfigError, match=key.rpartition(".")[0]):
        tried(config)


@pytest.mark.parametrize(
    "step",
    [v2.Resize(HUGE), v2.CenterCrop(HUGE), v2.RandomResizedCrop(HUGE), v2.Pad(HUGE), v2.Pad([1, HUGE, 1, 1]),
     v2.RandomCrop(5, padding=HUGE), v2.RandomCrop(HUGE, pad_if_needed=True), v2.Resize((HUGE, HUGE))],
)  # fmt: skip
def test_no_transform_allocates_by_its_numbers(step: torch.nn.Module) -> None:
    limit_growth(step)
    with pytest.raises(Unfit):
        step(torch.zeros(3, 20, 20, dtype=torch.uint8))


def test_messages_keep_their_beginning_and_their_end() -> None:
    error = ConfigError("dataset.classes: " + "x" * 43_000_000 + "; give fewer")
    assert len(str(error)) <= LONGEST
    assert str(error).startswith("dataset.classes: xxx")
    assert str(error).endswith("; give fewer")
    assert shortened("short") == "short"
    assert np.all([len(shortened("y" * size)) <= LONGEST for size in (1999, 2000, 2001, 10_000)])
