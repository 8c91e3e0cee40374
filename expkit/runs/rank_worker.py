"""python -m expkit.runs.rank_worker FILE: one process of a run, started by the launcher with the frozen config."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from expkit.core.child_process import die_with_parent
from expkit.core.errors import ConfigError
from expkit.core.escaping import escape_output, hide_sign, one_line, show_sign
from expkit.core.process import flush, importing


def main() -> None:
    """Do this rank's part of the run; leaves how it ended, where that was not well, for the launcher."""
    frozen_path = Path(sys.argv[1])
    folder, rank = frozen_path.parent, int(os.environ["RANK"])
    frozen = json.loads(frozen_path.read_text())
    die_with_parent(frozen["launcher"])
    (folder / f"rank_{rank}.pid").unlink(missing_ok=True)  # of the process before a restart
    if rank:
        _print_to(folder / f"rank_{rank}.log")
    else:
        show_sign("starting the ranks")
    escape_output()
    if (ended := folder / f"end_{rank}.json").is_file():
        told = json.loads(ended.read_text())
        if told["kind"] == "told":  # a restart would only do the same again
            sys.exit(told["code"])
        ended.unlink()
    code, kind, reason = 1, "error", ""
    try:
        code, kind, reason = _run(frozen, folder, rank)
    except SystemExit as end:
        code, kind = end.code if isinstance(end.code, int) else 1, "told"
    except KeyboardInterrupt:  # while torch is imported, which can then not be imported again to explain anything
        os._exit(130)
    except BaseException as error:
        kind, reason = _explain(error, folder, rank)
    if code:
        _leave(folder, rank, code, kind, reason)
    hide_sign()
    failed = flush()
    os._exit(code or failed)  # torch's threads may wait for ranks that are gone


def _run(frozen: dict[str, Any], folder: Path, rank: int) -> tuple[int, str, str]:
    from expkit.config.plugins import load_plugins

    load_plugins(frozen["plugins"])
    with importing():
        from expkit.devices.device import share_cores
        from expkit.devices.process_group import given_ranks
        from expkit.devices.rank_launcher import announce
        from expkit.runs import multi_process

    share_cores(frozen["cores"])  # those of the launcher, which may be one job of several side by side
    ranks = given_ranks()
    assert ranks is not None
    place = Path(frozen["folder"]) if frozen["folder"] else None
    try:
        told = (frozen["config"], frozen["overrides"], frozen["command"])
        outcome, _ = multi_process.train_as_rank(
            *told, ranks, place, lambda: announce(folder, rank), frozen["last_step"]
        )
    except ConfigError as error:
        for fault in error.faults:
            print(f"error: {one_line(fault)}", file=sys.stderr)
        return 2, "told", "; ".join(error.faults)
    return outcome.code, "told", outcome.reason


def _explain(error: BaseException, folder: Path, rank: int) -> tuple[str, str]:
    """Print an error where it belongs; returns (kind, reason)."""
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


def _leave(folder: Path, rank: int, code: int, kind: str, reason: str) -> None:
    from expkit.devices.rank_launcher import RankEnd, rank_log

    RankEnd(rank, code, kind, reason, str(rank_log(folder, rank)), time.time()).write(folder)
    if kind == "peer":
        time.sleep(3)  # the launcher sees the rank that is to blame before this one


def _print_to(path: Path) -> None:
    """Have all that this process prints, torch's C++ included, go to a file."""
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


if __name__ == "__main__":
    main()
