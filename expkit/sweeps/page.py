"""A sweep as a page: parallel coordinates, the table of its runs, and their curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from expkit.core.files import write_text
from expkit.core.formatting import count_noun
from expkit.core.plots.parallel_coordinates import Trace, parallel_chart
from expkit.records.compare.output import page_of
from expkit.records.compare.table import compare
from expkit.sweeps.job import Outcome, SweepJob, brief

NAME = "sweep.html"


def write_page(
    folder: Path, jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome], more: Sequence[str] = ()
) -> Path | None:
    """Write sweep.html of the jobs that have a run folder, None where none has. It needs no network.

    more: charts of a search.
    """
    begun = [job for job in jobs if outcomes[job.number].folder is not None]
    if not begun:
        return None
    scored = [job for job in begun if (score := outcomes[job.number].score) is not None and score == score]
    orders = list(dict.fromkeys(job.order for job in scored))  # a chart's colours are one scale
    alike = [[job for job in scored if job.order == order] for order in orders]
    chart = [_parallel(some, outcomes) for some in alike if len(some) > 1]
    comparison = compare([place for job in begun if (place := outcomes[job.number].folder)])
    path = folder / NAME
    write_text(path, page_of(comparison, folder, [*chart, *more]))
    return path


def _parallel(jobs: Sequence[SweepJob], outcomes: Mapping[int, Outcome]) -> str:
    axes = list(dict.fromkeys(key for job in jobs for key in job.differs))
    name = f"best val/{jobs[0].monitor}"
    traces = []
    for job in jobs:
        score = outcomes[job.number].score
        assert score is not None
        values = [brief(job.differs.get(key, "")) for key in axes]
        traces.append(Trace(values, score, f"job {job.number}: {job.label}: {score:.4f}"))
    return parallel_chart(f"{count_noun(len(jobs), 'job')}, setting by setting", axes, traces, name, jobs[0].higher)
