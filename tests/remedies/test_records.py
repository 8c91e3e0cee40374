"""What is said of a record of others that cannot be read or run here, and what then is done or typed."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from expkit.api import Run
from expkit.cli.reproduce import prepared_config
from expkit.config import plugins
from expkit.config.confined import confined
from expkit.config.redaction.redactor import ELSEWHERE
from expkit.config.registry import losses
from expkit.core.errors import ConfigError
from expkit.records.compatibility import missing_plugins
from expkit.records.export import export
from expkit.records.shared_record import read_record
from tests.remedies.followed import node_of

PLUGIN = "from expkit.extend import losses\n\n@losses.register('mine')\ndef mine(task: str) -> None:\n    '''Mine.'''\n"
Spoilt = tuple[Path, Callable[[], object]]  # where the record lies, and what fixes it
Spoil = Callable[[Path], Spoilt]


@pytest.fixture
def run(small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record that may be changed, in the working folder; its place has a blank in it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(small_run.folder, tmp_path / "a run").name)


def no_zip(run: Path) -> Spoilt:
    Path("a.zip").write_bytes(b"PK, and then the connection was lost")
    return Path("a.zip"), lambda: export(run, Path("a.zip"))


def no_record(run: Path) -> Spoilt:
    Path("a").mkdir()
    return Path("a"), lambda: shutil.copytree(run, "a", dirs_exist_ok=True)


def not_there(run: Path) -> Spoilt:
    return Path("gone"), lambda: shutil.copytree(run, "gone")


def of_another_kind(run: Path) -> Spoilt:
    Path("a.tar").write_bytes(b"")

    def fix() -> None:
        Path("a.tar").unlink()
        shutil.copytree(run, "a.tar")

    return Path("a.tar"), fix


def with_a_reference(run: Path) -> Spoilt:
    whole = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(whole.replace("seed: 0", "seed: ${epochs}"))
    return run, lambda: (run / "config.yaml").write_text(whole)


def without_a_config(run: Path) -> Spoilt:
    export(run, Path("a.yaml"))
    whole = yaml.safe_load(Path("a.yaml").read_text())
    Path("a.yaml").write_text(json.dumps({key: value for key, value in whole.items() if key != "config"}))
    return Path("a.yaml"), lambda: Path("a.yaml").write_text(json.dumps(whole))


RECORDS: list[tuple[Spoil, str]] = [
    (no_zip, "fetch it again"),
    (no_record, "give a run folder, a .zip or a record.yaml"),
    (not_there, "give a run folder, a .zip or a record.yaml"),
    (of_another_kind, "is no run folder, .zip or .yaml file"),
    (with_a_reference, "replace it by its value"),
    (without_a_config, "lacks `config:`, which holds the run's whole config"),
]


@pytest.mark.parametrize(("spoil", "said"), RECORDS)
def test_the_record_is_read_then(spoil: Spoil, said: str, run: Path) -> None:
    place, fix = spoil(run)
    with pytest.raises(ConfigError) as raised:
        read_record(place)
    assert said in str(raised.value)
    fix()
    assert read_record(place).config["seed"] == 0


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_the_plugins_of_a_record_are_given_then(ending: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses.names()
    monkeypatch.setattr(losses, "_entries", {**losses._entries})  # what a plugin adds is gone after the test
    monkeypatch.setattr(plugins, "_loaded", [])
    monkeypatch.setitem(sys.modules, "expkit_plugin_mine", plugins)
    monkeypatch.delitem(sys.modules, "expkit_plugin_mine")
    (run / "plugins").mkdir()
    (run / "plugins/mine.py").write_text(PLUGIN)
    (run / "code.json").write_text(json.dumps({"plugins": {"mine.py": "0"}}))
    if ending:
        shutil.make_archive(str(run), "zip", run)
        shutil.rmtree(run)
    record = read_record(Path(f"{run}{ending}"))
    (told,) = missing_plugins(record)
    if ending:
        command = told.partition("unpack it (python ")[2].partition("), ")[0]
        subprocess.run([sys.executable, *shlex.split(command)], check=True)
    words = shlex.split(told.rpartition("then give ")[2])
    assert words[0] == "--plugin"
    plugins.load_plugins(words[1:])
    assert not missing_plugins(record)


# A part of a record's config and what it says, what is said, and what then is typed.
PREPARED: list[tuple[str, dict[str, Any], str, list[str]]] = [
    ("device", {"name": "multi_node", "nodes": 2, "endpoint": "there:29400"},
     "add device=multi_gpu, multi_cpu, gpu or cpu", ["device=cpu"]),
    ("device", {"name": "multi_node", "nodes": 2, "endpoint": "there:29400"},
     "add device=multi_gpu, multi_cpu, gpu or cpu", ["device=multi_cpu"]),
    ("dataset", {"name": "image_folder", "root": f"{ELSEWHERE}/pets"}, "give dataset.root=PATH", ["dataset.root=pets"]),
]  # fmt: skip


@pytest.mark.parametrize(("part", "node", "said", "then"), PREPARED)
def test_it_can_be_run_here_then(part: str, node: dict[str, Any], said: str, then: list[str], run: Path) -> None:
    record = read_record(run)
    record.data = record.data if part == "device" else {}  # this machine recalls where those of the run lie
    record.config[part] = node
    with pytest.raises(ConfigError) as raised:
        prepared_config(record, [])
    assert said in str(raised.value)
    assert prepared_config(record, then)[part]["name"] == (node["name"] if part == "dataset" else then[0][7:])


@pytest.mark.parametrize("place", ["imagenet", "o'clock, 2"])
def test_imagenet_is_unpacked_where_the_user_says(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(place).mkdir()
    with pytest.raises(ConfigError) as raised:
        confined({"name": "imagenet", "root": place})
    words = shlex.split(str(raised.value).rpartition("give it yourself: ")[2])
    assert node_of(["dataset=imagenet", *words])["root"] == place
    assert confined({"name": "imagenet", "root": place}, ["root"])[0]["root"] == place
