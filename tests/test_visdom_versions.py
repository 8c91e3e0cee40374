"""Visdom 0.2.4 (of Python 3.11) and 0.3 (from 3.12 on): server, client and page with the one that each Python gets."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expkit.core.extras import visdom_install_command
from tests.cli.test_visdom import served
from tests.loggers.servers import panes, panes_of, post
from tests.loggers.shown import FIGURES
from tests.loggers.test_visdom import logged
from tests.records.report.browser import opened
from tests.visdom_pythons import ROOT, VERSIONS, environment_of, python_of

# The logger without the others, for the packages that they need are not there.
CLIENT = """
import sys, types
package = types.ModuleType("expkit.loggers")
package.__path__ = [sys.argv[1]]
sys.modules["expkit.loggers"] = package
from expkit.loggers.base import Point, RunFacts
from expkit.loggers.visdom import VisdomLogger
from tests.loggers.shown import FIGURES
logger = VisdomLogger("localhost", int(sys.argv[2]), "theirs", None, 60)
for _ in range(2):
    logger.start(RunFacts("theirs", "f", {}, {"run": "theirs"}))
    for step in (1, 2, 3):
        logger.point(Point("step", 0, step, {"loss": 1 / step}))
        logger.message(f"step {step}")
        logger.flush()
    for figure in FIGURES:
        logger.show(figure)
    logger.close({"record": "f"})
"""
IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
as_before = pytest.mark.skipif(not IS_LONG, reason="gets the same visdom as Python 3.12: EXPKIT_LONG=1 runs it")
Install = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Return a function that gives the variables of a version, whose packages are installed once."""
    made: dict[str, dict[str, str]] = {}

    def variables(version: str) -> dict[str, str]:
        if version not in made:
            made[version] = environment_of(version, tmp_path_factory.mktemp("visdom") / version)
        return made[version]

    return variables


@pytest.mark.parametrize("version", [*VERSIONS[:2], pytest.param(VERSIONS[2], marks=as_before)])
def test_server_and_client(version: str, install: Install, tmp_path: Path) -> None:
    python, variables = python_of(version), install(version)
    options = ["--page", str(tmp_path / "page"), "--folder", str(tmp_path / "kept")]
    with served(tmp_path, *options, path="/nowhere", python=python, variables=variables) as (port, server):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
            assert b"<html" in page.read()
        logged(port, "ours")
        client = [python, "-c", CLIENT, str(ROOT / "expkit" / "loggers"), str(port)]
        done = subprocess.run(client, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        for run in ("ours", "theirs"):
            held = panes_of(port, run)
            shown = {one.name.replace("/", "_") for one in FIGURES}
            assert {"run", "log", "result", "loss"} | shown <= set(held)
        assert held["loss"]["content"]["data"][0]["x"] == [1, 2, 3]
        foreign = urllib.request.Request(f"http://127.0.0.1:{port}/close", b"{}", {"Origin": "http://evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=20)
        post(port, "save", {"data": ["ours"], "eid": "ours"})
        assert panes(port, "ours")
        assert (tmp_path / "kept" / "ours.json").is_file()
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130
    assert "Traceback" not in (tmp_path / "output").read_text()


@pytest.mark.skipif(not IS_LONG, reason="fetches the page's scripts: EXPKIT_LONG=1 runs it")
@pytest.mark.parametrize("version", VERSIONS)
def test_page(version: str, install: Install, tmp_path: Path) -> None:
    page = os.environ.get("EXPKIT_VISDOM_PAGE") or str(tmp_path / "page")
    more: dict[str, Any] = {"python": python_of(version), "variables": install(version)}
    with served(tmp_path, "--page", page, **more) as (port, _):
        if "the page stays empty" in (printed := (tmp_path / "output").read_text()):
            pytest.skip(printed)
        with opened(logged(port, "seen", "a run").where()) as (browser, heard):
            browser.wait_for_selector(".react-grid-item .js-plotly-plot .main-svg", timeout=60_000)
            browser.wait_for_function(f"document.querySelectorAll('.react-grid-item').length >= {6 + len(FIGURES)}")
            assert not [text for text in heard if text.startswith("error")]


def test_what_is_said_where_visdom_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, command in (
        (11, "pip install --no-build-isolation 'visdom<0.3'"),
        (12, "pip install 'expkit[visdom]'"),
    ):
        monkeypatch.setattr("sys.version_info", (3, version, 0))
        assert command in visdom_install_command()
