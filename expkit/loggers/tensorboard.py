"""TensorBoard's event files, written by tensorboardX."""

import os
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from expkit.config.diff import flatten
from expkit.config.registry import loggers
from expkit.core.errors import ConfigError
from expkit.core.formatting import relative
from expkit.loggers.base import Logger, Point, RunFacts, tag
from expkit.loggers.figures import Curves, Embedding, Figure, Graph, Histogram, Picture, Table, Text, markdown


class TensorBoardLogger(Logger):
    """Writes event files into the run folder; `tensorboard --logdir outputs` shows all runs by their folders' names."""

    title = "tensorboard"
    refills = True
    remedy = "check that its folder may be written to and the disk has room"

    def __init__(self, folder: Path, flush_seconds: int) -> None:
        self.folder, self.flush_seconds = folder, flush_seconds
        self._writer: Any = None
        self._config: Mapping[str, Any] = {}
        self._scores: dict[str, float] = {}
        self._messages: list[str] = []
        self._events: Any = None
        self._flushed = 0.0

    def start(self, facts: RunFacts) -> None:
        """Begin a file whose first event makes TensorBoard forget what older files hold: it is written again."""
        from tensorboardX import SummaryWriter  # 0.1 s, and only where it is used

        if self._events is not None:  # of an attempt that failed
            with suppress(OSError):
                self._events.close()
        old = any(self.folder.glob("events.out.tfevents.*")) if self.folder.is_dir() else False
        self._config = facts.config
        # Begun without tensorboardX's own thread, which dies in silence when the disk is full.
        self._writer = SummaryWriter(str(self.folder), write_to_disk=False)
        self._events = _EventFile(self.folder)
        self._writer._write_to_disk = True
        self._writer.file_writer = _summaries(self._events)
        self._writer.all_writers = {str(self.folder): self._writer.file_writer}
        self._flushed = time.monotonic()
        if old:
            self._events.purge()

    def point(self, point: Point) -> None:
        for name, value in point.values.items():
            self._writer.add_scalar(tag(name, point.kind), value, point.step)
            if point.kind == "epoch" and "/" in name:
                self._scores[name] = value

    def show(self, figure: Figure) -> None:
        writer, name, step = self._writer, figure.name, figure.step
        if isinstance(figure, Picture):
            writer.file_writer.add_summary(_image(figure), step)
        elif isinstance(figure, Histogram):
            _add_histogram(writer, figure)
        elif isinstance(figure, Curves):
            writer.add_image(name, _drawn(figure), step, dataformats="HWC")
        elif isinstance(figure, Table):
            writer.add_text(name, markdown(figure), step)
        elif isinstance(figure, Text):
            writer.add_text(name, figure.text, step)
        elif isinstance(figure, Embedding):
            images = None if figure.images is None else np.moveaxis(figure.images, 3, 1) / 255
            writer.add_embedding(figure.vectors, list(figure.labels), images, step, name.replace("/", "-"))
        elif isinstance(figure, Graph):
            _add_graph(writer, figure)

    def message(self, text: str) -> None:
        self._messages.append(text)

    def flush(self) -> None:
        if self._messages:
            self._writer.add_text("log", "\n\n".join(self._messages), None)
            self._messages.clear()
        if time.monotonic() - self._flushed > self.flush_seconds:
            self._events.flush()
            self._flushed = time.monotonic()

    def close(self, summary: Mapping[str, str]) -> None:
        self._add_hparams()
        self._events.close()

    def where(self) -> str:
        return f"tensorboard --logdir {shlex.quote(relative(self.folder.resolve().parent))}"

    def _add_hparams(self) -> None:
        """Add the hyper-parameters with the final scores to this run (tensorboardX's own call makes a run below it)."""
        from tensorboardX.summary import hparams

        if not self._scores:
            return
        values = {key: value for key, value in flatten(self._config).items() if isinstance(value, int | float | str)}
        finals = {f"final/{name}": value for name, value in self._scores.items()}
        for one in hparams(values, finals):
            self._writer.file_writer.add_summary(one)
        for name, value in finals.items():
            self._writer.add_scalar(name, value, 0)


class _EventFile:
    """One event file, written by the calling thread; opened, so that a failure shows, before anything is sent."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        # tensorboardX names files by the second: a number keeps two of one second apart, and in their order.
        number = len(list(folder.glob("events.out.tfevents.*")))
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{number}")
        self._writer.flush()

    def get_logdir(self) -> str:
        return str(self._folder)

    def add_event(self, event: Any) -> None:
        self._writer.write_event(event)

    def purge(self) -> None:
        """Make readers forget every event of step 0 and above in older files."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        session = SessionLog(status=SessionLog.START)
        self.add_event(Event(wall_time=time.time(), step=0, session_log=session))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _summaries(events: _EventFile) -> Any:
    from tensorboardX.writer import FileWriter

    writer = FileWriter.__new__(FileWriter)
    writer.event_writer, writer._default_metadata = events, {}
    return writer


def _image(picture: Picture) -> Any:
    """Return what tensorboardX's add_image writes, from the bytes that are packed already."""
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import _clean_tag

    height, width, channels = picture.pixels.shape
    image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=picture.png)
    return Summary(value=[Summary.Value(tag=_clean_tag(picture.name), image=image)])


def _add_histogram(writer: Any, histogram: Histogram) -> None:
    counts, edges = np.asarray(histogram.counts), np.asarray(histogram.edges)
    middles = (edges[:-1] + edges[1:]) / 2
    sums = {"num": counts.sum(), "sum": counts @ middles, "sum_squares": counts @ middles**2}
    ends = {"min": edges[0], "max": edges[-1]}
    numbers = {name: float(value) for name, value in (ends | sums).items()}
    limits, buckets = [float(edge) for edge in edges], [0.0, *(float(count) for count in counts)]  # limits are upper
    writer.add_histogram_raw(
        histogram.name, bucket_limits=limits, bucket_counts=buckets, global_step=histogram.step, **numbers
    )


def _drawn(curves: Curves) -> Any:
    """Return a plot of curves as (H, W, 3) uint8: TensorBoard has no plot over anything but steps."""
    from PIL import Image, ImageDraw

    width, height, margin = 480, 360, 40
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((margin, 10, width - 10, height - margin), outline="black")
    xs = [float(x) for line in curves.lines.values() for x in line[0]] or [0.0, 1.0]
    ys = [float(y) for line in curves.lines.values() for y in line[1]] or [0.0, 1.0]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    for number, (label, (line_x, line_y)) in enumerate(curves.lines.items()):
        colour = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")[number % 6]
        across = [margin + (x - left) / ((right - left) or 1) * (width - 10 - margin) for x in line_x]
        up = [height - margin - (y - low) / ((high - low) or 1) * (height - margin - 10) for y in line_y]
        draw.line(list(zip(across, up, strict=True)), fill=colour, width=2)
        draw.text((margin + 8, 16 + 14 * number), str(label), fill=colour)
    draw.text((margin, height - 30), f"{left:.3g}", fill="black")
    draw.text((width - 50, height - 30), f"{right:.3g}", fill="black")
    draw.text((width // 2 - 30, height - 24), curves.x_label, fill="black")
    draw.text((2, 12), f"{high:.3g}", fill="black")
    draw.text((2, height - margin - 12), f"{low:.3g}", fill="black")
    draw.text((2, height // 2), curves.y_label[:6], fill="black")
    return np.asarray(image)


def _add_graph(writer: Any, graph: Graph) -> None:
    from tensorboardX.proto.attr_value_pb2 import AttrValue
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboardX.proto.versions_pb2 import VersionDef

    nodes = []
    for name, operation, inputs, shape in graph.nodes:
        sizes = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
        shapes = AttrValue(list=AttrValue.ListValue(shape=[sizes]))
        nodes.append(NodeDef(name=name, op=operation, input=list(inputs), attr={"_output_shapes": shapes}))
    graph_def = GraphDef(node=nodes, versions=VersionDef(producer=22)).SerializeToString()
    writer.file_writer.add_event(Event(graph_def=graph_def))


@loggers.register("tensorboard")
def tensorboard(folder: Path, flush_seconds: int = 30) -> TensorBoardLogger:
    """Event files for TensorBoard in the run folder.

    flush_seconds: between writes to the disk.
    """
    if flush_seconds < 1:
        raise ConfigError(f"logger.tensorboard.flush_seconds: expected an integer from 1 up, got {flush_seconds}")
    return TensorBoardLogger(folder, flush_seconds)
