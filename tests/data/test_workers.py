"""Workers that are killed, stopped or stuck are named with what they held, and none outlives a run, however it ends."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from expkit.config.registry import samplers
from expkit.data.batches import Samples
from expkit.data.datasets.image_files import ImageFiles
from expkit.data.datasets.image_folder import read_folders
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.samplers import Order
from expkit.data.transforms import Chain
from expkit.data.workers import failure
from tests.forks import Forks

LONG = bool(os.environ.get("EXPKIT_LONG"))
ONLY_LONG = pytest.mark.skipif(not LONG, reason="many runs take minutes: set EXPKIT_LONG=1")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to find worker processes in")

# Each reading process notes what it reads. A hang in C holds the interpreter's lock, as a decoder may.
PLUGIN = '''
import ctypes
import os
import time
from pathlib import Path

from torch import Tensor, nn

from expkit.data.dataset import Splits
from expkit.data.datasets.image_files import ImageFiles
from expkit.data.datasets.image_folder import read_folders
from expkit.config.registry import datasets, models


class Watched(ImageFiles):
    def encoded(self, index: int) -> bytes:
        note = Path(f"note.{os.getpid()}")
        note.write_text(self.location(index))
        note.replace(Path("reads", str(os.getpid())))  # at once: whoever looks sees a whole note
        if self.location(index).endswith(self.stuck):
            while self.how == "python":
                time.sleep(1)
            while self.how == "c":
                ctypes.PyDLL(None).sleep(3600)
        time.sleep(self.pause)
        return super().encoded(index)


def watched(root: str, **ways: object) -> Watched:
    files = read_folders(Path(root), "dataset.root")
    files.__class__ = Watched
    vars(files).update(ways)
    return files


@datasets.register("watched")
def build(root: str, val_root: str, stuck: str = "none", how: str = "no", pause: float = 0.0) -> Splits:
    """Files that note who reads them."""
    ways = {"stuck": stuck, "how": how, "pause": pause}
    return Splits(watched(root, **ways), watched(val_root, **ways))


class Fragile(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, classes))

    def forward(self, images: Tensor) -> Tensor:
        if Path("raise").exists():
            Path("raising").touch()
            while not Path("go").exists():
                time.sleep(0.01)
            raise ValueError("planted")
        return self.layers(images)


@models.register("fragile")
def fragile(num_classes: int) -> nn.Module:
    """A net that fails when it is told to."""
    return Fragile(num_classes)
'''
DATASET = "name: watched\nroot: ???\nval_root: ???\nstuck: none\nhow: 'no'\npause: 0.0\nnum_workers: 2\ntimeout: 60\n"


class Run:
    """The command as a process, in a session of its own as a terminal would have it."""

    def __init__(self, commands: Forks, folder: Path, image_files: Callable[..., Path], *overrides: str) -> None:
        self.folder = folder
        (folder / "reads").mkdir()
        (folder / "watched.py").write_text(PLUGIN)
        for group, text in (("dataset/watched", DATASET), ("model/fragile", "name: fragile\n")):
            (folder / "conf" / group).parent.mkdir(parents=True)
            (folder / "conf" / f"{group}.yaml").write_text(text)
        names = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(8)]
        roots = [f"dataset.root={image_files('train', *names)}", f"dataset.val_root={image_files('val', *names)}"]
        choice = ["dataset=watched", "model=fragile", "logger=none", "checkpoint=none", "epochs=100000", "batch_size=4"]
        self.process = commands.start(folder, "--plugin", "watched.py", *choice, *roots, *overrides)

    def reads(self) -> dict[int, str]:
        """Return what each process that has read a file read last."""
        return {int(path.name): path.read_text() for path in (self.folder / "reads").iterdir()}

    def workers(self, split: str) -> list[int]:
        """Return the children of the run that read a split."""
        own = children(self.process.pid)
        return sorted(pid for pid, place in self.reads().items() if f"/{split}/" in place and pid in own)

    def wait_until(self, done: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def record(self) -> dict[str, str]:
        (path,) = self.folder.glob("outputs/*/record.json")
        return dict(json.loads(path.read_text()))

    def failed(self, seconds: float) -> str:
        """Return the reason that a run gives that must fail within so many seconds, in a sentence."""
        known = children(self.process.pid)
        printed, errors = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 1
        assert "Traceback" not in printed + errors
        assert errors == ""
        reason = self.record()["reason"].replace(" ./", f" {self.folder}/")  # a record holds no paths of this machine
        assert self.record()["status"] == "failed"
        assert " ".join(reason.split()) in " ".join(printed.split())
        assert known
        assert not alive(known)
        return reason


@pytest.fixture
def start(commands: Forks, tmp_path: Path, image_files: Callable[..., Path]) -> Iterator[Callable[..., Run]]:
    """Return a function that starts a run; what is left of it goes with the test."""
    runs: list[Run] = []

    def begin(*overrides: str) -> Run:
        runs.append(Run(commands, tmp_path, image_files, *overrides))
        return runs[-1]

    yield begin
    for run in runs:
        for pid in (run.process.pid, *alive(run.reads())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.process.communicate()


def children(pid: int) -> set[int]:
    """Return the child processes of a process that live."""
    stats = [stat_of(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return {int(stat[0]) for stat in stats if stat and stat[2] == str(pid) and stat[1] not in "ZX"}


def stat_of(pid: int) -> list[str]:
    """Return [pid, state, parent] of a process, an empty list for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return [str(pid), *text.rpartition(")")[2].split()[:2]]


def alive(pids: object) -> list[int]:
    return [pid for pid in pids if (stat := stat_of(pid)) and stat[1] not in "ZX"]  # type: ignore[attr-defined]


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=ONLY_LONG)])
def test_a_worker_killed_or_stopped_is_named_with_what_it_read(number: int, start: Callable[..., Run]) -> None:
    run = start("dataset.timeout=3", "dataset.pause=0.3")
    run.wait_until(lambda: len(run.workers("train")) == 2)
    victim = run.workers("train")[1]
    os.kill(victim, number)
    reason = run.failed(seconds=20)
    assert f"worker {victim} " in reason
    assert f"held {run.reads()[victim]};" in reason
    assert "dataset.timeout=3" in reason if number == signal.SIGSTOP else "was killed by SIGKILL" in reason
    assert "dataset.exclude" in reason


@needs_proc
@pytest.mark.parametrize(("how", "split"), [pytest.param("python", "val", marks=ONLY_LONG), ("c", "train")])
def test_a_hang_is_named_with_its_file(how: str, split: str, start: Callable[..., Run]) -> None:
    run = start("dataset.timeout=3", f"dataset.how={how}", f"dataset.stuck={split}/cat/5.jpg")
    stuck = str(run.folder / split / "cat/5.jpg")
    run.wait_until(lambda: stuck in run.reads().values())
    (worker,) = (pid for pid, place in run.reads().items() if place == stuck)
    reason = run.failed(seconds=20)
    assert f"no batch came within dataset.timeout=3 seconds; worker {worker} held {stuck};" in reason
    assert "dataset.exclude" in reason


def end_run(run: Run, end: str, stopped: list[int], pause: float) -> int:
    """Stop some workers, end the run in a way, and return the exit code that this should have."""
    if end == "exception":
        (run.folder / "raise").touch()
        run.wait_until((run.folder / "raising").exists)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    if end == "exception":
        (run.folder / "go").touch()
        return 1
    if end.startswith("ctrl-c"):
        os.killpg(run.process.pid, signal.SIGINT)  # a terminal sends it to the workers too
        if end == "ctrl-c twice":
            time.sleep(pause)
            with suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGINT)
        return 130
    number = signal.SIGTERM if end == "sigterm" else signal.SIGKILL
    run.process.send_signal(number)
    return 143 if end == "sigterm" else -number


ENDS = ["ctrl-c", "ctrl-c twice", "sigterm", "kill -9", "exception"]
# Whose worker is stopped before the end, and the seconds between two Ctrl+C.
STOPPED = [(["train"], 0.02), (["val"], 0.2), ([], 0.1), (["train", "val"], 1.0)]
CASES = [
    pytest.param(end, *case, id=f"{end}, {' and '.join(case[0]) or 'none'} stopped", marks=[ONLY_LONG] * is_long)
    for end, (second, case) in itertools.product(ENDS, enumerate(STOPPED))
    for is_long in [(end, second) not in (("ctrl-c twice", 1), ("kill -9", 3), ("exception", 0))]
]


@needs_proc
@pytest.mark.parametrize(("end", "splits", "pause"), CASES)
def test_no_worker_outlives_a_run(end: str, splits: list[str], pause: float, start: Callable[..., Run]) -> None:
    run = start()
    run.wait_until(lambda: len(run.workers("train")) == len(run.workers("val")) == 2)
    workers = run.workers("train") + run.workers("val")
    code = end_run(run, end, [run.workers(split)[0] for split in splits], pause)
    deadline = time.monotonic() + 10
    while alive(workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(workers)
    _, errors = run.process.communicate(timeout=15)
    if end == "ctrl-c twice":  # the second may come when Python has closed all but itself
        assert run.process.returncode in (code, -signal.SIGINT), errors
        return
    assert run.process.returncode == code, errors
    if end != "kill -9":
        assert run.record()["status"] == ("failed" if end == "exception" else "interrupted")
    assert ("ValueError: planted" in errors) if end == "exception" else (errors == "")


UNCLOSED = """
import os, signal, sys
from pathlib import Path
from expkit.data.datasets.image_folder import read_folders
from expkit.data.loader import Loader, LoaderOptions
from expkit.data.batches import Samples
from expkit.data.transforms import Chain
from expkit.config.registry import samplers

files = read_folders(Path(sys.argv[1]), "root")
order = samplers.build({"name": "sequential"}, targets=files.targets)
loader = Loader(Samples(files, Chain(()), 0, "sample"), order, 1, LoaderOptions(num_workers=2))
next(loader.epoch(0))
pids = [worker.pid for worker in loader.workers()]
os.kill(pids[1], signal.SIGSTOP)
print(*pids)
"""


@needs_proc
def test_python_ends_though_a_stopped_worker_was_never_closed(image_files: Callable[..., Path]) -> None:
    """As after a Ctrl+C in the midst of closing; multiprocessing would wait for it for ever."""
    root = image_files("files", "a/0.jpg", "b/0.jpg")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNCLOSED, str(root)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(done.stdout.split()) == 2
    assert not alive(map(int, done.stdout.split()))


@pytest.fixture
def idle(image_files: Callable[..., Path]) -> Iterator[Loader]:
    """A loader of batches of two in the order of the files, with three workers."""
    data = read_folders(image_files("files", *(f"{name}/{number}.jpg" for name in "ab" for number in range(8))), "root")
    order: Order = samplers.build({"name": "sequential"}, targets=data.targets)
    loader = Loader(Samples(data, Chain(()), 0, "sample"), order, 2, LoaderOptions(num_workers=3, prefetch=1))
    yield loader
    loader.close()


# The first batch asked for goes to worker 0. After two of them: what each worker owes next.
OWED = [
    (0, 1, ["b/0", "b/1"]), (0, 2, ["a/4", "a/5"]), (2, 0, ["b/2", "b/3"]), (5, 0, []),
]  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="only POSIX tells of a dead child by a signal")
@pytest.mark.parametrize(("first", "worker", "owed"), OWED)
def test_an_idle_worker_is_named_with_what_it_owes(first: int, worker: int, owed: list[str], idle: Loader) -> None:
    batches = idle.epoch(0, first)
    for _ in range(2):
        next(batches)
    time.sleep(0.5)  # until all have read ahead, and read no more
    victim = idle.workers()[worker]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    time.sleep(0.5)  # nothing is raised here, in the midst of whatever the training process does
    with pytest.raises(RuntimeError) as caught:
        next(batches)
    failed = str(idle.failure(caught.value))
    root = idle.samples.dataset.location(0).removesuffix("a/0.jpg")
    held = ", ".join(f"{root}{place}.jpg" for place in owed) or "no sample"
    assert failed.startswith(f"worker {victim.pid} was killed by SIGKILL while it held {held};")


class Stuck(ImageFiles):
    """Files of which one never comes."""

    def encoded(self, index: int) -> bytes:
        while self.sample_name(index) == "b/1.jpg":
            time.sleep(1)
        return super().encoded(index)


HANGS = [("fork", 2.0), *(pytest.param(way, 20.0, marks=ONLY_LONG) for way in ("spawn", "forkserver"))]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize(("way", "timeout"), HANGS)
def test_a_hang_is_named_however_workers_start(way: str, timeout: float, image_files: Callable[..., Path]) -> None:
    files = read_folders(
        image_files("files", *(f"{name}/{number}.jpg" for name in "ab" for number in range(2))), "root"
    )
    files.__class__ = Stuck
    order: Order = samplers.build({"name": "sequential"}, targets=files.targets)
    samples = Samples(files, Chain(()), 0, "sample")
    loader, other = (
        Loader(samples, order, 4, LoaderOptions(1, timeout=timeout, start_method=way))  # type: ignore[arg-type]
        for _ in range(2)
    )
    with pytest.raises(RuntimeError) as caught:
        next(loader.epoch(0))
    assert other.failure(caught.value) is None  # that one waits for nothing
    assert f"held {files.root}/b/1.jpg; it is stopped, or reading takes that long" in str(loader.failure(caught.value))
    (worker,) = loader.workers()
    loader.close()
    assert not worker.is_alive()


PIDS = [2**22 + number for number in range(7)]  # more than the largest process id there is


def told(text: str, reads: set[int], due: int | None, pids: list[int] = PIDS[:3]) -> str | None:
    """Return what is said of an error of torch, where worker w holds the sample "sample w"."""
    workers = [SimpleNamespace(pid=pid, exitcode=-9) for pid in pids]
    failed = failure(
        RuntimeError(text), workers, due, reads.__contains__, lambda worker: [f"sample {worker}"], 3
    )  # type: ignore[arg-type]  # fmt: skip
    return None if failed is None else str(failed)


@pytest.mark.parametrize(
    ("reads", "due", "named"),
    [({1}, 0, [1]), ({0, 2}, 1, [0, 2]), (set(), 4, [1]), (set(), 3, [0])],
)
def test_after_a_timeout_those_that_read_are_named(reads: set[int], due: int, named: list[int]) -> None:
    said = told("DataLoader timed out after 3 seconds", reads, due)
    held = "; ".join(f"worker {PIDS[number]} held sample {number}" for number in named)
    assert said is not None
    assert said.startswith(f"no batch came within dataset.timeout=3 seconds; {held}; it is stopped")


def test_many_stuck_workers_are_counted() -> None:
    said = told("DataLoader timed out after 3 seconds", set(range(7)), 0, PIDS)
    assert said is not None
    assert "held sample 3 and 3 more; it is" in said
    assert "sample 4" not in said


@needs_proc
def test_a_stopped_worker_is_named_though_it_reads_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper:
        os.kill(sleeper.pid, signal.SIGSTOP)
        while stat_of(sleeper.pid)[1] != "T":
            time.sleep(0.01)
        said = told("DataLoader timed out after 3 seconds", set(), 0, [PIDS[0], sleeper.pid])
        sleeper.kill()
    assert said is not None
    assert f"; worker {sleeper.pid} held sample 1; it is stopped" in said


def test_errors_of_other_things_are_left_alone() -> None:
    killed = f"DataLoader worker (pid {PIDS[5]}) is killed by signal: Killed. "
    assert told("CUDA out of memory", {1}, 0) is None
    assert told("DataLoader timed out after 3 seconds", {1}, None) is None
    assert told(killed, {1}, None) is None
    assert told(killed, {1}, 0) is not None  # it died before its loader knew it
    assert "sample 2" in str(told(f"DataLoader worker (pid(s) {PIDS[2]}) exited unexpectedly", {1}, None))
