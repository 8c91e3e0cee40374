"""A run folder with a file that is missing, empty, cut, garbage, a directory or unreadable: never a traceback."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import expkit
from expkit.cli.compare import main as compare
from expkit.cli.evaluate import main as evaluate
from expkit.cli.predict import main as predict
from expkit.cli.report import main as report
from expkit.cli.reproduce import main as reproduce
from expkit.cli.run import main as run
from tests.inference.runs import trained_run

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"

FILES = [
    "record.json", "config.yaml", "metrics.jsonl", "events.jsonl", "exhibits.jsonl", "log.txt", "report.html",
    "result.json", "env.json", "code.json", "data.json", "data_files.txt.gz", "overrides.yaml", "bad_files.json",
    "run.lock", "checkpoints", "pictures", "BEST.json", "BEST.safetensors", "LAST.json", "LAST.safetensors",
]  # fmt: skip


def to_directory(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def to_loop(path: Path) -> None:
    """Make a file one that not even root can open."""
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 3),
    "another kind": lambda path: path.write_bytes(b"[1, {}, null]\n"),
    "directory": to_directory,
    "unreadable": to_loop,
}
COMMANDS = {
    "check": lambda folder: reproduce([str(folder), "--check"]),
    "report": lambda folder: report([str(folder)]),
    "compare": lambda folder: compare([str(folder), "--html", str(folder.parent / "compare.html")]),
    "dry": lambda folder: reproduce([str(folder), "--dry", "--allow", "all"]),
    "predict": lambda folder: predict([str(folder), str(folder.parent / "one.png"), "--workers", "0",
                                       "--output", str(folder.parent / "predictions.csv")]),
    "evaluate": lambda folder: evaluate([str(folder), "--workers", "0", "--output", str(folder.parent / "evaluated")]),
    "resume": lambda folder: run([f"checkpoint.resume={folder}", "epochs=3"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> expkit.Run:
    folder = tmp_path_factory.mktemp("damaged")
    return trained_run(folder, "checkpoint.keep_last=2", "name=whole")


def damaged(trained: expkit.Run, folder: Path, name: str, damage: str) -> Path:
    """Return a copy of the run in which one file is damaged."""
    copy = folder / trained.folder.name
    shutil.copytree(trained.folder, copy)
    (copy / "bad_files.json").write_text("{}\n")
    first, *_, last = sorted((copy / "checkpoints").glob("*.json"))
    path = copy / name.replace("BEST", f"checkpoints/{first.stem}").replace("LAST", f"checkpoints/{last.stem}")
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("a file where a folder was")
    if not path.exists():
        path.write_text("{}")
    DAMAGES[damage](path)
    Image.new("RGB", (32, 32), (200, 30, 30)).save(folder / "one.png")
    return copy


def code_of(command: str, folder: Path) -> int:
    try:
        COMMANDS[command](folder)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


CASES = [(name, damage, command) for name in FILES for damage in DAMAGES for command in COMMANDS]


@pytest.mark.parametrize(("name", "damage", "command"), CASES if IS_LONG else CASES[::43])
def test_no_damage_is_a_traceback(
    name: str, damage: str, command: str, trained: expkit.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder = damaged(trained, tmp_path, name, damage)
    code = code_of(command, folder)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert code in (0, 1, 2), text
    assert "Traceback" not in text
