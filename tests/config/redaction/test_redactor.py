import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from expkit.config.redaction.redactor import Redactor, config_hash

# Written in two parts, since a record of a changed tree of this repository holds this very file.
TWELVE = {
    "ENVIRONMENT": "envvalu" + "e-9f3c1",
    "REMOTE": "remoteto" + "ken-77aa1",
    "GITHUB": "ghp_abcdefgh" + "ijklmnop1234",
    "PASSWORD": "overrid" + "epw-5512",
    "USER": "canar" + "yuser",
    "HOME": "canar" + "yhome",
    "ROOT": "/cana" + "ryroot",
    "HUB": "hf_ABCDEFGH" + "IJKLMNOPQRST",
    "CLOUD": "AKIAABCDEF" + "GHIJKLMNOP",
    "SETTING": "plainen" + "v-4242x",
    "BEARER": "bearer-ab" + "cdefgh123",
    "KEY": "keyb" + "lock",
}

RUN = """
import sys
from pathlib import Path
from expkit.config.compose import compose_one, plain
from expkit.data.datasets import load
from expkit.records.export import export
from expkit.records.writer import Record

root, elsewhere = sys.argv[1:]
words = ["dataset.size=32", "dataset.train_images=10", "dataset.val_images=5", f"dataset.root={elsewhere}",
         f"output_dir={root}/@HOME@/runs", "model.width=4"]
config = plain(compose_one(words))
config["logger"] = {"visdom": {"name": "visdom", "password": "@PASSWORD@"}}
folder = Path("run"); folder.mkdir()
record = Record(folder, config, [*words, "logger.visdom.password=@PASSWORD@"],
                f"python -m expkit.run logger.x.token=@HUB@ {' '.join(words)}")
record.data(load(config["dataset"]))
record.bad_file("cat/1.jpg", f"{elsewhere}/cat/1.jpg: no permission for @USER@")
record.event("warning", text=f"warning: {root}/@HOME@/x @ENVIRONMENT@ Bearer @BEARER@")
record.close("failed", {}, f"OSError: {elsewhere}/x at https://u:@REMOTE@@example.org @CLOUD@")
export(folder, Path("shared.zip"))
export(folder, Path("shared.yaml"))
"""


def filled(text: str) -> str:
    """Return a text with @NAME@ written out."""
    for name, canary in TWELVE.items():
        text = text.replace(f"@{name}@", canary)
    return text


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a process with twelve secrets has written a record and its exports."""
    root = tmp_path_factory.mktemp("canaries")
    work = root / TWELVE["HOME"] / "work"
    work.mkdir(parents=True)
    key = "-----BEGIN PRIVATE KEY-----\n@KEY@\n-----END PRIVATE KEY-----"
    code = f'TOKEN = "@GITHUB@"\nHOME = "{root}/@HOME@/data"\nKEY = """{key}"""\n'
    (work / "own.py").write_text(filled(code))
    for words in (["init", "-q"], ["remote", "add", "origin", filled("https://me:@REMOTE@@example.org/a.git")]):
        subprocess.run(["git", *words], cwd=work, check=True)
    secrets = {"MY_API_TOKEN": TWELVE["ENVIRONMENT"], "SOME_SETTING": TWELVE["SETTING"], "USER": TWELVE["USER"]}
    homes = {"HOME": str(work.parent), "LOGNAME": TWELVE["USER"], "XDG_CACHE_HOME": str(root / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", filled(RUN), str(root), f"{root}{TWELVE['ROOT']}/pictures"],
        cwd=work, env=os.environ | secrets | homes | {"PYTHONPATH": str(Path(__file__).parents[4])},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return work


def contents(folder: Path) -> str:
    paths = [path for path in (folder / "run").rglob("*") if path.is_file()]
    return "\n".join(path.read_bytes().decode("latin-1") for path in [*paths, folder / "shared.yaml"])


@pytest.mark.parametrize("canary", TWELVE.values(), ids=TWELVE)
def test_no_secret_gets_in(canary: str, left_behind: Path) -> None:
    assert canary not in contents(left_behind)


def test_what_is_no_secret_stays(left_behind: Path) -> None:
    text = contents(left_behind)
    assert "dataset.size=32" in text
    assert '"remote": "https://example.org/a.git"' in text
    assert "<elsewhere>/pictures" in text
    assert 'TOKEN = "<secret>"' in text
    assert json.loads((left_behind / "run/record.json").read_text())["status"] == "failed"


def test_paths_and_names_become_portable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER", "zaphod")
    (tmp_path / "home/work").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home/work")
    scrubber = Redactor()
    node = {"root": f"{tmp_path}/home/work/data", "val": f"{tmp_path}/home/pets", "far": "/mnt/x y/pets", "kept": "a/b"}
    assert scrubber.value(node) == {"root": "data", "val": "~/pets", "far": "<elsewhere>/pets", "kept": "a/b"}
    assert scrubber.text("dataset.root=/mnt/pets lr=1/2 https://a.org/b/c") == (
        "dataset.root=<elsewhere>/pets lr=1/2 https://a.org/b/c"
    )
    assert scrubber.text("zaphod@there, zaphodian") == "<user>@there, zaphodian"
    assert scrubber.source("a.py", "next_token = next(tokens)") == "next_token = next(tokens)"
    if len(host := socket.gethostname()) > 3:
        assert scrubber.text(f"on {host}:") == "on <host>:"


def test_the_hash_needs_no_portable_form() -> None:
    assert config_hash({"seed": 0, "dataset": {"root": "/a/x"}}) != config_hash(
        {"seed": 0, "dataset": {"root": "/b/x"}}
    )
