"""python -m expkit.runs.rank_worker FILE: one process of a run, started by the launcher with its job file."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from expkit.core.child_process import die_with_parent
from expkit.core.errors import ConfigError
from expkit.core.escaping import clear_status, escape_output, one_line, show_status
from expkit.core.process import flush, importing


def main() -> None:
    """Do this rank's part of the run; leave a failure's cause for the launcher."""
    job_file = Path(sys.argv[1])
    folder, rank = job_file.parent, int(os.environ["RANK"])
    job = json.loads(job_file.read_text())
    die_with_parent(job["launcher"])
    (folder / f"rank_{rank}.pid").unlink(missing_ok=True)  # of the process before a restart
    if rank:  # all output goes to a file, that of torch's C++ code too
        sink = os.open(folder / f"rank_{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
    else:
        show_status("starting the ranks")
    escape_output()
    if (ended := folder / f"end_{rank}.json").is_file():
        end = json.loads(ended.read_text())
        if end["kind"] == "reported":  # a restart would fail in the same way
            sys.exit(end["code"])
        ended.unlink()
    code, kind, reason = 1, "error", ""
    try:
        code, kind, reason = _run(job, folder, rank)
    except SystemExit as error:
        code, kind = error.code if isinstance(error.code, int) else 1, "reported"
    except KeyboardInterrupt:  # while torch is imported, which cannot be imported again to explain the error
        os._exit(130)
    except BaseException as error:
        kind, reason = _explain(error, folder, rank)
    if code:
        _write_end(folder, rank, code, kind, reason)
    clear_status()
    failed = flush()
    os._exit(code or failed)  # torch's threads may wait for ranks that are gone


def _run(job: dict[str, Any], folder: Path, rank: int) -> tuple[int, str, str]:
    from expkit.config.plugins import load_plugins

    load_plugins(job["plugins"])
    with importing():
        from expkit.devices.device import share_cores
        from expkit.devices.process_group import given_ranks
        from expkit.devices.rank_launcher import announce
        from expkit.runs import multi_process

    share_cores(job["cores"])  # the launcher's, which may be one of several parallel jobs
    ranks = given_ranks()
    assert ranks is not None
    run_folder = Path(job["folder"]) if job["folder"] else None
    try:
        outcome, _ = multi_process.train_as_rank(
            job["config"], job["overrides"], job["command"], ranks, run_folder,
            lambda: announce(folder, rank), job["last_step"],
        )  # fmt: skip
    except ConfigError as error:
        for fault in error.faults:
            print(f"error: {one_line(fault)}", file=sys.stderr)
        return 2, "reported", "; ".join(error.faults)
    return outcome.code, "reported", outcome.reason


def _explain(error: BaseException, folder: Path, rank: int) -> tuple[str, str]:
    """Log an error, print it on rank 0, and return (kind, reason)."""
    import traceback

    from expkit.devices.process_group import is_lost_peer
    from expkit.devices.rank_launcher import rank_log

    text = "".join(traceback.format_exception(error))
    with open(rank_log(folder, rank), "a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(text)
    reason = f"{type(error).__name__}: {error}"
    if is_lost_peer(error):
        return "peer", "another rank was lost"
    if rank == 0:
        sys.stderr.write(text)
    return "error", reason


def _write_end(folder: Path, rank: int, code: int, kind: str, reason: str) -> None:
    from expkit.devices.rank_launcher import RankEnd, rank_log

    RankEnd(rank, code, kind, reason, str(rank_log(folder, rank)), time.time()).write(folder)
    if kind == "peer":
        time.sleep(3)  # so that the launcher sees the failed rank before this one


if __name__ == "__main__":
    main()
