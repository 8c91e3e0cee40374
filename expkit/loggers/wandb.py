"""Weights & Biases: a run in a project, kept on this machine until it is synced, or sent at once."""

import html
import importlib.util
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.loggers.base import Logger, Point, RunFacts, tag
from expkit.loggers.figures import Figure, Histogram, Picture, Table, Text

STEP = "optimizer_step"  # an axis of our own: wandb's drops what comes late, as figures do after an outage


class WandbLogger(Logger):
    """Scalars, pictures, histograms, tables and texts; kinds that W&B has no view for are skipped."""

    title = "wandb"
    refills = True
    remedy = "check that its folder can be written to; logger.wandb.mode=offline needs no network"

    def __init__(self, folder: Path, project: str, mode: str) -> None:
        self.folder, self.project, self.mode = folder, project, mode
        self._run: Any = None
        self._wandb: Any = None  # the package

    def where(self) -> str:
        return f"wandb sync {shlex.quote(str(self.folder / 'wandb'))}/offline-run-*" if self.mode == "offline" else ""

    def start(self, facts: RunFacts) -> None:
        """Begin a run; an earlier one in this folder stays, and this one gets a number."""
        import wandb as package  # seconds, in the thread of this logger

        self._wandb = wandb = cast(Any, package)
        if self._run is not None:  # of an attempt that failed
            self._run.finish(exit_code=1)
        earlier = len(list((self.folder / "wandb").glob("*run-*-*")))
        name = re.sub(r"[^\w-]", "-", facts.name) + (f"-{earlier + 1}" if earlier else "")
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        self._run = wandb.init(
            project=self.project, name=facts.name, id=name, dir=str(self.folder), config=dict(facts.config),
            mode=self.mode, notes="\n".join(facts.notes), settings=settings, reinit="create_new",
        )  # fmt: skip
        self._run.define_metric("*", step_metric=STEP)

    def point(self, point: Point) -> None:
        values = {tag(name, point.kind): value for name, value in point.values.items()}
        self._run.log(values | {STEP: point.step})

    def show(self, figure: Figure) -> None:
        shown: Any = None
        if isinstance(figure, Picture):
            shown = self._wandb.Image(figure.pixels, caption=figure.caption)
        elif isinstance(figure, Histogram):
            shown = self._wandb.Histogram(np_histogram=(figure.counts, figure.edges))
        elif isinstance(figure, Table):
            rows = [list(row) for row in figure.rows]
            shown = self._wandb.Table(columns=list(figure.columns), data=rows, allow_mixed_types=True)
        elif isinstance(figure, Text):
            shown = self._wandb.Html(f"<pre>{html.escape(figure.text)}</pre>")
        if shown is not None:
            self._run.log({figure.name: shown, STEP: figure.step})

    def close(self, summary: Mapping[str, str]) -> None:
        self._run.summary.update({f"expkit/{heading}": text for heading, text in summary.items()})
        self._run.finish()


@loggers.register("wandb")
def wandb(folder: Path, project: str = "expkit", mode: str = "offline") -> WandbLogger:
    """A run in Weights & Biases; mode: offline keeps it in the run folder for `wandb sync`, online sends it at once.

    project: the project that the run belongs to.
    """
    if importlib.util.find_spec("wandb") is None:
        raise ConfigError("logger.wandb: needs the package wandb; install expkit[wandb]")
    if mode not in ("offline", "online"):
        raise ConfigError(f"logger.wandb.mode: expected offline or online, got {mode!r}")
    return WandbLogger(folder, project, mode)
