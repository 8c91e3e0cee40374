"""How torch is imported by the commands."""

import os
import subprocess
import sys

import pytest

PROGRAM = "from expkit.command import importing\nwith importing():\n    import torch\nprint(torch.get_num_threads())"


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is what torch uses on Linux")
@pytest.mark.parametrize(
    ("asked", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")], ids=str
)
def test_threads_wait_for_each_other_politely(asked: dict[str, str], spins: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment = kept | {"OMP_DISPLAY_ENV": "verbose"} | asked
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment)
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
