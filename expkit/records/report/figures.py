"""Prepare a run's latest figures for the page."""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

from expkit.core.formatting import count_noun, operations
from expkit.core.plots.svg import Line, bar_chart, line_chart, scatter
from expkit.loggers.figure_store import inside, restored
from expkit.records.run_folder import RunFolder

MOST_ROWS = 400  # of a table on the page
MOST_HISTOGRAMS = 40
LARGEST_PICTURE = 30_000_000  # pixels
_ORDER = ("val/scatter", "val/predictions", "val/worst_mistakes", "train/inputs", "model/first_kernels")
_WORDS = {
    "precision_recall": "precision over recall",
    "scatter": "predicted over true numbers",
    "first_kernels": "kernels of the first convolution",
}
_SHARES = {"precision", "recall", "F1", "average precision"}

Shown = dict[str, Any]


def latest(run: RunFolder) -> list[dict[str, Any]]:
    """Return the last figure of each kind and name, in order of first appearance."""
    return [*{(one["kind"], one["name"]): one for one in run.exhibits}.values()]


def exhibits_of(run: RunFolder) -> dict[str, list[Any]]:
    """Return all figures by their place in the page's template; damaged ones are added to run.problems."""
    page: dict[str, list[Any]] = {
        "pictures": [], "matrices": [], "scores": [], "score_charts": [], "model_tables": [], "maps": [], "texts": [],
        "histograms": [],
    }  # fmt: skip
    by_kind: dict[str, list[str]] = {}
    exhibits = latest(run)
    drawn_anyway = {f"{one['name']}_picture" for one in exhibits if one["kind"] == "matrix"}
    shown = [one for one in exhibits if not (one["kind"] == "picture" and one["name"] in drawn_anyway)]
    shown.sort(key=lambda one: _ORDER.index(one["name"]) if one["name"] in _ORDER else len(_ORDER))
    with ThreadPoolExecutor() as pool:  # compressing pictures takes most of the time
        packed = {one["name"]: pool.submit(_packed, one, run.path) for one in shown if one["kind"] == "picture"}
        for one in shown:
            try:
                _place(one, page, by_kind, packed)
            except Exception as error:  # a damaged line or file must not affect the rest
                run.problems.append(f"figure {one['name']} cannot be shown: {type(error).__name__}: {error}")
    page["histograms"] = [(title, charts[:MOST_HISTOGRAMS]) for title, charts in by_kind.items()]
    return page


def _place(
    one: Mapping[str, Any], page: dict[str, list[Any]], histograms: dict[str, list[str]],
    packed: Mapping[str, Future[Shown]],
) -> None:  # fmt: skip
    group, _, what = one["name"].partition("/")
    match one["kind"]:
        case "picture":
            page["pictures"].append(packed[one["name"]].result())
        case "matrix":
            page["matrices"].append(_matrix(one))
        case "table":
            page["model_tables" if group == "model" else "scores"].append(_table(one))
        case "curves":
            page["score_charts"].append(_curves(one))
        case "histogram":
            histograms.setdefault(group, []).append(bar_chart(what, one["edges"], one["counts"]))
        case "embedding":
            page["maps"].append(_map(one))
        case "graph":
            page["model_tables"].append(_graph(one))
        case "text":
            page["texts"].append({"title": title_of(one["name"]), "text": one["text"]})


def title_of(name: str) -> str:
    group, _, what = name.partition("/")
    words = _WORDS.get(what, what.replace("_", " "))
    return f"{words} ({group})" if group not in ("val", "model") else words


def _packed(one: Mapping[str, Any], folder: Path) -> Shown:
    from PIL import Image, WebPImagePlugin  # noqa: F401 - else the first save loads all of Pillow's formats

    with Image.open(inside(folder, one["file"]), formats=["PNG"]) as picture:
        width, height = picture.size
        if width * height > LARGEST_PICTURE:
            raise ValueError(f"{one['file']} is larger than {LARGEST_PICTURE:,} pixels")
        small = BytesIO()
        picture.convert("RGB").save(small, "WEBP", quality=88, method=0)
    source = "data:image/webp;base64," + base64.b64encode(small.getvalue()).decode()
    about = {"title": title_of(one["name"]), "caption": one.get("caption", "")}
    return about | {"source": source, "width": width, "height": height}


def _matrix(one: Mapping[str, Any]) -> Shown:
    rows = []
    for name, *counts in one["rows"]:
        total = max(sum(counts), 1)
        says = zip(counts, one["columns"][1:], strict=True)
        cells = [
            {"count": count or "", "share": round(count / total, 3), "says": f"{name} taken for {other}: {count}"}
            for count, other in says
        ]
        rows.append({"name": name, "cells": cells})
    right = sum(row[1 + place] for place, row in enumerate(one["rows"]))
    total = sum(sum(row[1:]) for row in one["rows"])
    when = f"after epoch {one['epoch'] + 1}"
    return {"title": f"{title_of(one['name'])} {when}: {right:,} of {total:,} right", "rows": rows}


def _table(one: Mapping[str, Any]) -> Shown:
    columns, rows = one["columns"], one["rows"]
    numeric = [all(isinstance(row[place], int | float) for row in rows) for place in range(len(columns))]
    cells = [[_cell(column, value) for column, value in zip(columns, row, strict=True)] for row in _kept(rows)]
    more = f"{count_noun(len(rows) - MOST_ROWS, 'more row')} in exhibits.jsonl" if len(rows) > MOST_ROWS else ""
    says = ""
    if one["name"] == "model/summary":
        says = f"{count_noun(rows[-1][3], 'parameter')}, {operations(rows[-1][4])} for one image"
    title = title_of(one["name"]) + (f" after epoch {one['epoch'] + 1}" if one["name"].startswith("val/") else "")
    return {"title": title, "columns": columns, "numeric": numeric, "rows": cells, "more": more, "says": says}


def _kept(rows: Sequence[Any]) -> list[Any]:
    return [*rows] if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS - 1], rows[-1]]


def _cell(column: str, value: object) -> Shown:
    share = float(value) if column in _SHARES and isinstance(value, int | float) else None
    text = f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    return {"text": text, "share": share}


def _curves(one: Mapping[str, Any]) -> str:
    lines = [Line(label, x, y, reference=label == "perfect") for label, (x, y) in one["lines"].items()]
    title = f"{title_of(one['name'])} after epoch {one['epoch'] + 1}"
    return line_chart(title, lines, one["x_label"], one["y_label"])


def _graph(one: Mapping[str, Any]) -> Shown:
    columns = ["node", "operation", "reads", "output"]
    rows = [[name, kind, ", ".join(inputs), " × ".join(map(str, shape))] for name, kind, inputs, shape in one["nodes"]]
    says = {"says": f"{len(rows)} nodes"}
    return _table({"name": one["name"], "epoch": 0, "columns": columns, "rows": rows}) | says


def _map(one: Mapping[str, Any]) -> str:
    """Plot vectors by their first two principal components."""
    import numpy as np

    vectors = restored(one["vectors"]).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:2].T
    share = sizes**2 / max(float((sizes**2).sum()), 1e-12)
    groups: dict[str, list[tuple[float, float]]] = {}
    for label, (x, y) in zip(one["labels"], places.tolist(), strict=True):
        groups.setdefault(label, []).append((x, y))
    names = [f"principal component {number + 1} ({share[number]:.0%})" for number in range(2)]
    title = f"{count_noun(len(places), 'sample')} as input of the head, after epoch {one['epoch'] + 1}"
    return scatter(title, dict(sorted(groups.items())), *names)
