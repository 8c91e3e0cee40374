"""MLflow: a run in an experiment, in a local database or on a tracking server."""

import importlib.util
import logging
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expkit.config.diff import flatten
from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.loggers.base import Logger, Point, RunFacts, tag
from expkit.loggers.figures import Figure, Picture, Table, Text, markdown

_MOST = 1000  # metrics in one call, MLflow's own limit
_FOLDER = "expkit.folder"


class MlflowLogger(Logger):
    """Metrics, parameters, pictures, tables and texts; kinds that MLflow has no view for are skipped."""

    title = "mlflow"
    refills = True
    remedy = "check that its store can be reached and written to"

    def __init__(self, store: str, experiment: str) -> None:
        self.store, self.experiment = store, experiment
        self._client: Any = None
        self._run = ""
        self._metrics: list[Any] = []
        self._messages: list[str] = []

    def where(self) -> str:
        is_file = self.store.startswith("sqlite:")
        return f"mlflow ui --backend-store-uri {shlex.quote(self.store)}" if is_file else self.store

    def start(self, facts: RunFacts) -> None:
        """Begin a run that replaces those this run folder had before; these are deleted as in MLflow's page."""
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient  # seconds, in the thread of this logger

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = client = MlflowClient(tracking_uri=self.store)
        known = client.get_experiment_by_name(self.experiment)
        experiment = known.experiment_id if known else client.create_experiment(self.experiment, self._artifacts())
        folder = str(Path(facts.folder).resolve())
        for run in client.search_runs([experiment], f"tags.`{_FOLDER}` = '{folder}'"):
            client.delete_run(run.info.run_id)
        self._run = client.create_run(experiment, run_name=facts.name, tags={_FOLDER: folder}).info.run_id
        self._metrics, self._messages = [], []
        parameters = [Param(name, str(value)[:500]) for name, value in flatten(facts.config).items() if value != {}]
        for first in range(0, len(parameters), 100):  # MLflow's own limit
            client.log_batch(self._run, params=parameters[first : first + 100])
        client.log_batch(self._run, tags=[RunTag(f"expkit.{name}", text) for name, text in facts.lines.items()])

    def _artifacts(self) -> str | None:
        """Return where pictures lie: beside a local database, else where the server says."""
        if not self.store.startswith("sqlite:///"):
            return None
        return (Path(self.store.removeprefix("sqlite:///")).resolve().parent / "mlflow").as_uri()

    def point(self, point: Point) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for name, value in point.values.items():
            self._metrics.append(Metric(tag(name, point.kind), value, now, point.step))
        if len(self._metrics) >= _MOST:
            self._send()

    def _send(self) -> None:
        for first in range(0, len(self._metrics), _MOST):
            self._client.log_batch(self._run, metrics=self._metrics[first : first + _MOST])
        self._metrics = []

    def show(self, figure: Figure) -> None:
        name = f"{figure.name}_step_{figure.step:08}"
        if isinstance(figure, Picture):
            self._client.log_image(self._run, figure.pixels, f"{name}.png")
        elif isinstance(figure, Table):
            self._client.log_text(self._run, markdown(figure), f"{name}.md")
        elif isinstance(figure, Text):
            self._client.log_text(self._run, figure.text, f"{name}.md")

    def message(self, text: str) -> None:
        self._messages.append(text)

    def flush(self) -> None:
        self._send()

    def close(self, summary: Mapping[str, str]) -> None:
        lines = [*self._messages, *(f"{heading}: {text}" for heading, text in summary.items())]
        self._client.log_text(self._run, "\n".join(lines), "log.txt")
        self._client.set_terminated(self._run)


@loggers.register("mlflow")
def mlflow(folder: Path, store: str | None = None, experiment: str = "expkit") -> MlflowLogger:
    """A run in MLflow.

    store: a tracking server's address or a database, e.g. sqlite:///mlflow.db; null: the variable
    MLFLOW_TRACKING_URI, or mlflow.db beside the run folders.
    experiment: the experiment that the run belongs to.
    """
    if any(importlib.util.find_spec(package) is None for package in ("mlflow", "sqlalchemy", "alembic")):
        raise ConfigError("logger.mlflow: needs the package mlflow-skinny and a database's; install expkit[mlflow]")
    beside = f"sqlite:///{folder.resolve().parent / 'mlflow.db'}"
    return MlflowLogger(store or os.environ.get("MLFLOW_TRACKING_URI") or beside, experiment)
