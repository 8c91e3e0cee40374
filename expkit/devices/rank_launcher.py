"""Start the ranks of a run with torch's elastic launcher; each reads one file, not the command line."""

import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from expkit.core.escaping import clear_status
from expkit.core.files import write_text
from expkit.devices.process_group import ROUND, STORE, listen_on_loopback
from expkit.devices.topology import Layout

JOB_FILE = "job.json"  # what the ranks run
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
_PATIENCE = 3  # interrupts after which unresponsive ranks are killed


@dataclass(frozen=True)
class RankEnd:
    """How a rank failed. kind: "reported" (a complete message), "error", or "peer" (another rank died)."""

    rank: int
    code: int
    kind: str
    reason: str
    log: str
    when: float

    def write(self, folder: Path) -> None:
        write_text(folder / f"end_{self.rank}.json", json.dumps(asdict(self)))


def rank_log(folder: Path, rank: int) -> Path:
    """Return the log file of a rank's output; rank 0 prints to the terminal."""
    return folder / f"rank_{rank}.log"


def launch(layout: Layout, job: Mapping[str, Any], folder: Path, command: Sequence[str]) -> tuple[int, str]:
    """Start the ranks of this machine and wait for them; return (exit code, reason if it is not 0).

    job: content of the file for the ranks; folder: for that file and the ranks' logs; command: program and arguments,
    to which the path of the file is appended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("end_*.json"), *folder.glob("rank_*")]:
        old.unlink()
    (folder / JOB_FILE).write_text(json.dumps({**job, "launcher": os.getpid()}, indent=1))
    for name in [*logging.root.manager.loggerDict]:  # each has a level of its own
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # its errors are reported below
    clear_status()  # the ranks write to the same terminal
    with _restored_environment(), _forward_signals(folder, len(layout.devices)), _meeting_place(layout):
        try:
            elastic_launch(_config(layout, folder), command[0])(*command[1:], str(folder / JOB_FILE))
        except ChildFailedError as error:
            return _report_failure(folder, {rank: failure.exitcode for rank, failure in error.failures.items()})
        except SignalException as signalled:
            return 128 + signalled.sigval, signal.Signals(signalled.sigval).name
        except RendezvousError as error:
            return 1, _print_error(f"device.endpoint: {layout.endpoint}: {error}")
    return 0, ""


@contextmanager
def _meeting_place(layout: Layout) -> Iterator[None]:
    """Let the ranks of one machine meet in a private folder, without opening a port."""
    for name in (STORE, ROUND):
        os.environ.pop(name, None)
    if layout.is_local:
        listen_on_loopback()
    if layout.nodes > 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="expkit_") as private:
        os.environ[STORE] = private
        yield


@contextmanager
def _restored_environment() -> Iterator[None]:
    """Restore signal handlers and variables that the launcher changes: a sweep's next job sets its own."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    variables = dict(os.environ)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(variables)


@contextmanager
def _forward_signals(folder: Path, count: int) -> Iterator[None]:
    """Forward signals to the ranks, which agree on their last step, while the launcher waits for them."""
    from torch.distributed.elastic.multiprocessing.api import SignalException

    received: list[int] = []

    def forward(number: int, frame: object) -> None:
        received.append(number)
        ranks = _running(folder)
        if len(ranks) < count:  # still starting: there is nothing to lose
            raise SignalException(f"signal {number}", signal.Signals(number))
        end = received.count(signal.SIGINT) >= _PATIENCE
        for rank in ranks:
            with suppress(ProcessLookupError):
                os.kill(rank, signal.SIGKILL if end else number)

    for number in _SIGNALS:
        signal.signal(number, forward)
    yield


def announce(folder: Path, rank: int) -> None:
    """Register this process with the launcher: it handles signals from now on."""
    (folder / f"rank_{rank}.pid").write_text(str(os.getpid()))


def _running(folder: Path) -> list[int]:
    return [int(path.read_text() or 0) for path in folder.glob("rank_*.pid")]


def _config(layout: Layout, folder: Path) -> Any:
    from torch.distributed.elastic.multiprocessing.api import LogsDest, LogsSpecs
    from torch.distributed.elastic.rendezvous import rendezvous_handler_registry
    from torch.distributed.launcher.api import LaunchConfig

    from expkit.devices import rendezvous

    rendezvous_handler_registry.register(rendezvous.NAME, rendezvous.create)

    class OwnLogs(LogsSpecs):
        """Redirects nothing: ranks write their own logs."""

        def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
            nowhere = dict.fromkeys(envs, "")
            errors = {local: str(folder / f"error_{local}.json") for local in envs}
            return LogsDest(nowhere, nowhere, {}, {}, errors)

        @property
        def root_log_dir(self) -> str:
            return str(folder)

    return LaunchConfig(
        min_nodes=layout.nodes,
        max_nodes=layout.nodes,
        nproc_per_node=len(layout.devices),
        logs_specs=OwnLogs(),
        run_id=layout.run_id or f"{os.getpid()}_{time.monotonic_ns()}",
        rdzv_endpoint=layout.endpoint,
        rdzv_backend=rendezvous.NAME,
        rdzv_configs={"timeout": layout.timeout},
        max_restarts=layout.max_restarts,
        monitor_interval=0.1,
        signals_to_handle="",  # forwarded by _forward_signals
    )


def _report_failure(folder: Path, codes: Mapping[int, int]) -> tuple[int, str]:
    """Report the rank that failed first; return (exit code of the run, reason)."""
    ends = read_ends(folder)
    causes = [end for end in ends if end.kind != "peer"]
    killed = {rank: -code for rank, code in codes.items() if code < 0 and rank not in {end.rank for end in ends}}
    first = min(causes, key=lambda end: end.when, default=None)
    if first is None and killed:
        # The launcher ends ranks by SIGTERM or, if they hang, SIGKILL: then another rank was killed before.
        rank = min(killed, key=lambda rank: (killed[rank] == signal.SIGTERM, rank))
        names = {one.value: one.name for one in signal.Signals}
        cause = f"killed by {names.get(killed[rank], f'signal {killed[rank]}')}"
        return 1, _print_error(f"rank {rank} failed first: {cause}; its log: {rank_log(folder, rank)}")
    if first is None:
        lost = ends[0] if ends else None
        reason = lost.reason if lost else f"exit code {next(iter(codes.values()), 1)}"
        return 1, _print_error(f"rank {lost.rank if lost else next(iter(codes), 0)} failed: {reason}; logs: {folder}")
    if (first.rank or first.kind == "error") and first.code == 1:
        _print_error(f"rank {first.rank} failed first: {first.reason}; its log: {first.log}")
    # Rank 0 has reported a mistake of the user, if it got that far.
    if first.rank and first.code == 2 and not any(end.rank == 0 and end.code == 2 for end in ends):
        _print_error(first.reason)
    return first.code, first.reason


def read_ends(folder: Path) -> list[RankEnd]:
    """Return how ranks failed, in order of time."""
    ends = [RankEnd(**json.loads(path.read_text())) for path in folder.glob("end_*.json")]
    return sorted(ends, key=lambda end: end.when)


def _print_error(text: str) -> str:
    print(f"error: {text}", file=sys.stderr, flush=True)
    return text
