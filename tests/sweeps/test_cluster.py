"""Jobs through Hydra's launchers for clusters, each with its local executor: frozen configs, the same ledger and table.

Behind EXPKIT_LONG=1: each job imports torch anew, and Ray takes 16 s to start.
"""

import importlib.util
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.forks import Forks, wait_until
from tests.sweeps.test_sweep import ledger, rows, small_command, some_checkpoint, sweep_folder

pytestmark = pytest.mark.skipif("EXPKIT_LONG" not in os.environ, reason="EXPKIT_LONG=1: half a minute each")


def launcher(name: str, module: str, extra: str) -> object:
    missing = importlib.util.find_spec(module) is None
    skip = pytest.mark.skipif(missing, reason=f"needs the extra {extra}: pip install 'expkit[{extra}]'")
    return pytest.param(f"hydra/launcher={name}", marks=skip, id=name)


SUBMITIT = launcher("submitit_local", "submitit", "slurm")
RAY = launcher("ray", "ray", "ray")


@pytest.mark.parametrize("launcher", [SUBMITIT, RAY])
def test_a_cluster_gets_frozen_jobs_and_gives_the_same_table(
    launcher: str, commands: Forks, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = small_command(tmp_path, tmp_path_factory.mktemp("drawn"))
    (tmp_path / "conf/model/odd.yaml").write_text("name: odd\npause: 0.05\nhow: well\n")
    command = [*small, launcher, "model.how=well,raise,kill", "seed=0"]
    process = commands.start(tmp_path, *command)
    wait_until(lambda: list(tmp_path.glob("outputs/sweeps/*/tasks/*.json")), 120)
    (tmp_path / "conf/model/odd.yaml").write_text("name: odd\npause: 0.06\nhow: well\n")
    assert process.wait() == 1
    found = rows(tmp_path)
    assert [row["status"] for row in found] == ["finished", "failed", "failed"], found
    assert "an odd model" in found[1]["reason"]
    assert "SIGKILL" in found[2]["reason"]
    config = yaml.safe_load((sweep_folder(tmp_path) / found[0]["folder"] / "config.yaml").read_text())
    assert config["model"]["pause"] == 0.05
    assert [line["event"] for line in ledger(tmp_path)].count("ended") == 3
    assert "best     model.how=well  outputs/sweeps/" in process.printed()


@pytest.mark.parametrize("launcher", [SUBMITIT])
def test_ctrl_c_reaches_the_jobs_and_they_go_on_later(
    launcher: str, commands: Forks, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = small_command(tmp_path, tmp_path_factory.mktemp("drawn"))
    command = [*small, launcher, "model.pause=0.2", "epochs=20", "seed=0,1"]
    process = commands.start(tmp_path, *command)
    wait_until(lambda: some_checkpoint(tmp_path), 120)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130
    assert {row["status"] for row in rows(tmp_path)} == {"interrupted"}
    assert commands.told(tmp_path, *command)[0] == 0
    assert [row["status"] for row in rows(tmp_path)] == ["finished"] * 2
    assert any(line.get("resume") for line in ledger(tmp_path))
