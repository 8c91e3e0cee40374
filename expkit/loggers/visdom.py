"""Visdom: an environment a run, a pane a metric with train and val in one plot, pictures, histograms and text.

Panes are named by their run, so that runs, and panes of the user, can share an environment.
"""

import html
import os
import re
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np

from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.core.extras import visdom_install_command
from expkit.loggers.base import Logger, Point, RunFacts
from expkit.loggers.figures import Curves, Embedding, Figure, Graph, Histogram, Picture, Table, Text
from expkit.loggers.visdom_client import connect

_UNITS = {"seconds": "seconds", "lr": "learning rate", "images_per_second": "images/s", "data_wait": "share of time"}


class VisdomLogger(Logger):
    """Sends to a Visdom server; many points of a line go in one call."""

    title = "visdom"
    refills = True
    remedy = "start the server with: python -m expkit visdom"

    def __init__(
        self, server: str, port: int, env: str, login: tuple[str, str] | None, save_seconds: int, shared: bool = False
    ) -> None:
        """shared: whether the environment holds more than this run; then titles name the run."""
        self.address = f"{server if '://' in server else f'http://{server}'}:{port}"
        self.env, self.save_seconds, self.shared = env, save_seconds, shared
        self.connect = partial(connect, server, port, env, login)
        self._run = ""
        self._client: Any = None
        self._points: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self._drawn: set[str] = set()
        self._messages: list[str] = []
        self._saved = 0.0

    def where(self) -> str:
        return f"{self.address}/env/{quote(self.env)}"

    def start(self, facts: RunFacts) -> None:
        """Connect, and clear the run's panes. Raises whatever the server's absence raises."""
        self._run = facts.name
        self._points, self._drawn, self._messages = {}, set(), []
        self._saved = time.monotonic()
        try:
            self._client = self.connect()
            self._text("run", _table(facts.lines.items()), facts.name)
            self._client.close(win=self._pane("result"), env=self.env)  # of the start before
        except PermissionError:
            self.remedy = "give logger.visdom.username, and the password in the variable VISDOM_PASSWORD"
            raise

    def _pane(self, name: str) -> str:
        return f"{self._run}/{name}"

    def _titled(self, title: str) -> dict[str, Any]:
        return {"title": f"{title}, {self._run}" if self.shared else title}

    def _text(self, name: str, content: str, title: str = "", append: bool = False) -> None:
        options = {"title": title} if title else self._titled(name)
        self._client.text(content, win=self._pane(name), append=append, opts=options)

    def point(self, point: Point) -> None:
        for name, value in point.values.items():
            split, _, metric = name.rpartition("/")
            trace = split or ("train, steps" if point.kind == "step" else "epoch")
            self._points.setdefault((metric, trace), []).append((point.step, value))

    def flush(self) -> None:
        """Send the points that were collected, a call a line; save the environment when it is time."""
        for (metric, trace), points in self._points.items():
            steps, values = (np.array(column, float) for column in zip(*points, strict=True))
            labels = {"xlabel": "step", "ylabel": _UNITS.get(metric, metric), "showlegend": True} | self._titled(metric)
            update = "append" if metric in self._drawn else None
            self._client.line(values, steps, win=self._pane(metric), name=trace, update=update, opts=labels)
            self._drawn.add(metric)
        self._points.clear()
        if self._messages:
            lines = "".join(f"<div>{html.escape(text)}</div>" for text in self._messages)
            self._text("log", lines, append="log" in self._drawn)
            self._drawn.add("log")
            self._messages.clear()
        if time.monotonic() - self._saved > self.save_seconds:
            self._client.save([self.env])
            self._saved = time.monotonic()

    def message(self, text: str) -> None:
        self._messages.append(text)

    def show(self, figure: Figure) -> None:
        client, options = self._client, self._titled(f"{figure.name}, step {figure.step}")
        win = self._pane(figure.name.replace("/", "_"))
        if isinstance(figure, Picture):
            picture = np.moveaxis(figure.pixels, 2, 0)
            height, width = picture.shape[1:]
            size = {"width": max(width, 200) + 20, "height": max(height, 150) + 60}
            client.image(picture, win=win, opts=options | size | {"caption": figure.caption})
        elif isinstance(figure, Histogram):
            middles = (np.asarray(figure.edges)[:-1] + np.asarray(figure.edges)[1:]) / 2
            names = [f"{middle:.3g}" for middle in middles]
            labels = {"xlabel": "value", "ylabel": "count"}
            trace = {"type": "bar", "x": middles.tolist(), "y": np.asarray(figure.counts).tolist(), "text": names}
            _plotly(client, win, [trace], options | labels)
        elif isinstance(figure, Curves):
            traces = [_scatter("lines", label, map(float, x), map(float, y)) for label, (x, y) in figure.lines.items()]
            _plotly(client, win, traces, options | {"xlabel": figure.x_label, "ylabel": figure.y_label})
        elif isinstance(figure, Embedding):
            _plotly(client, win, _plane(figure), options | {"xlabel": "component 1", "ylabel": "component 2"})
        elif (text := _html(figure)) is not None:
            client.text(text, win=win, opts=options)

    def close(self, summary: Mapping[str, str]) -> None:
        self._text("result", _table(summary.items()))
        self._client.save([self.env])


def _plotly(client: Any, win: str, traces: list[dict[str, Any]], options: Mapping[str, str]) -> None:
    """Send a plot as the client's own calls do, for what they would recompute (bins) or cannot name."""
    axes = {f"{axis}axis": {"title": options[f"{axis}label"]} for axis in "xy"}
    layout = axes | {"title": options["title"], "showlegend": len(traces) > 1}
    client._send({"data": traces, "win": win, "eid": client.env, "layout": layout, "opts": dict(options)})


def _plane(embedding: Embedding) -> list[dict[str, Any]]:
    """Return one trace per label, of the vectors on their two principal components."""
    centred = embedding.vectors - embedding.vectors.mean(0)
    flat = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    labels = np.array([str(label) for label in embedding.labels])
    return [_scatter("markers", label, *flat[labels == label, :2].T.tolist()) for label in sorted(set(labels))]


def _scatter(mode: str, label: object, x: Iterable[float], y: Iterable[float]) -> dict[str, Any]:
    return {"type": "scatter", "mode": mode, "name": str(label), "x": list(x), "y": list(y)}


def _html(figure: Figure) -> str | None:
    if isinstance(figure, Table):
        return _table([figure.columns, *figure.rows])
    if isinstance(figure, Text):
        return f"<pre>{html.escape(figure.text)}</pre>"
    if isinstance(figure, Graph):
        rows = [(name, operation, ", ".join(inputs), list(shape)) for name, operation, inputs, shape in figure.nodes]
        return _table([("node", "operation", "from", "shape"), *rows])
    return None


def _table(rows: Any) -> str:
    apart = "<td style='padding: 1px 12px 1px 0'>"  # the page's own style leaves cells no room
    cells = ("".join(f"{apart}{html.escape(str(value))}</td>" for value in row) for row in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


@loggers.register("visdom")
def visdom(
    run_name: str,
    server: str | None = None,
    port: int | None = None,
    env: str | None = None,
    username: str | None = None,
    save_seconds: int = 60,
) -> VisdomLogger:
    """Plots on a Visdom server; what is null comes from VISDOM_SERVER, VISDOM_PORT, VISDOM_USERNAME, VISDOM_PASSWORD.

    server: its host; port: its port; username: of a server that asks for one.
    env: the environment's name, null for the run's; save_seconds: between saves of the environment on the server.
    """
    import importlib.util

    if importlib.util.find_spec("visdom") is None:
        raise ConfigError(f"logger.visdom: needs the package visdom; {visdom_install_command()}")
    username = username or os.environ.get("VISDOM_USERNAME")
    password = os.environ.get("VISDOM_PASSWORD")  # never in a config, which the record keeps
    if username and not password:
        raise ConfigError("logger.visdom.username: goes with a password in the variable VISDOM_PASSWORD; set it")
    number = port if port is not None else os.environ.get("VISDOM_PORT", "8097")
    if not str(number).isdigit() or not 0 < int(number) < 65536:
        raise ConfigError(f"logger.visdom.port: expected a number from 1 to 65535, got {number!r}")
    address = server or os.environ.get("VISDOM_SERVER", "localhost")
    login = (username, password) if username and password else None
    # A slash is part of the address, as a blank is: the server itself keeps "_" for a slash.
    name = re.sub(r"[/\\\n\r]", "_", env) if env else re.sub(r"[^\w.-]", "-", run_name)
    return VisdomLogger(address, int(number), name, login, save_seconds, shared=bool(env))
