"""Each reader of files that others may have written: whatever they hold, it is a sentence, and no traceback of ours."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from rich.console import Console as RichConsole

from expkit.api import Run
from expkit.cli.replay import replay
from expkit.cli.reproduce import prepared_config
from expkit.config.compose import compose_one, plain
from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.core.manifest import manifest_bytes
from expkit.core.run_folder import find_run_folders
from expkit.data.bad_files import read_bad_files
from expkit.data.datasets import load
from expkit.inference import load_trained
from expkit.inference.evaluate.dataset import dataset_node
from expkit.records.compare.table import compare
from expkit.records.cross_validation import show_folds
from expkit.records.report.report import write_report
from expkit.records.run_folder import RunFolder
from expkit.records.shared_record import read_record
from expkit.runs.check import check
from expkit.runs.resume import find_origin
from tests.mutations import mutations, tried

IS_LONG = bool(os.environ.get("EXPKIT_LONG"))
COUNT = 500 if IS_LONG else 30  # of readers that take long
FULL = 500


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((20, 20), 90).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def shown(node: dict[str, Any]) -> None:
    """Read a data set, with what a run asks of its samples."""
    splits = load(node)
    for data in (splits.train, splits.val):
        for index in range(min(len(data or ()), 3)):
            assert data is not None
            data.sample_name(index), data.location(index)
            with suppress(Exception):  # the image is not what is tried
                data.image(index)


def test_coco(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    content = {
        "images": [{"id": one, "file_name": f"{one}.jpg", "width": 20} for one in range(6)],
        "categories": [{"id": one, "name": f"c{one}", "supercategory": "x"} for one in range(3)],
        "annotations": [{"id": one, "image_id": one, "category_id": one % 3, "bbox": [0, 1]} for one in range(6)],
    }
    node = {"name": "coco", "root": str(tmp_path), "annotations": str(tmp_path / "a.json"), "val_fraction": 0.5}
    for changed in mutations(json.dumps(content).encode(), FULL):
        tried(lambda: shown(node), changed, tmp_path / "a.json")


def test_webdataset(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(4):
            for ending, data in (("jpg", jpeg()), ("cls", str(number % 2).encode()), ("json", b"{}")):
                member = tarfile.TarInfo(f"{number}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    node = {"name": "webdataset", "root": str(tmp_path), "val_fraction": 0.5}
    for changed in mutations(file.getvalue(), FULL):
        tried(lambda: shown(node), changed, tmp_path / "x.tar")


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    images = [Image.effect_noise((8, 8), 90).convert("RGB") for _ in range(4)]
    table = library.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]})
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/train.parquet"
    table.cast_column("image", library.Image()).to_parquet(str(path))
    node = {"name": "huggingface", "root": str(tmp_path / "data"), "val_fraction": 0.5}
    for changed in mutations(path.read_bytes(), COUNT // 2):
        tried(lambda: shown(node), changed, path)


def test_lists_of_files_to_leave_out(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    for changed in mutations(json.dumps({"cat/1.jpg": "empty", "cat/2.jpg": "is no image"}).encode(), FULL):
        tried(lambda: read_bad_files(str(path)), changed, path)


def resealed(changed: bytes) -> bytes:
    """Return a manifest that vouches for itself, as a stranger who means harm makes one."""
    try:
        facts = json.loads(changed)
        facts.pop("digest", None)
        return manifest_bytes(facts)
    except (ValueError, RecursionError, TypeError, AttributeError):
        return changed


@pytest.fixture
def checkpoint(small_run: Run, tmp_path: Path) -> Path:
    source = sorted(small_run.folder.glob("checkpoints/*.safetensors"))[0]
    shutil.copy(source, tmp_path / "x.safetensors")
    shutil.copy(source.with_suffix(".json"), tmp_path / "x.json")
    return tmp_path / "x.safetensors"


def test_manifests_of_checkpoints(checkpoint: Path) -> None:
    manifest = checkpoint.with_suffix(".json")
    facts = json.loads(manifest.read_bytes())
    for changed in mutations(json.dumps(facts).encode(), COUNT * 2):
        tried(lambda: load_trained(checkpoint, device="cpu").predict([Image.new("RGB", (40, 40))]),
              resealed(changed), manifest)  # fmt: skip


def test_manifests_to_resume_from(checkpoint: Path, small_config: Callable[..., Config]) -> None:
    manifest = checkpoint.with_suffix(".json")
    config = small_config(f"checkpoint.resume={checkpoint}", "checkpoint.force=true")
    for changed in mutations(manifest.read_bytes(), COUNT * 2, seed=1):
        tried(lambda: find_origin(config), resealed(changed), manifest)


def test_manifests_of_a_run_to_resume(small_run: Run, tmp_path: Path, small_config: Callable[..., Config]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small_run.folder, folder, ignore=shutil.ignore_patterns("*.html", "sources", "pictures"))
    config = small_config(f"checkpoint.resume={folder}", "checkpoint.force=true")
    *_, manifest = sorted(folder.glob("checkpoints/*.json"))
    for changed in mutations(manifest.read_bytes(), COUNT, seed=4):
        tried(lambda: find_origin(config).release(), resealed(changed), manifest)
        tried(lambda: load_trained(folder, device="cpu"), resealed(changed), manifest)


@pytest.fixture
def run_folder(small_run: Run, tmp_path: Path) -> Path:
    """A copy of the run without what takes long to show, which has tests of its own."""
    folder = tmp_path / "outputs/run"
    left_out = shutil.ignore_patterns("checkpoints", "*.html", "sources", "exhibits.jsonl", "pictures")
    shutil.copytree(small_run.folder, folder, ignore=left_out)
    return folder


def replayed(folder: Path) -> None:
    """Replay a run, whose command says in a line what a backend threw, and sends it nothing more."""
    assert replay(folder, ["logger=tensorboard"]) == []


def read_in_every_way(folder: Path, config: Config) -> Iterator[Callable[[], object]]:
    """Yield what the commands do with a run folder."""
    yield lambda: write_report(folder)
    yield lambda: [row.text("loss") for row in compare(find_run_folders([folder])[0]).rows]
    yield lambda: prepared_config(read_record(folder), [])
    yield lambda: (RunFolder(folder).status, RunFolder(folder).last_epoch())
    yield lambda: show_folds([folder])
    yield lambda: replayed(folder)
    yield lambda: find_origin({**config, "checkpoint": {**config["checkpoint"], "resume": "auto"}})


NAMES = ["record.json", "config.yaml", "metrics.jsonl", "result.json", "env.json", "code.json", "data.json",
         "events.jsonl", "overrides.yaml"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_files_of_a_run(
    run_folder: Path, name: str, small_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RichConsole, "print", lambda *given, **named: None)
    once = cache(lambda *overrides: compose_one([*overrides]))  # the overrides of a replay are always the same
    monkeypatch.setattr("expkit.config.compose.compose_one", lambda overrides: once(*overrides))
    path, config = run_folder / name, small_config()
    for changed in mutations(path.read_bytes(), 500 if IS_LONG else 6):
        for read in read_in_every_way(run_folder, config):
            tried(read, changed, path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a backend that raised
@pytest.mark.parametrize("name", ["exhibits.jsonl", "pictures"])
def test_exhibits_of_a_run(
    small_run: Run, run_folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_run.folder / "pictures", run_folder / "pictures")
    lines = (small_run.folder / "exhibits.jsonl").read_bytes().splitlines(keepends=True)
    kinds = {json.loads(line)["kind"]: line for line in lines if len(line) < 20_000}  # the last of each
    path = run_folder / "exhibits.jsonl"
    if name == "pictures":
        path.write_bytes(kinds["picture"])
        path = run_folder / json.loads(kinds["picture"])["file"]
        kinds = {"picture": path.read_bytes()}
    once = cache(lambda *overrides: compose_one([*overrides]))
    monkeypatch.setattr("expkit.config.compose.compose_one", lambda overrides: once(*overrides))
    for content in kinds.values():
        for changed in mutations(content, max((500 if IS_LONG else 8) // len(kinds), 1), seed=2):
            tried(lambda: write_report(run_folder), changed, path)
            tried(lambda: replayed(run_folder), changed, path)


YAML = """\
# @package _global_
defaults:
  - override /dataset: shapes
  - _self_
name: &x tried
epochs: 3
optimizer: {lr: 1.0e-3, betas: [0.9, 0.999]}
dataset:
  size: 32
  val_fraction: .5
transforms: {image_size: 32}
checkpoint: {keep_last: 0x1}
"""


def test_configs_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for changed in mutations(YAML.encode(), COUNT, seed=3):
        tried(lambda: check(plain(compose_one(["experiment=x"]))), changed, tmp_path / "conf/experiment/x.yaml")


SLIPS = {
    "a key twice": ("name: a\nname: b\n", "line 2: the key 'name' is here twice"),
    "a bracket": ("name: [a, b\nepochs: 3\n", "is not YAML"),
    "a colon": ("name: a: b\n", "line 1: is not YAML"),
    "a tab": ("name: a\n\tepochs: 3\n", "line 2: is not YAML"),
    "a quote": ('name: "a\n', "is not YAML"),
    "two documents": ("name: a\n---\nname: b\n", "a second document begins"),
    "a long number": (f"epochs: {'9' * 5000}\n", "longer than 4,000 characters"),
    "a number": (f"epochs: {'9' * 2000}\n", "a number of 2,000 digits"),
    "base sixty": (f"epochs: {'59:' * 400}59.5\n", "a number of 1,204 digits"),
    "nesting": (f"name: {'[' * 3000}{']' * 3000}\n", "is not YAML: exceeded maximum nesting depth"),
    "less nesting": (f"name: {'[' * 300}{']' * 300}\n", "is nested deeper than 32 levels"),
    "a tag": ("name: !!python/name:os.system\n", "makes an object"),
    "an equals sign": ("name: =\n", "could not determine a constructor"),
    "a merge": ("<<: 5\n", "expected a mapping"),
    "a zero byte": ("name: \0\n", "is not YAML"),
    "a list": ("- a\n", "a config file holds `key: value` lines"),
}


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("place", ["mine", "the package's"])
def test_a_slip_in_conf_is_a_sentence(slip: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, words = SLIPS[slip]
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/x.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    if place != "mine":  # a checkout whose own conf folder was edited
        import expkit.config.hydra_loader as composing

        shutil.copytree(composing.conf_folder(), tmp_path / "own")
        (tmp_path / "own/experiment/x.yaml").write_text(text)
        shutil.rmtree(tmp_path / "conf")
        for module in ("expkit.config.hydra_loader", "expkit.config.compose"):
            monkeypatch.setattr(f"{module}.conf_folder", lambda: tmp_path / "own")
    if place != "mine" and slip in ("a number", "two documents", "less nesting", "a tag", "a list"):
        with suppress(ConfigError):  # these are read as Hydra reads them
            check(plain(compose_one(["experiment=x"])))
        return
    with pytest.raises(ConfigError) as caught:
        check(plain(compose_one(["experiment=x"])))
    assert "experiment/x.yaml" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 3000, "59:" * 400 + "59.5", "!!python/name:os.system", "&a [*a]",
                                  "2024-13-45", "=", "{", '"', "\0"])  # fmt: skip
def test_values_of_a_command_line(text: str) -> None:
    with suppress(ConfigError):
        dataset_node({"name": "shapes"}, [f"dataset.size={text}"])


def test_every_odd_file_of_yaml_is_refused_or_read(tmp_path: Path) -> None:
    """What yaml itself raises for them, vetting turns into sentences."""
    from expkit.config.yaml_safety import load_vetted

    for changed in mutations(yaml.safe_dump(yaml.safe_load(YAML)).encode(), FULL, seed=5):
        tried(lambda: load_vetted(tmp_path / "x.yaml"), changed, tmp_path / "x.yaml")
