"""Makes docs/run.webp: the main job in a terminal, half way, and its report.

uv run --with pyte python tests/bench/picture.py [OVERRIDE ...]     (Chromium is needed; nothing in it is retouched)
"""

import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
from fcntl import ioctl
from pathlib import Path

import pyte
from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.records.report.browser import opened  # noqa: E402

COLUMNS, LINES = 136, 26
WIDTH = 1360  # pixels of the picture


def watch(command: list[str], moment: str) -> tuple[Text, Text, int]:
    """Run a command in a terminal; returns its screen once a pattern is on it, its last screen, and the exit code."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=os.environ | terminal)
    os.close(theirs)
    middle = None
    while True:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                stream.feed(os.read(ours, 65536))
            except OSError:  # the other end is closed
                break
        if middle is None and any(re.search(moment, line) for line in screen.display):
            middle = shown(screen)
    return middle or shown(screen), shown(screen), process.wait()


def shown(screen: pyte.Screen) -> Text:
    """Return what a terminal shows, colours and all."""
    text = Text()
    for row in range(screen.lines):
        line = Text()
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            line.append(cell.data, style=style_of(cell))
        line.rstrip()
        text.append_text(line).append("\n")
    text.rstrip()
    return text


def style_of(cell: pyte.screens.Char) -> str:
    colour = {"default": "", "brown": "yellow"}.get(cell.fg, cell.fg.replace("bright", "bright_"))
    if len(colour) == 6 and all(digit in "0123456789abcdef" for digit in colour):
        colour = f"#{colour}"
    return " ".join([word for word, on in (("bold", cell.bold), ("italic", cell.italics)) if on] + [colour]).strip()


def drawn(text: Text, title: str, folder: Path) -> Image.Image:
    """Draw a terminal's screen, by rich and Chromium."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(text, soft_wrap=True)
    page = folder / "console.html"
    style = "<style>body{margin:0} svg{display:block;width:100%;height:auto}</style>"
    page.write_text(style + console.export_svg(title=title), encoding="utf-8")
    with opened(page, width=WIDTH) as (browser, _):
        browser.locator("svg").first.screenshot(path=folder / "console.png")
    return Image.open(folder / "console.png").convert("RGB")


def report(run: Path, folder: Path) -> Image.Image:
    with opened(run / "report.html", width=WIDTH, height=588) as (browser, _):
        browser.wait_for_timeout(500)
        browser.screenshot(path=folder / "report.png")
    return Image.open(folder / "report.png").convert("RGB")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = sys.argv[1:]
        outputs = next((Path(word[11:]) for word in given if word.startswith("output_dir=")), folder / "outputs")
        where = [] if f"output_dir={outputs}" in given else [f"output_dir={outputs}"]
        command = [sys.executable, "-m", "expkit.run", *given, *where]
        middle, end, code = watch(command, moment=r"epoch 12/16\s+train.* [2-5]\d/\d+ ")
        runs = sorted(outputs.glob("*/report.html"), key=lambda path: path.stat().st_mtime)
        assert code == 0, end.plain
        print(middle.plain, "", end.plain, sep="\n")
        title = "python -m expkit.run"
        parts = [drawn(middle, title, folder), report(runs[-1].parent, folder)]
        whole = Image.new("RGB", (WIDTH, sum(part.height for part in parts) + 16), "white")
        top = 0
        for part in parts:
            whole.paste(part, (0, top))
            top += part.height + 16
        target = ROOT / "docs" / "run.webp"
        target.parent.mkdir(exist_ok=True)
        whole.save(target, quality=80, method=6)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB, {whole.width}×{whole.height}")


if __name__ == "__main__":
    main()
