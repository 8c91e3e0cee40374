"""What lies in folders that are taken up again, and records that others share: a sentence, and no traceback of ours."""

import copy
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console as RichConsole

from expkit.api import Run
from expkit.cli.reproduce import prepared_config
from expkit.config.confined import confined
from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.core.lock import FolderInUse, FolderLock
from expkit.data.cache import Cache, cached
from expkit.data.datasets import load
from expkit.data.transforms import Chain
from expkit.records.compatibility import data_mismatches, find_mismatches, missing_plugins
from expkit.records.cross_validation import show_folds
from expkit.records.environment import data_facts, environment_facts
from expkit.records.export import export, left_out_sources
from expkit.records.integrity import check_record
from expkit.records.run_folder import RunFolder
from expkit.records.shared_record import read_record
from expkit.sweeps.folder import SweepFolder, changes
from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.results import take_result, write_results
from tests.mutations import mutations, tried

IS_LONG = bool(os.environ.get("EXPKIT_LONG"))
FEW = 500 if IS_LONG else 8
MANY = 500 if IS_LONG else 60


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RichConsole, "print", lambda *given, **named: None)


@pytest.fixture(scope="module")
def facts_here(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = read_record(small_run.folder).config  # its root is left out, for it lies outside the working folder
    node = config["dataset"] | {"root": str(tmp_path_factory.mktemp("here") / "shapes")}
    return environment_facts(config), *data_facts(load(node))


def reproduced(place: Path, here: Any) -> None:
    """Read a record as expkit.cli.reproduce does before it trains."""
    environment, data, lines = here
    with suppress(ConfigError):
        check_record(place)
    with suppress(ConfigError):
        left_out_sources(place)
    record = read_record(place)
    prepared_config(record, [])
    missing_plugins(record)
    find_mismatches(record, environment, {"name": "multi_cpu", "count": 2}), data_mismatches(record, data, lines)


@pytest.mark.parametrize("ending", ["yaml", "zip"])
def test_records_that_are_shared(small_run: Run, tmp_path: Path, facts_here: Any, ending: str) -> None:
    path = tmp_path / f"record.{ending}"
    export(small_run.folder, path)
    for changed in mutations(path.read_bytes(), FEW, seed=7):
        tried(lambda: reproduced(path, facts_here), changed, path)


def test_values_in_a_shared_yaml(small_run: Run, tmp_path: Path, facts_here: Any) -> None:
    path = tmp_path / "record.yaml"
    export(small_run.folder, path)
    content = json.dumps(yaml.safe_load(path.read_bytes()), default=str).encode()  # JSON is YAML
    for changed in mutations(content, FEW, seed=8):
        tried(lambda: reproduced(path, facts_here), changed, path)


@pytest.mark.parametrize("name", ["data.json", "env.json", "code.json", "data_files.txt.gz"])
def test_files_of_a_record_that_is_run_again(small_run: Run, tmp_path: Path, facts_here: Any, name: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(small_run.folder, folder, ignore=shutil.ignore_patterns("checkpoints", "*.html", "sources"))
    for changed in mutations((folder / name).read_bytes(), FEW, seed=9):
        tried(lambda: reproduced(folder, facts_here), changed, folder / name)


def sweep_of(folder: Path, config: Config, run: Path) -> list[SweepJob]:
    jobs = [
        SweepJob(number, [f"seed={number}"], copy.deepcopy(config), "x", {"seed": f"{number}"}) for number in range(3)
    ]
    made = SweepFolder.make("outputs", str(folder), ["seed=0,1,2"], "python -m expkit", jobs)
    for job in jobs:
        made.note("started", job, resume=None)
        made.note("ended", job, status="finished", code=0, seconds=1.5, folder=f"00{job.number}-run", reason="")
    made.lock.release()
    shutil.copytree(run, folder / "000-run", ignore=shutil.ignore_patterns("checkpoints", "*.html", "sources"))
    return jobs


def taken_up(folder: Path, now: list[SweepJob]) -> None:
    """Do what a sweep does with what it left behind."""
    if SweepFolder.find("outputs", str(folder), ["seed=0,1,2"]) is None:
        return
    found = SweepFolder.open(folder)
    try:
        changes(found.jobs, now), found.ledger(), found.run_folders()
        outcomes = {job.number: Outcome() for job in found.jobs}
        if outcomes:
            take_result(outcomes[0], folder / "000-run", "accuracy", True)
            write_results(folder, found.jobs, outcomes)
        RunFolder(folder / "000-run").last_epoch()
    finally:
        found.lock.release()


@pytest.mark.parametrize(
    "name", ["sweep.json", "jobs.jsonl", "ledger.jsonl", "000-run/result.json", "000-run/metrics.jsonl"]
)
def test_files_of_a_sweep(small_run: Run, small_config: Callable[..., Config], tmp_path: Path, name: str) -> None:
    jobs = sweep_of(tmp_path / "sweep", small_config(), small_run.folder)
    path = tmp_path / "sweep" / name
    first, *rest = path.read_bytes().splitlines(keepends=True)
    whole = name.endswith(".json")
    for changed in mutations(path.read_bytes() if whole else first, FEW, seed=11):
        content = changed if whole else changed.strip() + b"\n" + b"".join(rest)
        tried(lambda: taken_up(tmp_path / "sweep", jobs), content, path)


def test_jobs_of_a_sweep_that_are_damaged_name_the_line(tmp_path: Path, small_config: Callable[..., Config]) -> None:
    jobs = [SweepJob(0, [], small_config(), "x")]
    SweepFolder.make("outputs", str(tmp_path), [], "", jobs).lock.release()
    (tmp_path / "jobs.jsonl").write_text(json.dumps(asdict(jobs[0]) | {"threads": "x"}))
    with pytest.raises(ConfigError, match="line 1: `threads` is damaged; add --new"):
        SweepFolder.open(tmp_path)


@pytest.mark.parametrize("name", ["config.yaml", "result.json", "record.json", "metrics.jsonl"])
def test_files_of_folds(small_run: Run, tmp_path: Path, name: str) -> None:
    runs = [tmp_path / f"{number}" for number in range(2)]
    for number, run in enumerate(runs):
        shutil.copytree(small_run.folder, run, ignore=shutil.ignore_patterns("checkpoints", "*.html", "sources"))
        config = yaml.safe_load((run / "config.yaml").read_bytes())
        config["dataset"] |= {"folds": 2, "fold": number}
        (run / "config.yaml").write_text(json.dumps(config))
    for changed in mutations((runs[1] / name).read_bytes(), FEW, seed=12):
        tried(lambda: show_folds(runs), changed, runs[1] / name)


def test_the_mark_of_shapes_that_were_drawn(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    node = {"name": "shapes", "root": str(root), "size": 16, "train_images": 5, "val_images": 5}
    load(node)
    path = root / "shapes.json"
    content = path.read_bytes()
    for changed in mutations(content, MANY, seed=13):
        tried(lambda: (load(node), confined(node)), changed, path)
    path.write_bytes(b"{")
    with pytest.raises(ConfigError, match="is damaged, so which images lie there is not known; remove the folder"):
        load(node)


def test_the_index_of_a_cache_on_disk(tmp_path: Path, image_files: Callable[..., Path]) -> None:
    root = image_files("data", *(f"{c}/{n}.jpg" for c in ("cat", "dog") for n in range(3)))
    data = load({"name": "image_folder", "root": str(root)}).train
    cache = Cache("disk", tmp_path / "cache")

    def read() -> list[Any]:
        found = cached(data, Chain(()), cache, "train")[0]
        return [found.image(index).tolist() for index in range(len(found))]

    whole = read()
    (index,) = (tmp_path / "cache").glob("*/index.json")
    content = index.read_bytes()

    def read_the_same() -> None:
        assert read() == whole

    for changed in mutations(content, 500 if IS_LONG else 20, seed=14):
        tried(read_the_same, changed, index)
    sides_exchanged = content.replace(b"[36, 40]", b"[40, 36]")
    one_more_is_bad = content.replace(b'"reasons": {', b'"reasons": {"0": "is empty"')
    for damaged in (b"{", b"{}", b'{"sizes": [[1, 1]], "reasons": {}}', sides_exchanged, one_more_is_bad):
        assert damaged != content  # and it is written again
        index.write_bytes(damaged)
        assert read() == whole
        assert index.read_bytes() == content
    index.with_name("pixels").write_bytes(b"")
    assert read() == whole


def test_the_lock_of_a_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    path = lock.path
    content = path.read_bytes()
    lock.release()

    def take() -> None:
        with suppress(FolderInUse):
            FolderLock(tmp_path).release()

    for changed in mutations(content, MANY, seed=15):
        tried(take, changed, path)
