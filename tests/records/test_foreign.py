"""A stranger's record writes nowhere but below outputs/, whatever paths it names."""

import json
from pathlib import Path
from typing import Any

import pytest

from expkit.cli.reproduce import prepared_config
from expkit.config.confined import confined
from expkit.config.resumed_config import config_of_resumed
from expkit.core.errors import ConfigError
from expkit.inference.evaluate.dataset import dataset_node
from expkit.records.shared_record import read_record
from expkit.records.writer import Record
from tests.forks import Forks

SHAPES = {"name": "shapes", "size": 16, "train_images": 10, "val_images": 10, "draw_seed": 0}
LINK = "outputs/data/link/shapes"  # outputs/data/link leads out
DATABASES = ["sqlite:////evil/m.db", "sqlite:///../m.db", "sqlite+pysqlite:////e/m", "sqlite:///file:/e/m?uri=true"]
OUTSIDE = [
    "/tmp/evil/shapes", "../evil/shapes", "outputs/data/../../evil", "~/evil", "outputs", "outputs/data",
    "outputs/r/x", "<x>/../../evil", "<>/evil", LINK,
]  # fmt: skip


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work/outputs/data").mkdir(parents=True)
    (tmp_path / "away").mkdir()
    (tmp_path / "work/outputs/data/link").symlink_to(tmp_path / "away")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("root", OUTSIDE)
@pytest.mark.parametrize("node", [SHAPES, {"name": "cifar10", "download": True}], ids=["drawn", "downloaded"])
def test_data_are_made_below_outputs(work: Path, root: str, node: dict[str, Any]) -> None:
    made, notes = confined({**node, "root": root, "cache_dir": root})
    assert made["root"] == f"outputs/data/{node['name']}" or not made.get("download", True)
    assert made["cache_dir"] == "outputs/cache"
    assert bool(notes) == (made["root"] != root)
    assert dataset_node({**SHAPES, "root": root}, [])["root"] == "outputs/data/shapes"
    assert dataset_node({**SHAPES, "root": root}, [f"dataset.root={root}"])["root"] == root  # the user's own word


@pytest.mark.parametrize("root", ["<elsewhere>/shapes", "<elsewhere>/../../evil"])
def test_a_place_that_a_record_left_out_is_asked_for(record: Record, work: Path, root: str) -> None:
    node = {**SHAPES, "root": root}
    with pytest.raises(ConfigError, match=r"dataset\.root: .*give dataset\.root=PATH"):
        dataset_node(node, [])
    assert dataset_node(node, ["dataset.root=here"])["root"] == "here"
    record.close("finished", {})
    shared = read_record(record.folder)
    shared.config["dataset"] |= node
    shared.data.clear()  # by which this machine would know the place
    with pytest.raises(ConfigError, match=r"dataset\.root: .*give dataset\.root=PATH"):
        prepared_config(shared, [])
    run = Path("outputs/stranger")
    run.mkdir()
    (run / "record.json").write_text("{}")
    (run / "config.yaml").write_text(json.dumps({"dataset": node}))
    with pytest.raises(ConfigError, match=r"give dataset\.root="):
        config_of_resumed({"checkpoint.resume": str(run)})


def test_data_that_lie_there_are_read_there(work: Path) -> None:
    away = work / "away"
    (away / "cifar").mkdir()
    (away / "cifar/batch").touch()
    assert confined({"name": "cifar10", "root": f"{away}/cifar", "download": True})[0]["download"] is False
    assert confined({"name": "image_folder", "root": str(away)})[0]["root"] == str(away)
    with pytest.raises(ConfigError, match=r"archives in '.*' would be unpacked"):
        confined({"name": "imagenet", "root": f"{away}/cifar"})


def test_no_path_of_a_record_is_written_to(record: Record, tmp_path: Path) -> None:
    record.close("finished", {})
    shared = read_record(record.folder)
    evil = str(tmp_path / "evil")
    shared.config |= {"output_dir": evil, "logger": {"mlflow": {"name": "mlflow", "store": f"sqlite:///{evil}/m.db"}}}
    shared.config["checkpoint"]["resume"] = str(record.folder)
    shared.config["dataset"] |= {"cache": "disk", "cache_dir": evil}
    config = prepared_config(shared, [])
    assert evil not in str(config)
    assert config["checkpoint"]["resume"] is None


def test_a_run_that_is_resumed_writes_nowhere_else_and_trusts_no_network(work: Path) -> None:
    run = Path("outputs/stranger")
    run.mkdir()
    (run / "record.json").write_text("{}")

    def resumed(typed: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        (run / "config.yaml").write_text(json.dumps({"output_dir": "/evil", "dataset": SHAPES, **more}))
        return config_of_resumed({"checkpoint.resume": str(run), **(typed or {})}) or {}

    assert resumed(dataset={**SHAPES, "root": "/evil"})["dataset"]["root"] == "outputs/data/shapes"
    assert resumed()["output_dir"] == "outputs"
    device = {"name": "multi_node", "nodes": 2, "endpoint": "evil:29400", "trust_network": True}
    assert resumed(device=device)["device"]["trust_network"] is False
    for store in (*DATABASES, "/evil", "file:///evil", "file:/evil"):
        logger = {"mlflow": {"name": "mlflow", "store": store}}
        with pytest.raises(ConfigError, match="outside the working folder"):
            resumed(logger=logger)
        assert resumed({"logger.mlflow.store": store}, logger=logger)["logger"] == logger
    for store in (None, "sqlite:///m.db", "http://localhost:5000", "outputs/mlruns"):
        assert resumed(logger={"mlflow": {"name": "mlflow", "store": store}})


def test_a_record_draws_below_outputs(commands: Forks, tmp_path: Path) -> None:
    words = ["dataset.train_images=32", "dataset.val_images=16", "epochs=1", "model.width=4", "logger=none"]
    words += ["dataset.root=outputs/data/s", "transforms.image_size=32"]
    done = commands.run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in (tmp_path / "outputs").glob("*/record.json"))
    assert commands.run(tmp_path, str(run), "--export", "r.yaml", module="expkit.cli.reproduce").returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = (tmp_path / "r.yaml").read_text().replace("outputs/data/s", f"{tmp_path}/evil/shapes")
    (elsewhere / "r.yaml").write_text(text)
    done = commands.run(elsewhere, "r.yaml", "--allow", "all", module="expkit.cli.reproduce")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "comes from the record and is not written to; drawn in outputs/data/shapes" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"elsewhere", "outputs", "r.yaml"}
