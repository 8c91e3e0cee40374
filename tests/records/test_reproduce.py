"""The command in processes of its own, and what it prepares and refuses."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expkit.cli.reproduce import main, prepared_config
from expkit.config.registry import devices
from expkit.core.errors import ConfigError
from expkit.records.shared_record import read_record
from expkit.records.writer import Record
from tests.forks import Forks

ROOT = Path(__file__).parents[2]
LONG = pytest.mark.skipif(not os.environ.get("EXPKIT_LONG"), reason="EXPKIT_LONG=1 runs it: several minutes")
PETS = ["dataset=image_folder", "model.width=4", "epochs=2", "batch_size=4", "log_every=1", "transforms.image_size=32"]


def python(folder: Path, *arguments: str, code: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(code), "COLUMNS": "200"},
    )  # fmt: skip


def test_a_shared_record_is_run_again_elsewhere(
    commands: Forks, tmp_path: Path, image_files: Callable[..., Path]
) -> None:
    """Exported, run again in another folder with the data at another place; and refused once a file has changed."""
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(10)))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    done = commands.run(first, *PETS, f"dataset.root={root}", "logger=none", "dataset.num_workers=0")
    assert done.returncode == 0, done.stderr
    (folder,) = (first / "outputs").iterdir()
    done = commands.run(first, str(folder), "--export", str(second / "shared.zip"), module="expkit.cli.reproduce")
    assert "; not in it: checkpoints, log.txt, report.html\n" in done.stdout
    root.rename(tmp_path / "moved")
    words = ["shared.zip", "--verify", f"dataset.root={tmp_path}/moved", "dataset.num_workers=1"]
    done = python(second, "expkit", "reproduce", *words, "--steps", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": identical (3 points, " in done.stdout
    assert "nothing differs here" in done.stdout
    photo = tmp_path / "moved/cat/1.jpg"
    photo.write_bytes(photo.read_bytes()[:-1] + b"\0")
    done = commands.run(second, *words, module="expkit.cli.reproduce", environment={"COLUMNS": "200"})
    assert done.returncode == 2, done.stdout
    assert "error: data: " in done.stderr
    assert "1 changed (cat/1.jpg)" in done.stdout
    assert len(list((second / "outputs").iterdir())) == 1


def test_it_sets_the_threads_and_finds_the_data(record: Record, tmp_path: Path) -> None:
    record.close("finished", {})
    shared = read_record(record.folder)
    shared.environment["threads"] = 7
    config = prepared_config(shared, ["dataset.num_workers=3"])
    assert config["device"]["threads"] == 7
    assert config["dataset"]["num_workers"] == 3
    assert config["logger"] == {}
    assert config["dataset"]["root"] == str(tmp_path / "shapes")  # outside of the folder it was begun in


def test_a_place_that_is_not_known_is_asked_for(record: Record, cache: Path) -> None:
    for path in (cache / "expkit/places").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: lay outside the folders of who ran it"):
        prepared_config(read_record(record.folder), [])
    assert prepared_config(read_record(record.folder), ["dataset.root=there"])["dataset"]["root"] == "there"


OF_RANKS = {"strategy": "ddp", "timeout": 60, "max_restarts": 1, "precision": "bf16"}
OF_NODES = {"name": "multi_node", "nodes": 2, "endpoint": "node1:29400", "trust_network": True, "count": "all"}


@pytest.mark.parametrize(
    ("recorded", "words", "here"),
    [
        ({"name": "multi_cpu", "count": 2}, [], {"name": "multi_cpu", "count": 2}),
        ({"name": "multi_cpu", "count": 2} | OF_RANKS, ["device=cpu"], {"name": "cpu", "precision": "bf16"}),
        ({"name": "multi_cpu", "count": 4}, ["device.name=multi_gpu"], {"name": "multi_gpu", "count": 4}),
        ({"name": "multi_cpu", "count": 4}, ["device.count=2"], {"name": "multi_cpu", "count": 2}),
        ({"name": "multi_gpu", "count": "all", "indices": None}, ["device=multi_cpu"], {"name": "multi_cpu"}),
        ({"name": "multi_gpu", "count": 2}, ["device.indices=[0,1]"], {"name": "multi_gpu", "indices": [0, 1]}),
        ({"name": "gpu", "index": 1}, ["device=cpu"], {"name": "cpu"}),
        ({"name": "gpu", "index": 1}, ["device=gpu", "device.index=0"], {"name": "gpu", "index": 0}),
        (OF_NODES, ["device=multi_cpu", "device.count=2"], {"name": "multi_cpu", "count": 2}),
        (OF_NODES | {"nodes": 1}, [], {"name": "multi_node", "trust_network": False}),
    ],
)
def test_the_device_is_that_of_the_record_or_what_is_typed(
    recorded: dict[str, Any], words: list[str], here: dict[str, Any], record: Record
) -> None:
    shared = read_record(record.folder)
    shared.config["device"] = recorded
    found = prepared_config(shared, words)["device"]
    assert {key: found.get(key, 0) for key in here} == here
    if words and words[0].startswith(("device=", "device.name=")):
        assert not devices.faults(found)


def test_a_run_of_several_machines_is_not_begun_here(record: Record) -> None:
    shared = read_record(record.folder)
    shared.config["device"] = OF_NODES
    with pytest.raises(ConfigError, match="add device=multi_gpu, multi_cpu, gpu or cpu, and --allow hardware"):
        prepared_config(shared, [])


def test_ranks_end_where_they_are_told_to(commands: Forks, tmp_path: Path) -> None:
    """What one process did is done by ranks too, up to a step in the midst of the schedule."""
    words = ["dataset.size=32", "dataset.train_images=64", "dataset.val_images=16", "model=small_cnn", "model.width=4"]
    words += ["batch_size=16", "epochs=2", "log_every=1", "logger=none", "dataset.num_workers=0", "device=cpu"]
    done = commands.run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in (tmp_path / "outputs").glob("*/record.json"))
    more = ["device=multi_cpu", "device.count=1", "--allow", "hardware", "--steps", "3", "--verify"]
    done = commands.run(tmp_path, str(folder), *more, module="expkit.cli.reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(3 points, " in done.stdout


@LONG
def test_a_run_of_ranks_is_identical(commands: Forks, tmp_path: Path) -> None:
    words = ["dataset.size=32", "dataset.train_images=64", "dataset.val_images=16", "model.width=4", "epochs=2"]
    done = commands.run(tmp_path, *words, "log_every=1", "logger=none", "device=multi_cpu", "device.count=2")
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in (tmp_path / "outputs").glob("*/record.json"))
    for more in (["--steps", "2"], []):
        done = commands.run(tmp_path, str(folder), "--verify", *more, module="expkit.cli.reproduce")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ": identical (" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.width=3"], "model.width: would make another run of it"),
        (["dataset.roott=3"], "did you mean 'dataset.root'"),
        (["--allow", "pakages"], "did you mean 'packages'"),
        (["--steps", "0"], "--steps: expected an integer"),
        (["--export", "here.tar"], "must end with .zip or .yaml"),
    ],
)
def test_mistakes_are_named(words: list[str], said: str, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(record.folder), *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_check_names_an_edited_file(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record.close("finished", {})
    for edited in (False, True):
        if edited:
            (record.folder / "metrics.jsonl").write_text("{}\n")
        with pytest.raises(SystemExit) as ended:
            main([str(record.folder), "--check"])
        assert ended.value.code == int(edited)
        assert ("metrics.jsonl: was changed\n" in capsys.readouterr().out) is edited


def test_differences_are_refused_unless_allowed(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    path = record.folder / "env.json"
    path.write_text(path.read_text().replace('"torch": "', '"torch": "0.'))
    with pytest.raises(SystemExit) as ended:
        main([str(record.folder), "--dry"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert "error: packages: torch differs (0." in told.err
    assert "error: edited: env.json: was changed; --allow edited runs it all the same" in told.err
    assert "packages: torch" in told.out
    main([str(record.folder), "--dry", "--allow", "packages,edited"])


SMALL = ["dataset.size=32", "dataset.train_images=60", "dataset.val_images=20", "epochs=2", "log_every=1"]
TEN: list[list[str]] = [
    ["model.width=4"],
    ["model.width=4", "seed=3", "optimizer=sgd", "schedule=cosine"],
    ["model=small_cnn", "dataset.num_workers=2"],
    ["model.width=4", "sampler=class_balanced", "transforms.batch=[{name: MixUp},{name: CutMix}]"],
    ["model.width=4", "model.dropout=0.3", "accumulate_steps=2", "batch_size=8"],
    ["model.width=4", "transforms=augment", "transforms.image_size=32", "dataset.num_workers=1"],
    ["model.width=4", "device.precision=bf16"],
    ["model.width=4", "device.threads=1", "clip_grad_norm=1"],
    ["model.width=4", "dataset=fake", "optimizer=adam", "schedule=step"],
    ["model.width=4", "device.channels_last=false", "dataset.cache=memory", "loss.label_smoothing=0.1"],
]


@LONG
def test_ten_configs_are_identical_in_another_clone(tmp_path: Path) -> None:
    """10 of 10: run here, run again from a clone of this repository, in another folder, with other data folders."""
    clone, first, second = tmp_path / "clone", tmp_path / "first", tmp_path / "second"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    identical = 0
    told: list[Any] = []
    for number, words in enumerate(TEN):
        here, there = first / str(number), second / str(number)
        here.mkdir(parents=True)
        there.mkdir(parents=True)
        shapes = [word for word in SMALL if "dataset=fake" not in words or not word.startswith("dataset.")]
        done = python(here, "expkit", "run", *shapes, *words, "logger=none")
        assert done.returncode == 0, done.stderr
        (folder,) = (place for place in (here / "outputs").iterdir() if place.name not in ("data", "cache"))
        done = python(here, "expkit", "reproduce", str(folder), "--export", str(there / "shared.zip"))
        done = python(there, "expkit", "reproduce", "shared.zip", "--verify", code=clone)
        told.append((words, done.stdout[-300:], done.stderr[-300:]))
        identical += done.returncode == 0 and ": identical (" in done.stdout and "bit for bit" in done.stdout
    assert identical == 10, told


def test_an_export_names_its_source_files_and_holds_no_secret(commands: Forks, tmp_path: Path) -> None:
    secrets = [f"hunter{number}xQ" for number in range(5)]
    (tmp_path / "plug.py").write_text(f'password: str = "{secrets[0]}"\nheaders = {{"x-api-key": "{secrets[1]}"}}\n')
    (tmp_path / "notes.yaml").write_text(f"env:\n- name: DB_PASSWORD\n  value: {secrets[2]}\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "remote", "add", "origin", f"https://bob:{secrets[3]}@a.org/x"], cwd=tmp_path, check=True)
    words = ["dataset=shapes", "dataset.train_images=64", "dataset.val_images=16", "epochs=1", "logger=none"]
    words += ["model.width=4", "transforms.image_size=32"]
    done = commands.run(tmp_path, *words, "--plugin", "plug.py", environment={"MY_TOKEN": secrets[4]})
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in (tmp_path / "outputs").glob("*/record.json"))
    done = commands.run(tmp_path, str(folder), "--export", "shared.zip", module="expkit.cli.reproduce")
    (named,) = (line for line in done.stdout.splitlines() if line.startswith("source code in it: "))
    assert named.endswith("plugins/plug.py, sources/notes.yaml, sources/plug.py")  # after a patch of a changed checkout
    assert "redacted by patterns" in done.stdout
    with zipfile.ZipFile(tmp_path / "shared.zip") as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    assert [(name, one) for name, text in texts.items() for one in secrets if one.encode() in text] == []
    assert b'password: str = "<secret>"' in texts["plugins/plug.py"]


PLUGIN = """
from torch import nn
from expkit.config.registry import models
@models.register("mine")
def mine(num_classes: int) -> nn.Module:
    "A line."
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))
"""


def test_the_plugin_that_a_record_holds_is_named(commands: Forks, tmp_path: Path) -> None:
    """From a folder and from a .zip: the commands of the message make the record run again."""
    (tmp_path / "plug.py").write_text(PLUGIN)
    words = [
        "dataset.train_images=32",
        "dataset.val_images=16",
        "epochs=1",
        "~model",
        "+model={name: mine}",
        "logger=none",
        "transforms.image_size=32",
    ]
    done = commands.run(tmp_path, *words, "--plugin", "plug.py")
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in (tmp_path / "outputs").glob("*/record.json"))
    assert commands.run(tmp_path, str(run), "--export", "run.zip", module="expkit.cli.reproduce").returncode == 0
    for place in (str(run), "run.zip"):
        done = commands.run(tmp_path, place, "--verify", module="expkit.cli.reproduce")
        assert done.returncode == 2
        assert "model.name: " in done.stderr
        assert "--plugin: the record needs code that it holds, plugins/plug.py: " in done.stderr
    assert "(python -m zipfile -e run.zip run)" in done.stderr
    subprocess.run([sys.executable, "-m", "zipfile", "-e", "run.zip", "run"], cwd=tmp_path, check=True)
    given = done.stderr.split("--plugin ")[-1].strip()
    done = commands.run(tmp_path, "run.zip", "--verify", "--plugin", given, module="expkit.cli.reproduce")
    assert "identical" in done.stdout, done.stdout + done.stderr
