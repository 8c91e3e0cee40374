"""The prediction for one image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from expkit.inference import Scored, Trained


@dataclass(frozen=True)
class Prediction:
    """path: as given. classes: the class, or of a multilabel model (several) all labels above the threshold.

    top: (class, probability), the most probable first.
    """

    path: str
    classes: tuple[str, ...]
    top: tuple[tuple[str, float], ...]
    several: bool = False

    @property
    def label(self) -> str:
        return ", ".join(self.classes) or "(none)"

    @property
    def caption(self) -> str:
        return f"{self.label} {self.top[0][1]:.2f}"

    def as_json(self) -> dict[str, object]:
        """Return path, class (or classes), probability (of the most probable class), and top."""
        what = {"classes": list(self.classes)} if self.several else {"class": self.classes[0]}
        return {"path": self.path, **what, "probability": self.top[0][1], "top": dict(self.top)}


def predictions(
    scored: Scored, names: Sequence[str], trained: Trained, top: int, threshold: float
) -> Iterator[Prediction]:
    """Yield a batch's predictions; names: of all samples, by index."""
    several = trained.task.kind == "multilabel"
    count = min(top, len(trained.classes))
    order = scored.outputs.argsort(dim=1, descending=True, stable=True)
    for index, row, places in zip(scored.indices.tolist(), scored.outputs, order.tolist(), strict=True):
        best = tuple((trained.classes[place], round(float(row[place]), 6)) for place in places[:count])
        classes = best[0][:1] if not several else tuple(trained.classes[one] for one in places if row[one] >= threshold)
        yield Prediction(names[index], classes, best, several)
