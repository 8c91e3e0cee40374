"""python -m expkit visdom: a server for this machine, with its page or without."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from expkit.cli.visdom import main
from tests.loggers.servers import free_port, panes, post
from tests.sockets import listening, open_to_others


def answers(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@contextmanager
def served(
    folder: Path, *arguments: str, path: str | None = None, python: str = sys.executable,
    variables: Mapping[str, str] = os.environ,
) -> Iterator[tuple[int, subprocess.Popen[str]]]:  # fmt: skip
    """Run the command; yields the port, once it answers, and the process."""
    port = free_port()
    command = [python, "-m", "expkit", "visdom", "--port", str(port), *arguments]
    environment = {**variables, **({"PATH": path} if path is not None else {})}
    with open(folder / "output", "w") as output:
        server = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment, text=True)
    try:
        deadline = time.monotonic() + 180
        while not answers("127.0.0.1", port):
            assert server.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield port, server
    finally:
        server.kill()
        server.wait()


@contextmanager
def served_page(folder: Path) -> Iterator[int]:
    """Serve with the page's scripts; EXPKIT_VISDOM_PAGE names a folder that keeps them, else npm fetches them."""
    kept = os.environ.get("EXPKIT_VISDOM_PAGE")
    if not kept and not os.environ.get("EXPKIT_LONG"):
        pytest.skip(
            "neither EXPKIT_VISDOM_PAGE, a folder of the page's scripts, nor EXPKIT_LONG=1, which fetches them, is set"
        )
    if not kept and not shutil.which("npm"):
        pytest.skip("npm, which fetches the page's scripts, is not installed")
    with served(folder, "--page", kept or str(folder / "page")) as (port, _):
        if "the page stays empty" in (printed := (folder / "output").read_text()):
            pytest.skip(printed)
        yield port


def test_without_the_page_points_are_taken_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    with served(tmp_path, "--page", str(tmp_path / "page"), path="/nowhere") as (port, server):
        post(port, "events", {"win": "a", "eid": "mine", "data": [{"type": "text", "content": "x"}], "opts": {}})
        assert list(panes(port, "mine")) == ["a"]
        post(port, "save", {"data": ["mine"], "eid": "mine"})
        assert (tmp_path / "outputs" / "visdom" / "mine.json").is_file()
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
    printed = (tmp_path / "output").read_text()
    assert "the page stays empty, for its scripts are missing (npm is not installed)" in printed
    assert f"http://localhost:{port}" in printed
    assert "Traceback" not in printed


def test_npm_without_a_network_is_told(tmp_path: Path) -> None:
    """npm asks a registry that is not there."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}")
        patched.setenv("npm_config_fetch_retries", "0")
        patched.setenv("npm_config_cache", str(tmp_path / "npm"))
        with served(tmp_path, "--page", str(tmp_path / "page")) as (port, _):
            post(port, "events", {"win": "a", "eid": "mine", "data": [{"type": "text", "content": "x"}], "opts": {}})
    assert "npm failed: " in (tmp_path / "output").read_text()


def test_it_is_for_this_machine_only(tmp_path: Path) -> None:
    with served(tmp_path, "--page", str(tmp_path / "page"), path="/nowhere") as (port, server):
        assert {number for _, number in listening(server.pid)} == {port}
        assert open_to_others(server.pid) == set()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "expkit", "visdom", "--port", port, "--page", str(tmp_path / "page")]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PATH": "/nowhere"}
        )
    assert done.returncode == 2
    assert done.stderr == f"error: --port: {port} cannot be opened: Address already in use; give another one\n"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "eight", "9" * 5000])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--port={port}"])
    assert ended.value.code == 2
    assert "--port: takes a number from 1 to 65535" in capsys.readouterr().err


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        main([f"--port={free_port()}", f"--page={tmp_path}/page", f"--folder={tmp_path}/file"])
    assert ended.value.code == 2
    assert "error: --folder: " in capsys.readouterr().err
