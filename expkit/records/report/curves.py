"""Charts of a run's curves."""

from collections.abc import Mapping, Sequence

from expkit.core.plots.svg import Line, line_chart
from expkit.records.run_folder import RunFolder

Series = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
_FIRST = ("loss", "accuracy", "map", "top5")  # then every other score, then these:
_LATER = ("gradient_norm", "lr", "images_per_second", "seconds", "data_wait", "step_time", "memory")
_TITLES = {
    "lr": "learning rate", "images_per_second": "images per second", "seconds": "seconds per epoch",
    "data_wait": "share of time waiting for data", "gradient_norm": "gradient norm", "map": "mean average precision",
    "top5": "top-5 accuracy",
}  # fmt: skip
_COLOURS = {"train": 0, "val": 1, "steps": 0, "epochs": 0}


def title_of(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def order_of(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the charts' names in order: (scores, learning rate and gradient norm; the rest)."""
    scores = [name for name in _FIRST if name in names] + [name for name in names if name not in (*_FIRST, *_LATER)]
    main = scores + [name for name in ("lr", "gradient_norm") if name in names]
    return main, [name for name in names if name not in main]


def run_charts(run: RunFolder) -> tuple[list[str], list[str]]:
    """Return the run's charts: (scores, learning rate and gradient norm; speed and the rest)."""
    series = run.series()
    main, rest = order_of(list(series))
    return [_chart(name, series) for name in main], [_chart(name, series) for name in rest]


def _chart(name: str, series: Series) -> str:
    lines = []
    with_train = "train" in series[name]
    for label, pairs in series[name].items():
        if label == "epochs" and "steps" in series[name]:
            continue  # the same values, coarser
        faint = label == "steps" and with_train
        shown = {"steps": "train, every few steps" if faint else "", "epochs": ""}.get(label, label)
        line = Line(shown, [x for x, _ in pairs], [y for _, y in pairs], faint=faint, colour=_COLOURS.get(label))
        lines.append(line)
    return line_chart(title_of(name), lines, "step")
