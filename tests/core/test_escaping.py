"""Text of others reaches the terminal, a table or a spreadsheet as text, whatever it holds."""

import io
import os
import re
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from expkit.core.escaping import csv_cell, csv_path, escaped_output, one_line, printable
from expkit.core.terminal import Console
from tests.forks import Forks

ACTS = {
    "colour": "\x1b[31mred", "title": "\x1b]0;owned\x07", "bell": "\a", "backspace": "cat\b\b\bdog", "return": "a\rb",
    "C1": "\x9b31m", "next line": "a\x85b", "delete": "\x7f", "null": "\x00", "override": "\u202egpj.exe",
    "isolate": "\u2066x\u2069", "mark": "\u200f", "line separator": "a\u2028b", "vertical tab": "\x0b",
    "not UTF-8": os.fsdecode(b"caf\xe9"),
}  # fmt: skip
ALLOWED = re.compile(
    r"[^\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]*"
)


@pytest.mark.parametrize("text", ACTS.values(), ids=ACTS)
def test_what_a_terminal_would_act_upon_is_written_out(text: str) -> None:
    for shown in (printable(text), one_line(text)):
        assert ALLOWED.fullmatch(shown)
        assert "\\" in shown
        assert printable(shown) == shown


@pytest.mark.parametrize("text", ["größe 猫 🐈‍⬛", "C:\\data", "[bold]cat[/bold]", ":cat:", "[/]"])
def test_all_else_stays_as_it_is(text: str) -> None:
    assert printable(text) == one_line(text) == text
    file = io.StringIO()
    Console(file=file, width=80).print(text, Text(text), soft_wrap=True)
    assert file.getvalue() == f"{text} {text}\n"


def test_a_newline_is_the_programs_own_and_in_a_line_it_is_not() -> None:
    assert printable("a\n\tb") == "a\n\tb"
    assert one_line("a\n\tb") == "a\\n\\tb"


@pytest.mark.parametrize("text", ACTS.values(), ids=ACTS)
def test_a_console_escapes_in_every_place_and_keeps_its_own_colours(text: str) -> None:
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, color_system="standard")
    table = Table(text, title=text)
    table.add_row(text)
    table.add_row(Text(text))
    for one in (text, Text(text), table):
        console.print(one, style="red")
    own = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())
    assert "\x1b[31m" in file.getvalue()
    assert ALLOWED.fullmatch(own.replace("\x1b[31mred", "" if text != ACTS["colour"] else "\x1b"))


def test_print_and_a_console_share_an_escaped_stream(capsys: pytest.CaptureFixture[str]) -> None:
    with escaped_output():
        print("\x1b[31mplain")
        Console(force_terminal=True, color_system="standard", highlight=False).print("\x1b[32mrich", style="red")
        print("\x1b]0;x\a", file=sys.stderr)
    printed, errors = capsys.readouterr()
    assert printed == "\\x1b[31mplain\n\x1b[31m\\x1b[32mrich\x1b[0m\n"
    assert errors == "\\x1b]0;x\\x07\n"
    assert type(sys.stdout).__name__ != "EscapedStream"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+cat", "'+cat"), ("-cat", "'-cat"), ("@cat", "'@cat"), ("\tx", "'\tx"),
        ("cat", "cat"), ("-0.5", "-0.5"), ("+1e-3", "+1e-3"), ("a=b", "a=b"), ("\x1b[31m", "\\x1b[31m"), ("", ""),
    ],
)  # fmt: skip
def test_a_cell_begins_no_formula(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


def test_a_path_begins_no_formula_and_still_leads_to_its_file() -> None:
    assert (csv_path("=1+1.jpg"), csv_path("a/b.jpg")) == ("./=1+1.jpg", "a/b.jpg")


def test_only_this_console_is_used() -> None:
    for path in Path(__file__).parents[2].joinpath("expkit").rglob("*.py"):
        assert not re.search(r"from rich\.console import .*\bConsole\b", path.read_text()), path


CLASSES = ("\x1b[31mcat\x1b[0m", "\u202edog\x9b2J")


@pytest.fixture(scope="module")
def hostile_run(commands: Forks, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a run on classes and files whose names act, and what the run printed."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("hostile")
    for number, name in enumerate(CLASSES):
        (folder / "data" / name).mkdir(parents=True)
        for k in range(6):
            Image.effect_noise((32, 32), 60 + number).convert("RGB").save(folder / "data" / name / f"\x1b]0;{k}\a.png")
    (folder / "data" / CLASSES[0] / "\x1b[2Jbroken\n.png").write_bytes(b"no image")
    given = ["dataset=image_folder", "dataset.root=data", "dataset.num_workers=0", "model.width=4", "epochs=1",
             "batch_size=4", "watch=default", "logger=tensorboard", "name=hostile", "dataset.on_bad=skip"]  # fmt: skip
    done = commands.run(folder, *given)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr


def test_a_run_prints_and_keeps_no_character_that_acts(hostile_run: tuple[Path, str]) -> None:
    folder, printed = hostile_run
    (log,) = folder.glob("outputs/*/log.txt")
    for text in (printed, log.read_text()):
        assert ALLOWED.fullmatch(text)
        assert "\\x1b[31mcat" in text or "\\x1b[2Jbroken\\n.png" in text


LONG_ONLY = pytest.mark.skipif(os.environ.get("EXPKIT_LONG") != "1", reason="trains several: EXPKIT_LONG=1 runs it")
DATA = ["dataset=image_folder", "dataset.root=data", "dataset.num_workers=0", "dataset.on_bad=skip"]
SMALL = [*DATA, "model.width=4", "epochs=1", "batch_size=4", "watch=none", "logger=none"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("expkit.cli.find_lr", [*SMALL, "--steps", "10"]), ("expkit.cli.export", ["RUN", "--to", "state_dict"]),
        ("expkit.cli.folds", ["RUN", "RUN"]), ("expkit.cli.replay", ["RUN", "logger=\x1b[31mx"]),
        pytest.param("expkit.cli.run", ["-m", *SMALL, "name=sweep", "seed=0,1"], marks=LONG_ONLY),
        pytest.param("expkit.cli.run", [*SMALL, "name=search", "-m", "hydra/sweeper=search", "hydra.sweeper.n_trials=2",
                                    "optimizer.lr=interval(0.001,0.1)"], marks=LONG_ONLY),
        ("expkit.cli.run", [*SMALL, "sampler=weighted", "sampler.class_weights={x:1}"]),
        ("expkit.cli.run", [*SMALL, "dataset.val_root=\x1b[2J"]), ("expkit.cli.run", ["--list", "\x1b[2J"]),
        ("expkit.cli.run", ["\x1b[2J"]), ("expkit.cli.run", ["+\x1b[2J=1"]), ("expkit.cli.run", ["model=\x1b[2J"]),
        ("expkit.cli.run", ["epochs=\x1b[2J"]), ("expkit.cli.run", ["--plugin", "\x1b[2J.py"]),
        ("expkit.cli.predict", ["\x1b[2J", "data"]), ("expkit.cli.compare", ["\x1b[2J"]),
        ("expkit.cli.report", ["\x1b[2J"]),
        ("expkit.cli.reproduce", ["\x1b[2J"]), ("expkit.cli.evaluate", ["\x1b[2J"]),
        ("expkit.cli.export", ["\x1b[2J", "--to", "onnx"]),
        ("expkit.cli.doctor", ["dataset=image_folder", "dataset.root=data", "dataset.num_workers=0"]),
        ("expkit.cli.predict", ["RUN", "data"]), ("expkit.cli.predict", ["RUN", "data", "--format", "csv"]),
        ("expkit.cli.predict", ["RUN", "data", "--format", "json"]), ("expkit.cli.evaluate", ["RUN"]),
        ("expkit.cli.compare", ["outputs"]), ("expkit.cli.report", ["RUN"]),
        ("expkit.cli.reproduce", ["RUN", "--check"]),
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value[-1]),
)  # fmt: skip
def test_no_command_prints_one(
    module: str, arguments: list[str], hostile_run: tuple[Path, str], commands: Forks
) -> None:
    folder, _ = hostile_run
    (run,) = folder.glob("outputs/*hostile*")
    given = [str(run.relative_to(folder)) if word == "RUN" else word for word in arguments]
    done = commands.run(folder, *given, module=module)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout + done.stderr
    assert ALLOWED.fullmatch(done.stdout + done.stderr)
