"""Runs of several ranks, on gloo: the same run as by one process, from one command, and an end without orphans."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._C._distributed_c10d import TCPStore

from expkit.cli import run
from expkit.config.compose import compose_one, plain
from expkit.devices.process_group import _unpacked
from expkit.runs.train import train as train_run
from tests.devices.comparing import TWO, assert_same_run, assert_same_weights, by_one, by_ranks, last_checkpoint
from tests.devices.starting import (
    alive,
    done,
    family,
    only_run,
    points,
    ranks_of,
    small,
    start,
    wait_for_ranks,
    wait_for_step,
)
from tests.loggers.servers import free_port
from tests.sockets import listening, open_to_others

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"
long = pytest.mark.skipif(not IS_LONG, reason="starts many processes: EXPKIT_LONG=1 runs it")
EVERYTHING = [  # a last batch of one image, so that a rank has none; a mean that is weighted; more that must be in step
    "dataset.train_images=33", "loss.class_weights=balanced", "clip_grad_norm=0.5", "ema_decay=0.9",
    "metric=[f1,auroc]",
]  # fmt: skip
SCENARIOS = [
    [],
    ["accumulate_steps=2", "dataset.num_workers=1", "dataset.train_images=40"],
    ["sampler=weighted", "sampler.class_weights={circle: 3}"],
    ["transforms=augment", "transforms.image_size=32"],
    ["model=squeezenet", "transforms.image_size=64", "model.dropout=0.0", "batch_size=8", "optimizer=sgd"],
    ["on_nan=skip", "eval_batch_size=3"],
    ["transforms.batch=[{name: MixUp, alpha: 0.4},{name: CutMix}]", "dataset.train_images=33"],  # pairs across ranks
]


@pytest.mark.parametrize("more", [EVERYTHING, *(SCENARIOS if IS_LONG else [])], ids=" ".join)
def test_two_ranks_do_the_run_of_one(more: list[str], tmp_path: Path) -> None:
    one, two = by_one(tmp_path, *more), by_ranks(tmp_path, *more)
    assert_same_run(one, two)
    assert "device  " not in (two / "ranks" / "rank_1.log").read_text()  # it is silent


@long
def test_four_ranks_do_the_run_of_one(tmp_path: Path) -> None:
    more = [*EVERYTHING, "transforms.batch=[{name: MixUp, alpha: 0.4},{name: CutMix}]"]
    assert_same_run(by_one(tmp_path, *more), by_ranks(tmp_path, *more, "device.count=4"))


@long
@pytest.mark.parametrize("device", [["device=cpu"], ["device=multi_cpu", "device.count=4"]], ids=" ".join)
def test_another_number_of_ranks_goes_on(device: list[str], tmp_path: Path) -> None:
    more = ["schedule=constant", "ema_decay=0.9"]
    whole = by_one(tmp_path, *more)
    begun = by_ranks(tmp_path, *more, "max_steps=4")
    overrides = small(
        tmp_path, f"output_dir={tmp_path}/ranks", *device, *more, f"checkpoint.resume={begun}", "max_steps=null"
    )
    code, printed = done(overrides)
    assert code == 0, printed
    assert "differs from the checkpoint: device.count: 2 ->" in printed
    last = last_checkpoint(whole)
    assert_same_weights(last, begun / "checkpoints" / last.name)


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], Path, list[int]]]:
    """A run in the midst of its steps: (launcher, run folder, all its processes). param: (ranks, step), 0: no step."""
    count, step = getattr(request, "param", (2, 5))
    more = [f"output_dir={tmp_path}/out", *TWO, f"device.count={count}", "epochs=5000", "schedule=constant"]
    launcher = start(small(tmp_path, *more, "dataset.num_workers=1"))
    try:
        run_folder = wait_for_step(tmp_path / "out", step) if step else wait_for_ranks(tmp_path / "out", count)
        yield launcher, run_folder, family(launcher.pid)
    finally:
        for process in family(launcher.pid) if launcher.poll() is None else []:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        launcher.communicate()


def wait_for_end(launcher: subprocess.Popen[str], processes: list[int], seconds: float = 30) -> str:
    """Wait until nothing is left of a run; returns what it printed."""
    began = time.monotonic()
    printed, _ = launcher.communicate(timeout=seconds)
    while any(map(alive, processes)):
        assert time.monotonic() - began < seconds, [one for one in processes if alive(one)]
        time.sleep(0.05)
    return printed


Running = tuple[subprocess.Popen[str], Path, list[int]]


# (ranks, step), and the rank that is killed then: before the first step, and later, with checkpoints being written.
KILLS = [
    ((2, 5), 1), ((2, 0), 0), ((2, 0), 1), ((2, 5), 0), ((2, 200), 0), ((2, 50), 1),
    ((4, 5), 0), ((4, 0), 1), ((4, 20), 2), ((4, 50), 3),
]  # fmt: skip


@pytest.mark.parametrize(("running", "rank"), KILLS if IS_LONG else KILLS[:1], indirect=["running"], ids=str)
def test_a_killed_rank_is_named_and_the_others_end(running: Running, rank: int) -> None:
    launcher, run_folder, processes = running
    assert listening(launcher.pid)  # gloo, on loopback
    assert open_to_others(launcher.pid) == set()
    os.kill(ranks_of(run_folder)[rank], signal.SIGKILL)
    printed = wait_for_end(launcher, processes)
    assert launcher.returncode == 1
    log = run_folder / "ranks" / f"rank_{rank}.log"
    assert printed.splitlines()[-1] == f"error: rank {rank} failed first: killed by SIGKILL; its log: {log}"


@long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)])
@pytest.mark.parametrize("to", ["launcher", "rank 1"])
def test_a_signal_to_any_process_ends_all_at_one_step(number: int, code: int, to: str, running: Running) -> None:
    launcher, run_folder, processes = running
    os.kill(launcher.pid if to == "launcher" else ranks_of(run_folder)[1], number)
    printed = wait_for_end(launcher, processes)
    assert launcher.returncode == code, printed
    assert json.loads((run_folder / "record.json").read_text())["status"] == "interrupted"
    newest = max((run_folder / "checkpoints").glob("*.json"))
    assert json.loads(newest.read_text())["step"] == points(run_folder)[-1]["step"]


@long
def test_nothing_is_left_of_a_killed_launcher(running: Running) -> None:
    launcher, _, processes = running
    launcher.kill()
    wait_for_end(launcher, processes)


@long
def test_a_rank_that_raises_is_the_first_cause(tmp_path: Path) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "import os\nfrom torch import nn\nfrom expkit.config.registry import models\n"
        "class Broken(nn.Module):\n"
        "    def __init__(self, n):\n        super().__init__()\n        self.head, self.calls = nn.Linear(3, n), 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1\n"
        "        if os.environ['RANK'] == '1' and self.calls > 4:\n"
        "            raise RuntimeError('broke here')\n"
        "        return self.head(x.mean((2, 3)))\n"
        "@models.register('broken')\ndef broken(num_classes: int) -> nn.Module:\n    return Broken(num_classes)\n"
    )
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "broken.yaml").write_text("name: broken\n")
    overrides = small(tmp_path, f"output_dir={tmp_path}/out", *TWO, "model=broken")
    command = [sys.executable, "-m", "expkit.run", f"--config-dir={tmp_path}/conf", f"--plugin={plugin}"]
    code, printed = done(overrides, command)
    assert code == 1, printed
    told = printed.splitlines()[-1]
    assert told.startswith("error: rank 1 failed first: RuntimeError: broke here; its log: "), printed
    assert "broke here" in Path(told.rpartition("its log: ")[2]).read_text()


@long
def test_a_lost_rank_is_started_again(tmp_path: Path) -> None:
    more = ["schedule=constant", "device.max_restarts=1", "epochs=40"]
    launcher = start(small(tmp_path, f"output_dir={tmp_path}/out", *TWO, *more))
    run_folder = wait_for_step(tmp_path / "out", 8)
    os.kill(ranks_of(run_folder)[1], signal.SIGKILL)
    printed, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, printed
    assert "resumes from" in printed
    assert [one["epoch"] for one in points(run_folder) if one["kind"] == "epoch"] == list(range(40))


@long
def test_each_job_of_two_sweeps_at_once_has_ranks_of_its_own(tmp_path: Path) -> None:
    train_run(plain(compose_one(over := small(tmp_path, f"output_dir={tmp_path}/first", "epochs=1"))), over, "…")
    jobs = small(tmp_path, *TWO, "seed=0,1", "epochs=1")
    sweeps = [start(["-m", *jobs, f"output_dir={tmp_path}/out/{name}"]) for name in "ab"]
    for sweep in sweeps:
        printed, _ = sweep.communicate(timeout=400)
        assert sweep.returncode == 0, printed
    found = (tmp_path / "out").glob("**/record.json")
    records = [record for record in (json.loads(path.read_text()) for path in found) if "status" in record]
    assert [record["status"] for record in records] == ["finished"] * 4


def torchrun(*more: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *more, "-m", "expkit.run"]


@long
def test_torchrun_s_ranks_are_used(tmp_path: Path) -> None:
    code, printed = done(small(tmp_path, f"output_dir={tmp_path}/ranks", "device=multi_cpu"), torchrun())
    assert code == 0, printed
    assert_same_run(by_one(tmp_path), only_run(tmp_path / "ranks"))


@long
def test_a_single_rank_does_the_run_of_one_process(tmp_path: Path) -> None:
    more = ("model=small_cnn", "model.width=4", "max_steps=2", "logger=none")
    code, printed = done(small(tmp_path, f"output_dir={tmp_path}/ranks", "device=multi_cpu", "device.count=1", *more))
    assert code == 0, printed
    assert_same_run(by_one(tmp_path, *more), only_run(tmp_path / "ranks"))


def test_torchrun_with_a_sweep_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(SystemExit) as end:
        run.main(["-m", "seed=0,1", "device=multi_cpu"])
    assert end.value.code == 2
    assert "python -m expkit.run -m device=multi_gpu" in capsys.readouterr().err


def node(folder: Path, *more: str) -> list[str]:
    """Return overrides of one of two launchers, which stand for two machines."""
    place = [f"output_dir={folder}/ranks", "device=multi_node", "device.count=1"]
    return small(folder, *place, "schedule=constant", *more)


@long
def test_two_launchers_are_two_machines(tmp_path: Path) -> None:
    endpoint = f"device.endpoint=localhost:{free_port()}"
    by_one(tmp_path, "schedule=constant")
    launchers = [start(node(tmp_path, endpoint)) for _ in range(2)]
    for launcher in launchers:
        printed, _ = launcher.communicate(timeout=300)
        assert launcher.returncode == 0, printed
    assert_same_run(only_run(tmp_path / "one"), only_run(tmp_path / "ranks"))


@long
def test_nothing_that_a_stranger_writes_into_the_store_is_run(tmp_path: Path) -> None:
    """Two launchers meet by a port; torch's own rendezvous unpickled what lay there."""
    port, trace = free_port(), tmp_path / "trace"
    more = [f"device.endpoint=127.0.0.1:{port}", "epochs=40"]
    launchers = [start(node(tmp_path, *more)) for _ in range(2)]
    wait_for_step(tmp_path / "ranks", 5)
    for launcher in launchers:
        assert open_to_others(launcher.pid) == set()
        assert listening(launcher.pid)
    store = TCPStore("127.0.0.1", port, is_master=False)
    evil = pickle.dumps(Evil(str(trace)))
    known = set(store.list_keys())
    for key in {*known, "torch.rendezvous.expkit", "/torch.rendezvous.expkit"}:
        if "full" not in key and "closed" not in key:
            store.set(key, evil.decode("latin-1"))
    for launcher in launchers:
        launcher.communicate(timeout=300)
    assert known
    assert not trace.exists()


class Evil:
    """What runs a command when it is unpickled."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


def test_what_ranks_tell_each_other_cannot_execute(tmp_path: Path) -> None:
    file = io.BytesIO()
    torch.save(Evil(str(tmp_path / "trace")), file)
    for content in (file.getvalue(), pickle.dumps(Evil(str(tmp_path / "trace")), 2)):
        with pytest.raises(pickle.UnpicklingError):
            _unpacked(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    assert not (tmp_path / "trace").exists()


@long
def test_a_rank_that_is_lost_on_one_of_two_machines_is_started_again(tmp_path: Path) -> None:
    more = [f"device.endpoint=localhost:{free_port()}", "epochs=60", "device.max_restarts=1"]
    launchers = [start(node(tmp_path, *more)) for _ in range(2)]
    run_folder = wait_for_step(tmp_path / "ranks", 8)
    resume = f"checkpoint.resume={run_folder}"
    pids = [int(path.read_text()) for path in (tmp_path / "ranks" / "nodes").glob("*/rank_*.pid")]
    os.kill(pids[0], signal.SIGKILL)
    for launcher in launchers:
        printed, _ = launcher.communicate(timeout=300)
        assert launcher.returncode == 0, (printed, resume)


@long
def test_a_machine_that_never_comes_is_named(tmp_path: Path) -> None:
    endpoint = f"localhost:{free_port()}"
    code, printed = done(node(tmp_path, f"device.endpoint={endpoint}", "device.timeout=3"))
    assert code == 1
    expected = f"error: device.endpoint: {endpoint}: the other machines did not come within 3 seconds"
    assert printed.splitlines()[-1] == expected


@long
def test_a_mistake_leaves_nothing_behind(tmp_path: Path) -> None:
    code, printed = done(small(tmp_path, f"output_dir={tmp_path}/out", *TWO, "checkpoint.monitor=nonsense"))
    assert code == 2
    assert printed.count("error: checkpoint.monitor") == 1, printed
    assert not list((tmp_path / "out").iterdir())


@long
def test_ranks_end_well_where_nothing_can_be_printed(tmp_path: Path) -> None:
    """A shell that closes their output (>&-) leaves Python without one."""
    command = [sys.executable, "-m", "expkit.run", *small(tmp_path, f"output_dir={tmp_path}/runs", "device=multi_cpu")]
    ended = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, timeout=240)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads((only_run(tmp_path / "runs") / "record.json").read_text())["status"] == "finished"


@pytest.mark.skipif(sys.platform != "linux", reason="the processes of the ranks are read from Linux's /proc")
def test_ctrl_c_while_ranks_import_torch_is_quiet(tmp_path: Path) -> None:
    launcher = start(small(tmp_path, f"output_dir={tmp_path}/out", *TWO))
    try:
        until = time.monotonic() + 120
        while not any(b"expkit.runs.rank_worker" in _command(one) for one in family(launcher.pid)):
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.5)  # Python has begun, and torch takes seconds
        os.killpg(launcher.pid, signal.SIGINT)
        printed, _ = launcher.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
    assert (launcher.returncode, printed) == (130, "")


def _command(process: int) -> bytes:
    with suppress(OSError):  # it has ended meanwhile
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""
