import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from expkit.config.plugins import load_plugins
from expkit.config.redaction.redactor import config_hash
from expkit.data.dataset import Splits
from expkit.records.compatibility import data_changes
from expkit.records.environment import data_facts
from expkit.records.integrity import check_record
from expkit.records.writer import EventLog, Record

Config = dict[str, Any]


def read(folder: Path, name: str = "record.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_it_is_running_until_it_is_closed(record: Record, config: Config) -> None:
    facts = read(record.folder)
    assert facts["status"] == "running"
    assert facts["config_sha256"] == config_hash(config)
    assert check_record(record.folder)[0] == []
    record.close("failed", {"steps": 2}, "the loss became nan")
    facts = read(record.folder)
    assert (facts["status"], facts["reason"]) == ("failed", "the loss became nan")
    assert facts["ended"] >= facts["started"]
    assert {"metrics.jsonl", "result.json", "events.jsonl", "data.json"} <= set(facts["files"])
    assert check_record(record.folder) == ([], [])
    assert [event["event"] for event in events(record.folder)] == ["started", "ended"]


def test_it_is_gone_on_with(record: Record, config: Config, splits: Splits) -> None:
    started = read(record.folder)["started"]
    record.bad_file("cat/1.jpg", "is empty")
    record.close("interrupted", {"steps": 2}, "SIGTERM")
    again = Record.reopen(record.folder, config, "python -m expkit.run checkpoint.resume=auto", step=2)
    facts = read(record.folder)
    assert facts["status"] == "running"
    assert facts["started"] == started
    assert "ended" not in facts
    assert not (record.folder / "result.json").exists()
    assert check_record(record.folder)[0] == []
    again.data(splits)
    again.bad_file("cat/2.jpg", "is empty")
    with open(record.folder / "metrics.jsonl", "a") as file:
        file.write('{"kind": "step", "epoch": 0, "step": 3, "loss": 1}\n')
    again.close("finished", {"steps": 3})
    assert check_record(record.folder) == ([], [])
    assert set(read(record.folder, "bad_files.json")) == {"cat/1.jpg", "cat/2.jpg"}
    told = {event["event"]: event for event in events(record.folder)}
    assert list(told) == ["started", "ended", "resumed"]
    assert told["resumed"]["step"] == 2
    assert told["resumed"]["before"]["status"] == "interrupted"


def test_a_changed_config_takes_the_place_of_the_first(record: Record, config: Config) -> None:
    record.close("interrupted", {})
    checkpoint = config["checkpoint"] | {"resume": "auto"}
    longer = config | {"epochs": 9, "checkpoint": checkpoint}
    again = Record.reopen(record.folder, longer, "")
    assert events(record.folder)[-1]["before"]["changed"] == ["epochs: 2 -> 9"]
    again.close("finished", {})
    kept = yaml.safe_load((record.folder / "config.yaml").read_text())
    assert (kept["epochs"], kept["checkpoint"]["resume"]) == (9, None)
    assert yaml.safe_load((record.folder / "config_before_1.yaml").read_text())["epochs"] == 2
    assert read(record.folder)["config_sha256"] == config_hash(longer)
    assert check_record(record.folder) == ([], [])


def test_other_data_after_a_resume_are_told(record: Record, config: Config, splits: Splits) -> None:
    record.close("interrupted", {})
    first = splits.train.location(0)
    Path(first).write_bytes(Path(first).read_bytes() + b"\0")
    for number in (1, 2):
        again = Record.reopen(record.folder, config, "")
        known = data_facts(splits)
        changes = data_changes(record.folder, *known)
        assert [change.split(" before")[0] for change in changes] == ["train: 40 images"] * (number == 1)
        again.data(splits, known, changes)
        again.close("finished", {})
        assert check_record(record.folder) == ([], [])
    told = [one["text"] for one in events(record.folder) if one["event"] == "warning"]
    assert told == [
        f"the data differ from those of the first start: {read(record.folder, 'data.json')['changes'][0]['change']}"
    ]
    assert read(record.folder, "data_before_1.json")["train"] != read(record.folder, "data.json")["train"]


@pytest.mark.parametrize("damage", ["edited", "cut", "missing"])
def test_a_record_that_is_lost_is_rebuilt_and_says_so(record: Record, config: Config, damage: str) -> None:
    path, started = record.folder / "record.json", read(record.folder)["started"]
    text = path.read_text()
    path.unlink()
    if damage != "missing":
        path.write_text(text.replace("running", "stopped") if damage == "edited" else text[:100])
    again = Record.reopen(record.folder, config, "")
    assert [note.split(";")[0] for note in again.notes] == [
        f"warning: record.json {'is missing' if damage == 'missing' else 'was truncated or changed'}"
    ]
    again.close("finished", {})
    faults, notes = check_record(record.folder)
    assert faults == []
    assert "record.json" in notes[-1]
    assert read(record.folder)["started"] == started
    assert {"config.yaml", "env.json", "data.json"} <= set(read(record.folder)["files"])
    assert (record.folder / "record_damaged_1.json").exists() == (damage != "missing")
    assert "record_damaged_1.json" not in read(record.folder)["files"]


@pytest.mark.parametrize("name", ["config.yaml", "env.json", "code.json", "data.json", "data_files.txt.gz"])
@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_file_that_is_lost_is_rebuilt(
    name: str, damage: bytes | None, record: Record, config: Config, splits: Splits
) -> None:
    record.close("interrupted", {})
    before = (record.folder / name).read_bytes()
    (record.folder / name).unlink()
    if damage is not None:
        (record.folder / name).write_bytes(damage)
    again = Record.reopen(record.folder, config, "")
    again.data(splits)
    assert [note.split(";")[0] for note in again.notes] == [
        f"warning: {name} {'is missing' if damage is None else 'was changed'}"
    ]
    again.close("finished", {})
    assert check_record(record.folder)[0] == []
    assert (record.folder / name).read_bytes() == before


def test_warnings_become_events(record: Record) -> None:
    log = EventLog(record)
    log.message("took 3 images")
    log.message("warning: left out in train: x.jpg")
    assert [event["event"] for event in events(record.folder)] == ["started", "warning"]


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_dirty_tree_is_in_it(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "project"
    (work / "outputs" / "run").mkdir(parents=True)
    (work / "net.py").write_text("width = 8\n")
    git(work, "init", "-q")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    (work / "net.py").write_text("width = 9\n")
    (work / "new.py").write_text("depth = 2\n")
    (work / "photo.jpg").write_bytes(b"\xff" * 10)
    (work / "large.py").write_text("# " + "x" * 200_000)
    (work / "outputs" / "left.py").write_text("")
    for number in range(3):  # another output_dir, with more files than a record holds
        other = work / f"others/run_{number}/sources"
        other.mkdir(parents=True)
        (other.parent / "record.json").write_text("{}")
        for name in range(100):
            (other / f"{name}.py").touch()
    monkeypatch.chdir(work)
    folder = work / "outputs" / "run"
    Record(folder, config, [], "")
    code = read(folder, "code.json")
    assert code["changed"] is True
    assert len(code["commit"]) == 40
    assert "+width = 9" in (folder / "code.patch").read_text()
    assert [path.name for path in (folder / "sources").iterdir()] == ["new.py"]
    assert (folder / "sources/new.py").read_text() == "depth = 2\n"
    (told,) = (event for event in events(folder) if "left_out" in event)
    assert told["left_out"] == code["repositories"][0]["left_out"]
    assert told["left_out"][0] == "others/run_0/ (another run, 100 files)"
    assert told["left_out"][3] == "large.py (200,002 bytes, more than 100,000)"
    assert check_record(folder)[0] == []


def test_versions_of_all_imported_packages_are_in_it(record: Record, tmp_path: Path) -> None:
    packages = read(record.folder, "env.json")["packages"]
    assert {"torch", "pillow", "pyyaml", "pytest"} <= packages.keys()
    module = ModuleType("imported_by_a_plugin")
    module.__file__, module.__version__ = f"{tmp_path}/site-packages/x.py", "4.2"  # type: ignore[attr-defined]
    sys.modules["imported_by_a_plugin"] = module
    try:
        record.close("finished", {})
    finally:
        del sys.modules["imported_by_a_plugin"]
    assert '"imported_by_a_plugin": "4.2"' in (record.folder / "events.jsonl").read_text()


def test_without_git_the_plugins_are_kept(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "plain"
    (work / "run").mkdir(parents=True)
    (work / "my_words_of_a_record.py").write_text("WIDTH = 3\n")
    monkeypatch.chdir(work)
    load_plugins(["my_words_of_a_record.py"])
    Record(work / "run", config, [], "")
    code = read(work / "run", "code.json")
    assert code["commit"] is None or code["repositories"][0]["name"] != "plain"
    assert "my_words_of_a_record.py" in code["plugins"]
    assert (work / "run/plugins/my_words_of_a_record.py").read_text() == "WIDTH = 3\n"


def test_config_and_overrides_read_back(record: Record) -> None:
    config = yaml.safe_load((record.folder / "config.yaml").read_text())
    assert config["model"]["name"] == "small_resnet"
    assert yaml.safe_load((record.folder / "overrides.yaml").read_text()) == ["epochs=2"]


def test_the_hash_tells_configs_apart_and_passes_over_names(config: Config) -> None:
    same = config | {"name": "other", "output_dir": "there", "checkpoint": config["checkpoint"] | {"resume": "auto"}}
    assert config_hash(same) == config_hash(config)
    assert config_hash(config | {"seed": 1}) != config_hash(config)
    assert config_hash(config | {"dataset": config["dataset"] | {"root": "/a"}}) != config_hash(config)
