"""A run that cannot go on as it was asked to, a folder that is in the way, and what then is typed or done."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from expkit.api import Run
from expkit.config.compose import compose_one, plain
from expkit.core.lock import FolderLock
from tests.remedies.told import fault_of, says, words_of


@pytest.fixture
def run(small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder that may be changed, below the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(small_run.folder, tmp_path / "outputs" / small_run.folder.name))


# (what is typed, what is said, what then is typed, each of several ways)
RESUMED: list[tuple[str, str, list[str]]] = [
    ("optimizer.lr=0.5", "; checkpoint.force=true resumes anyway", ["optimizer.lr=0.5 checkpoint.force=true"]),
    ("model=small_cnn", "; checkpoint.init_from takes only the weights, into a new run", ["INIT"]),
    ("dataset.train_images=50", "changes the result; checkpoint.force=true resumes anyway", []),
    ("checkpoint.init_from=RUN", "; give one of them", ["", "INIT"]),
    ("checkpoint.resume=RUN/none", "; give a .safetensors file or a run folder", [""]),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), RESUMED, ids=[row[0] for row in RESUMED])
def test_what_is_said_to_who_resumes(typed: str, said: str, then: list[str], run: Path) -> None:
    def words(line: str) -> list[str]:
        given = "checkpoint.resume=RUN" * ("INIT" not in line) + f" {line}"
        return words_of(given.replace("INIT", "checkpoint.init_from=RUN"), RUN=run)

    message = fault_of(words(typed))
    assert says(message, said), message
    assert not [fault for line in then if (fault := fault_of(words(line)))]


def without_checkpoints(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def damaged(run: Path) -> None:
    for path in (run / "checkpoints").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def a_folder_for_a_file(run: Path) -> None:
    (run / "record.json").unlink()
    (run / "record.json").mkdir()


def a_file_for_a_folder(run: Path) -> None:
    (run / "pictures").rename(run / "others")
    (run / "pictures").write_text("")


def a_folder_for_a_checkpoint(run: Path) -> None:
    (run / "checkpoints/epoch_9.json").mkdir()


def of_another_host(run: Path) -> None:
    (run / "run.lock").write_text(json.dumps({"host": "elsewhere", "pid": 7}))


def with_other_data(run: Path) -> None:
    data = json.loads((run / "data.json").read_text())
    data["train"]["fingerprint"] = "0" * 64
    (run / "data.json").write_text(json.dumps(data))


def with_a_file_elsewhere(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["logger"] = {"mlflow": {"name": "mlflow", "store": "sqlite:////elsewhere/runs.db"}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def nothing(run: Path) -> None:
    """What was done, and is left as it is."""


# (what has become of the folder, what is said, what is done about it, what is typed beside checkpoint.resume)
FOLDERS: list[tuple[Callable[[Path], None], str, Callable[[Path], object], str]] = [
    (without_checkpoints, "remove checkpoint.resume to start a new run", nothing, "-"),
    (without_checkpoints, "or move that folder away", lambda run: run.rename("away"), "-"),
    (damaged, "; resume an older run, or start a new one", nothing, "-"),
    (damaged, "; resume an older run", lambda run: shutil.copytree(run.parent / "older", run, dirs_exist_ok=True), ""),
    (a_folder_for_a_file, "a run keeps a file there; move it away and start again",
     lambda run: (run / "record.json").rename("away"), ""),
    (a_file_for_a_folder, "a run keeps one there; move it away and start again",
     lambda run: (run / "pictures").rename("away"), ""),
    (a_folder_for_a_checkpoint, "a run keeps a file there; move it away and start again",
     lambda run: (run / "checkpoints/epoch_9.json").rename("away"), ""),
    (of_another_host, "if it does not, remove {}run.lock and start again", lambda run: (run / "run.lock").unlink(), ""),
    (with_other_data, "; the result will differ too, and checkpoint.force=true resumes anyway", nothing,
     "checkpoint.force=true"),
    (with_a_file_elsewhere, "logger=none resumes without it", nothing, "logger=none"),
]  # fmt: skip


@pytest.mark.parametrize(("become", "said", "done", "typed"), FOLDERS)
def test_what_is_said_of_a_folder_can_be_done(
    become: Callable[[Path], None], said: str, done: Callable[[Path], object], typed: str, run: Path
) -> None:
    shutil.copytree(run, run.parent / "older")
    root = plain(compose_one(["checkpoint.resume=" + str(run)]))["dataset"]["root"]
    become(run)
    words = [f"checkpoint.resume={run}", f"dataset.root={root}"]
    message = fault_of(words)
    assert says(message, said), message
    done(run)
    assert not fault_of([*words, *words_of(typed)] if typed != "-" else [])


def test_a_folder_in_use_is_free_once_its_run_is_stopped(run: Path) -> None:
    lock = FolderLock(run)
    words = words_of("checkpoint.resume=RUN", RUN=run)
    assert says(fault_of(words), "is in use by process {}; wait for it, or stop it first")
    lock.release()
    assert not fault_of(words)


def test_what_a_logger_wrote_to_elsewhere_is_taken_from_who_types_it(run: Path, tmp_path: Path) -> None:
    with_a_file_elsewhere(run)
    words = words_of("checkpoint.resume=RUN", RUN=run)
    assert says(fault_of(words), "to write there, add 'logger.mlflow.store={}';")
    assert not fault_of([*words, f"logger.mlflow.store=sqlite:////{tmp_path}/runs.db"])


def test_what_a_run_keeps_to_itself_is_asked_for(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    root = plain(compose_one([f"checkpoint.resume={run}"]))["dataset"]["root"]
    config["dataset"]["root"] = "<elsewhere>/shapes"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for path in (run / "checkpoints").glob("*.json"):
        manifest = json.loads(path.read_text())
        manifest["config"]["dataset"]["root"] = "<elsewhere>/shapes"
        path.write_text(json.dumps(manifest))
    words = words_of("checkpoint.resume=RUN", RUN=run)
    message = fault_of(words)
    assert says(message, "keeps no secrets and no paths of other folders; give {}=…"), message
    assert "give dataset.root" not in fault_of([*words, f"dataset.root={root}"])
