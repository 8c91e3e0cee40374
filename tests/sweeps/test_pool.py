"""The pool: processes of their own, shares of the machine, ends of every kind, and a memory that stays as it is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from expkit.core.errors import ConfigError
from expkit.sweeps import pool as pools
from expkit.sweeps.job import Outcome, SweepJob
from expkit.sweeps.pool import Ended, Pool, Task
from expkit.sweeps.resources import share_out, threads_of
from expkit.sweeps.tracker import conclude
from expkit.sweeps.worker import Share

Job = Callable[[dict[str, Any], list[str]], object]


def observer(ended: Any, started: Any = None, tick: Any = None) -> Any:
    return SimpleNamespace(started=started or (lambda task: None), ended=ended, tick=tick or (lambda: None))


def run(job: Job, folder: Path, count: int = 1, shares: int = 1, started: Any = None) -> list[Ended]:
    """Run a job several times; returns how each ended, in the order of their numbers."""
    tasks = [
        Task(SweepJob(number, [], {}, ""), {"number": number}, folder / f"{number}.txt") for number in range(count)
    ]
    ends: dict[int, Ended] = {}
    pool = Pool(job, [Share(number + 1, str(number)) for number in range(shares)])
    pool.run(tasks, observer(lambda task, end: ends.update({task.job.number: end}), started))
    return [ends[number] for number in range(count)]


def test_every_kind_of_end_is_told(tmp_path: Path) -> None:
    def job(config: dict[str, Any], overrides: list[str]) -> None:
        match config["number"]:
            case 1:
                sys.exit(3)
            case 2:
                raise ValueError("odd")
            case 3:
                os.kill(os.getpid(), signal.SIGKILL)
            case 4:
                raise KeyboardInterrupt

    assert [end.code for end in run(job, tmp_path, 5, 2)] == [0, 3, 1, -9, 130]
    assert "ValueError: odd" in (tmp_path / "2.txt").read_text()


def test_what_a_job_prints_goes_to_its_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def job(config: dict[str, Any], overrides: list[str]) -> None:
        print("hello")
        os.write(2, b"and to the system's own stream\n")
        subprocess.run(["echo", "from a child"], check=True)

    run(job, tmp_path)
    assert sorted((tmp_path / "0.txt").read_text().splitlines()) == [
        "and to the system's own stream", "from a child", "hello",
    ]  # fmt: skip
    assert capfd.readouterr().out == ""


def test_shares_go_from_hand_to_hand(tmp_path: Path) -> None:
    def job(config: dict[str, Any], overrides: list[str]) -> None:
        from expkit.devices.device import available_cores

        print(os.environ["CUDA_VISIBLE_DEVICES"], available_cores())
        time.sleep(0.2)

    began = time.perf_counter()
    run(job, tmp_path, 4, 2)
    assert time.perf_counter() - began > 0.4  # two at a time
    cores = min(2, len(os.sched_getaffinity(0)))
    assert (
        sorted((tmp_path / f"{number}.txt").read_text() for number in range(4)) == ["0 1\n"] * 2 + [f"1 {cores}\n"] * 2
    )


def test_the_children_of_a_killed_job_go_with_it(tmp_path: Path) -> None:
    def job(config: dict[str, Any], overrides: list[str]) -> None:
        child = subprocess.Popen(["sleep", "60"])
        (tmp_path / "child").write_text(str(child.pid))
        os.kill(os.getpid(), signal.SIGKILL)

    assert run(job, tmp_path)[0].code == -9
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("presses", "code"), [(1, 7), (2, 8), (3, -9)])
def test_ctrl_c_asks_then_insists_then_kills(presses: int, code: int, tmp_path: Path) -> None:
    def job(config: dict[str, Any], overrides: list[str]) -> None:
        heard: list[int] = []
        signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
        (tmp_path / "ready").touch()
        while len(heard) < presses or presses == 3:
            time.sleep(0.01)
        sys.exit(6 + len(heard))

    tasks = [Task(SweepJob(number, [], {}, ""), {}, tmp_path / f"{number}.txt") for number in range(2)]
    ends: list[Ended] = []
    pool, pressed = Pool(job, [Share(1)]), [0.0]

    def tick() -> None:
        if (tmp_path / "ready").exists() and len(pressed) <= presses and time.monotonic() - pressed[-1] > 0.2:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    pool.run(tasks, observer(lambda task, end: ends.append(end), tick=tick))
    assert [end.code for end in ends] == [code]  # the second one never began
    assert pool.asked == [signal.SIGINT] * presses
    assert signal.getsignal(signal.SIGINT) == before


def test_memory_stays_and_a_job_costs_little(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def job(config: dict[str, Any], overrides: list[str]) -> None:
        bytearray(50_000_000)

    def work() -> float:
        return sum(os.times()[:4])  # of the processors, by this process and those that it has waited for

    sizes: list[int] = []
    before = work()
    run(job, tmp_path, 30, started=lambda task: sizes.append(resident()))
    assert (work() - before) / 30 < 0.5  # 0.04 s on an idle machine
    assert sizes[-1] - sizes[5] < 5_000_000


@pytest.mark.skipif("EXPKIT_LONG" not in os.environ, reason="EXPKIT_LONG=1: a process that imports torch anew")
def test_a_spawned_job_runs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "START_METHOD", "spawn")  # as on macOS and Windows
    assert run(_spawned, tmp_path)[0].code == 5
    assert (tmp_path / "0.txt").read_text() == "0\n"


def _spawned(config: dict[str, Any], overrides: list[str]) -> None:
    print(config["number"])
    sys.exit(5)


# ---- what an end means -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ended", "was_asked", "status", "says"),
    [
        (Ended(-9, 1.0, out_of_memory=True), False, "failed", "memory ran out and the system killed it"),
        (Ended(-9, 1.0), False, "failed", "killed by SIGKILL"),
        (Ended(-11, 1.0), False, "failed", "killed by SIGSEGV"),
        (Ended(-9, 1.0), True, "interrupted", "killed"),
        (Ended(130, 1.0), True, "interrupted", "SIGINT"),
        (Ended(143, 1.0), False, "interrupted", "SIGTERM"),
        (Ended(2, 1.0), False, "failed", "model.width: no; epochs: no (exit code 2)"),
        (Ended(0, 1.0), False, "failed", "a record that says ''"),
    ],
)
def test_an_end_is_told_in_words(ended: Ended, was_asked: bool, status: str, says: str, tmp_path: Path) -> None:
    output = tmp_path / "0.txt"
    output.write_text("begins\nerror: model.width: no\nerror: epochs: no\n")
    outcome = Outcome(status="running")
    conclude(outcome, SweepJob(0, [], {}, ""), ended, output, was_asked)
    assert outcome.status == status
    assert says in outcome.reason


def test_the_systems_kills_are_counted() -> None:
    assert pools.out_of_memory_kills() >= 0


# ---- shares ----------------------------------------------------------------------------------------------------------
def configs(count: int, **device: Any) -> list[dict[str, Any]]:
    return [{"device": {"name": "auto"} | device}] * count


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("expkit.sweeps.resources", "expkit.devices.device"):
        monkeypatch.setattr(f"{module}.available_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert share_out(configs(20), None, 0) == [Share(2)] * 8
    assert share_out(configs(3), None, 0) == [Share(5)] * 3
    assert share_out(configs(20, threads=4), None, 0) == [Share(4)] * 4
    assert share_out(configs(20), 2, 0) == [Share(8)] * 2
    assert [threads_of(configs(1)[0], Share(5)), threads_of(configs(1, threads=3)[0], Share(5))] == [5, 3]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as for a run alone
    assert threads_of(configs(1)[0], Share(5)) == 2


def test_gpus_are_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expkit.sweeps.resources.available_cores", lambda: 16)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert share_out(configs(20), None, 2) == [Share(8, "0"), Share(8, "1")]
    assert [share.gpu for share in share_out(configs(20), 3, 2)] == ["0", "1", "0"]
    assert share_out(configs(20, name="cpu"), None, 2) == [Share(2)] * 8
    assert share_out(configs(20, name="gpu", index=1), None, 2) == [Share(8)] * 2  # they have said which
    assert share_out(configs(20, name="multi_gpu"), None, 2) == [Share(16)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5a")
    assert [share.gpu for share in share_out(configs(20), None, 2)] == ["3", "GPU-5a"]


@pytest.mark.parametrize("given", [0, -1, "two", 1.5, True])
def test_a_number_of_jobs_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="n_jobs: expected an integer"):
        share_out(configs(2), given, 0)
