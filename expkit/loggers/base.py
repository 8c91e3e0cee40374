"""What a logger receives: the run's facts once, points as they come, messages, and the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from expkit.loggers.figures import Figure


@dataclass(frozen=True)
class Point:
    """Values at one step. kind "step": since the last such point, in training; kind "epoch": of a whole epoch.

    epoch counts from 0; step is the number of optimizer steps taken. Seconds for times, 0..1 for rates.
    """

    kind: Literal["step", "epoch"]
    epoch: int
    step: int
    values: Mapping[str, float]


@dataclass
class Progress:
    """How far the present stage is; the runner writes it, a live display reads it whenever it likes."""

    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    done: int = 0
    total: int = 0
    rates: list[float] = field(default_factory=list)  # of this epoch's updates: the first, the highest, the last

    def begin(self, stage: str, epoch: int, done: int, total: int) -> None:
        """Begin a stage of an epoch."""
        self.stage, self.epoch, self.done, self.total = stage, epoch, done, total
        if stage == "train":
            self.rates = []

    def used(self, rate: float) -> None:
        """Take the learning rate of an update that is done."""
        first, highest = self.rates[:2] or (rate, rate)
        self.rates = [first, max(highest, rate), rate]


@dataclass(frozen=True)
class RunFacts:
    """What is known before the first step, for a heading. config: the plain config; notes: what was found out.

    first_step: updates made before this start, 0 in a new run; what a backend holds beyond it is made again.
    """

    name: str
    folder: str
    config: Mapping[str, Any]
    lines: Mapping[str, str]
    notes: Sequence[str] = ()
    progress: Progress = field(default_factory=Progress)
    first_step: int = 0


class Held(Exception):
    """A file could not be written just now; what was given is kept and written as soon as possible."""


class Logger:
    """A backend; override what it can show.

    It is fed from a thread of its own, in order. What it raises is reported once, and what it did not take is offered
    again, later and later, until it takes it or the run ends. What it draws at random must come from generators of its
    own: those of torch, random and numpy belong to the whole process, and so to the run.
    """

    direct: ClassVar[bool] = False  # called at once by the run itself: local files and the terminal
    refills: ClassVar[bool] = False  # `start` empties it, so that after a failure it is fed from the first point on
    remedy: str = ""  # what helps when it fails, e.g. the command that starts its server

    @property
    def title(self) -> str:
        """What messages call it."""
        return type(self).__name__.removesuffix("Logger")

    def start(self, facts: RunFacts) -> None:
        """Take the facts of the run, before its first step."""

    def point(self, point: Point) -> None:
        """Take the values of one step or epoch."""

    def show(self, figure: Figure) -> None:
        """Take a picture, histogram, table, ...; a backend passes over the kinds that it cannot show."""

    def message(self, text: str) -> None:
        """Take a sentence for the user."""

    def flush(self) -> None:
        """Pass on what was only collected so far; called when no more is waiting for now."""

    def where(self) -> str:
        """Return the command or address that shows it, or nothing."""
        return ""

    def close(self, summary: Mapping[str, str]) -> None:
        """Finish; summary: what is worth showing at the end, in order, as heading -> text."""


def tag(name: str, kind: str) -> str:
    """Return what backends call a value: val/loss as it is, and lr as step/lr or epoch/lr."""
    return name if "/" in name else f"{kind}/{name}"


def epoch_line(point: Point, progress: Progress) -> str:
    """Return an epoch in a line: losses, scores, rate, time and speed."""
    values = dict(point.values)
    seconds, speed, wait = values.pop("seconds"), values.pop("images_per_second"), values.pop("data_wait")
    rate = values.pop("lr")
    parts = [f"epoch {point.epoch + 1}/{progress.epochs}"]
    for split in ("train", "val"):
        shown = [
            f"{name.removeprefix(f'{split}/')} {value:.4f}" for name, value in values.items() if _is_of(name, split)
        ]
        parts += [f"{split}: " + ", ".join(shown)] if shown else []
    parts += [f"lr {_course(progress.rates or [rate])}", f"{seconds:.1f} s", f"{speed:,.0f} images/s"]
    return "  ".join(parts + [f"{wait:.0%} waiting"] * (wait >= 0.1))


def _is_of(name: str, split: str) -> bool:
    """Return True if a value is shown among those of a split; what watchers measure has names of their own."""
    return name.startswith("train/") == (split == "train")


def _course(rates: Sequence[float]) -> str:
    """Return how the learning rate went within an epoch: a cycle ends at almost nothing, but did not train with it."""
    shown = [f"{rate:.2g}" for rate in rates]
    return " to ".join(text for place, text in enumerate(shown) if place == 0 or text != shown[place - 1])


class LazyLogger(Logger):
    """Makes the logger that `build` returns when it is started; from then on that one's methods are its own."""

    title = ""

    def __init__(self, name: str, build: Callable[[], Logger]) -> None:
        self.title, self._build = name, build
        self._logger: Logger | None = None

    def start(self, facts: RunFacts) -> None:
        if self._logger is None:
            self._logger = self._build()
            for method in ("point", "show", "message", "flush", "where", "close"):
                setattr(self, method, getattr(self._logger, method))
        self._logger.start(facts)
