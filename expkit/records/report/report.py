"""report.html: a self-contained page on a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from expkit.config.yaml_safety import DUMPER
from expkit.core.files import write_bytes
from expkit.core.formatting import count_noun, duration, named_outputs, subset_of, value_text
from expkit.core.sealing import vouch_for
from expkit.records.epochs import Epoch, best_of, monitor_of
from expkit.records.report.curves import run_charts
from expkit.records.report.figures import exhibits_of
from expkit.records.report.template import drawn, render
from expkit.records.run_folder import RunFolder

NAME = "report.html"
Rows = list[tuple[str, str]]


def write_report(folder: Path) -> Path:
    """Write the report of a run folder, in any state; return its path. Raises OSError.

    The record of a finished run is updated to cover it.
    """
    content, path = report_of(RunFolder(folder)).encode("utf-8", "replace"), folder / NAME
    write_bytes(path, content)
    vouch_for(folder, NAME)
    return path


def report_of(run: RunFolder) -> str:
    """Return the page."""
    main, more = run_charts(run)
    exhibits: dict[str, list[Any]] = exhibits_of(run)
    for name in ("score_charts", "maps"):
        exhibits[name] = [drawn(svg) for svg in exhibits[name]]
    exhibits["histograms"] = [(title, [drawn(svg) for svg in some]) for title, some in exhibits["histograms"]]
    config = "not readable"
    if run.config:
        config = yaml.dump(dict(run.config), Dumper=DUMPER, sort_keys=False, allow_unicode=True)
    return render(
        "report.html",
        run=run, subtitle=_subtitle(run), reason=run.record.get("reason", ""), figures=_figures(run),
        contents=_contents(bool(main), exhibits), charts=[drawn(svg) for svg in main],
        more_charts=[drawn(svg) for svg in more], overrides="\n".join(run.overrides), config=config,
        record=_record(run), environment=_environment(run), **exhibits,
    )  # fmt: skip


def _contents(with_curves: bool, exhibits: Mapping[str, Sequence[Any]]) -> list[tuple[str, str]]:
    sections = {
        "curves": with_curves,
        "scores": any(exhibits[name] for name in ("scores", "matrices", "score_charts")),
        "pictures": bool(exhibits["pictures"]),
        "model": any(exhibits[name] for name in ("model_tables", "histograms", "maps", "texts")),
        "config": True, "record": True, "environment": True,
    }  # fmt: skip
    return [(name, name.capitalize()) for name, there in sections.items() if there]


def _subtitle(run: RunFolder) -> str:
    started = str(run.record.get("started") or "")[:16].replace("T", " ")
    parts = [f"started {started}"] * bool(started)
    data = run.data
    if isinstance(data.get("train"), Mapping) and isinstance(data.get("val"), Mapping):
        train, val = (data[split].get("images", 0) for split in ("train", "val"))
        counts = f"{count_noun(train, 'image')} to train, {val:,} to validate"
        names = data.get("class_names", [])
        parts.append(f"{counts}, {named_outputs(names, data.get('task'))}")
    return " · ".join(parts)


def _figures(run: RunFolder) -> Rows:
    """Return the most important numbers."""
    result, epochs = run.result, run.epochs
    val = run.data.get("val")
    subset = subset_of(run.config, val.get("images") if isinstance(val, Mapping) else None)
    rows: Rows = [(name + (f" (of {subset})" if subset else ""), score) for name, score in _scores(run, epochs)]
    done = result.get("epochs", len(epochs))
    rows.append(("epochs", f"{done} of {run.config.get('epochs', '?')}"))
    if "steps" in result:
        rows.append(("steps", f"{result['steps']:,}"))
    sessions = run.sessions()
    if isinstance(result.get("seconds"), int | float):
        *earlier, _ = sessions or [0.0]  # the last session is timed by itself, from before its first event
        several = f" in {len(earlier) + 1} sessions" if earlier else ""
        rows.append(("duration", duration(sum(earlier) + result["seconds"]) + several))
    points = [point for point in run.points if point.get("kind") == "epoch"]
    speeds = [point["images_per_second"] for point in points if isinstance(point.get("images_per_second"), float)]
    if speeds:
        rows.append(("images per second", f"{sum(speeds) / len(speeds):,.0f}"))
    return rows


def _scores(run: RunFolder, epochs: Sequence[Epoch]) -> Rows:
    """Return the validation scores of the best checkpoint's epoch and of the last epoch."""
    rows: Rows = []
    monitor, higher = monitor_of(run.result, run.config, epochs)
    if best := best_of(epochs, run.result, monitor, higher):
        names = sorted(best.scores, key=lambda name: name != f"val/{monitor}")
        rows += [
            (f"best {name}, epoch {best.number}" if name == f"val/{monitor}" else f"{name}, epoch {best.number}", score)
            for name in names
            if name.startswith("val/")
            for score in [number(best.scores[name])]
        ]
    scores = run.result.get("scores") or (epochs[-1].scores if epochs else {})
    last = f"last epoch ({epochs[-1].number})" if epochs else "last epoch"
    return rows + [(f"{name}, {last}", number(value)) for name, value in scores.items() if name.startswith("val/")]


def number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _record(run: RunFolder) -> Rows:
    record, result, code, data = run.record, run.result, run.code, run.data
    changed = ", with uncommitted changes (code.patch)" if code.get("changed") else ""
    rows = [("command", record.get("command")), ("folder", str(run.path)), ("status", run.status)]
    rows += [("started", record.get("started")), ("ended", record.get("ended"))]
    rows += [("code", f"{code['commit']}{changed}" if code.get("commit") else "no commit")]
    for split in ("train", "val"):
        if isinstance(facts := data.get(split), Mapping):
            images = count_noun(facts.get("images") or 0, "image")
            rows.append((f"{split} data", f"{images}, {facts.get('fingerprint')}"))
    rows += [("notes on the data", "; ".join(map(str, data.get("notes", []))) or None)]
    for entry in _entries(data.get("changes")):
        rows.append(("data changed", f"at the resume of {entry.get('time')}: {entry.get('change')}"))
    for entry in _entries(record.get("rebuilt")):
        lost = entry.get("lost")
        told = "; ".join(map(str, lost)) if isinstance(lost, list) else lost
        rows.append(("lost", f"at the resume of {entry.get('time')}: {told}"))
    rows += [("best checkpoint", result.get("best")), ("weights", result.get("weights_sha256"))]
    return [(name, str(value)) for name, value in rows if value is not None]


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _environment(run: RunFolder) -> Rows:
    rows: Rows = []
    for name, value in run.environment.items():
        if isinstance(value, Mapping):
            rows += [(str(key), value_text(item)) for key, item in value.items() if item is not None]
        elif isinstance(value, list):
            rows.append((name, ", ".join(map(str, value)) or "none"))
        else:
            rows.append((name.replace("_", " "), value_text(value)))
    return rows
