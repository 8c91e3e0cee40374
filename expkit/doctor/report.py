"""The doctor's output in the terminal, and findings.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.table import Table

from expkit.core.files import write_json
from expkit.core.formatting import count_noun, relative
from expkit.core.terminal import Console
from expkit.doctor.finding import Finding
from expkit.doctor.scan import Collection, Scan
from expkit.doctor.statistics import Statistics, mode_name

_MOST_CLASSES = 20  # rows of the table; findings.json has all
_MOST_BAD = 20
_INDENT = 9
_COLOURS = {"problem": "bold red", "note": "yellow"}


def say(console: Console, heading: str, text: str, style: str = "") -> None:
    """Print a line that only a terminal wraps, so that it can be copied."""
    console.print(f"{heading:<{_INDENT}}", end="", style=style or "bold", markup=False)
    console.print(text, soft_wrap=True, markup=False)


def print_heading(console: Console, folder: Path, collection: Collection, notes: Sequence[str]) -> None:
    parts = ", ".join(f"{len(part):,} {split}" for split, part in collection.parts.items())
    classes = count_noun(len(collection.class_names), "class")
    say(console, "doctor", folder.name)
    say(console, "data", f"{count_noun(len(collection), 'image')} ({parts}), {classes}")
    for note in notes:
        say(console, "", note)


def print_scan(console: Console, found: Scan) -> None:
    total = len(found.readings) + len(found.bad)
    rate = f"{total / max(found.seconds, 1e-9):,.0f} images/s with {count_noun(found.processes, 'process')}"
    done = f"{count_noun(total, 'image')} in {found.seconds:.1f} s"
    say(console, "read", f"{done} ({rate}), {len(found.bad):,} unreadable")
    for number, reason in sorted(found.bad.items())[:_MOST_BAD]:
        say(console, "", f"{found.collection.location(number)}: {reason}")
    if len(found.bad) > _MOST_BAD:
        say(console, "", f"and {len(found.bad) - _MOST_BAD:,} more, see the list")


def print_all(
    console: Console, folder: Path, findings: list[Finding], statistics: Statistics | None, next_command: str
) -> None:
    """Print the statistics, the findings with their fixes, the next command, and the paths of the files."""
    if statistics:
        _print_statistics(console, statistics)
    console.print()
    for finding in sorted(findings, key=lambda finding: finding.level == "note"):
        say(console, finding.level, f"{finding.about}: {finding.sentence}", _COLOURS[finding.level])
        if finding.remedy:
            say(console, "", f"fix: {finding.remedy}")
    problems = sum(finding.level == "problem" for finding in findings)
    verdict = f"{count_noun(problems, 'problem')} to fix before training" if problems else "nothing to fix"
    notes = count_noun(len(findings) - problems, "note")
    say(console, "verdict", f"{verdict}, {notes}", "bold red" if problems else "bold green")
    if next_command:
        say(console, "then", next_command)
    for path in sorted(folder.iterdir()):
        say(console, "see", relative(path))


def _print_statistics(console: Console, statistics: Statistics) -> None:
    say(console, "sizes", _sizes(statistics))
    if modes := ", ".join(f"{count:,} {mode_name(mode)}" for mode, count in statistics.modes.items() if mode):
        say(console, "pixels", modes)
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (statistics.mean, statistics.std))
    say(console, "levels", f"mean {mean}, std {std} (training images, scaled to 0..1); to normalise by them:")
    say(console, "", f"'{statistics.as_override()}'")
    table = Table("class", box=None, padding=(0, 3, 0, 0))
    for split in statistics.counts:
        table.add_column(split, justify="right")
    for place, name in enumerate(statistics.class_names[:_MOST_CLASSES]):
        table.add_row(name, *(f"{counts[place]:,}" for counts in statistics.counts.values()))
    if len(statistics.class_names) > _MOST_CLASSES:
        table.add_row(f"and {len(statistics.class_names) - _MOST_CLASSES:,} more")
    console.print(Padding(table, (0, 0, 0, _INDENT), expand=False))


def _sizes(statistics: Statistics) -> str:
    widths, heights = statistics.sizes.T
    if len({*map(tuple, statistics.sizes.tolist())}) == 1:
        return f"{widths[0]}×{heights[0]}, all of them"
    areas = (widths * heights).argsort()
    least, middle, most = (f"{widths[one]}×{heights[one]}" for one in (areas[0], areas[len(areas) // 2], areas[-1]))
    return f"{least} the smallest, {middle} in the middle, {most} the largest"


def write_findings(
    folder: Path, dataset: Mapping[str, Any], found: Scan, findings: Sequence[Finding], statistics: Statistics | None
) -> None:
    """Write findings.json: the data set, the findings, and the statistics of every class."""
    content = {
        "dataset": dict(dataset),
        "images": len(found.collection),
        "unreadable": len(found.bad),
        "seconds": round(found.seconds, 3),
        "findings": [asdict(finding) for finding in findings],
        "statistics": statistics.as_json() if statistics else None,
    }
    write_json(folder / "findings.json", content)
