"""Mistakes in a command are one line with the nearest name and the way to the help, in every command alike."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from expkit.cli.commands import COMMANDS, module_of

# What each needs beside the flag that is tried.
NEEDED: dict[str, list[str]] = {
    "predict": ["gone", "x.png"], "evaluate": ["gone"], "export": ["gone", "--to", "onnx"], "compare": ["gone"],
    "folds": ["gone"], "report": ["gone"], "reproduce": ["gone"], "replay": ["gone", "logger=none"], "new": ["gone"],
}  # fmt: skip
Mistake = Callable[[str, Sequence[str]], str]


@pytest.fixture
def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mistake:
    """Return a function that runs a command with a mistake, and returns what it says of it."""
    monkeypatch.chdir(tmp_path)
    Path("x.png").touch()

    def run(name: str, words: Sequence[str]) -> str:
        with pytest.raises(SystemExit) as ended:
            module_of(name).main(list(words))
        printed = capsys.readouterr()
        assert (ended.value.code, printed.out) == (2, "")
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        return printed.err.removeprefix("error: ")

    return run


def flags(has: Callable[..., bool]) -> list[tuple[str, str]]:
    """Return (command, flag) for each long flag whose argparse.Action is as wanted."""
    return [
        (name, flag)
        for name in COMMANDS for flag, action in module_of(name).parser().flags.items()
        if flag.startswith("--") and has(action)
    ]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_told_with_the_way_to_the_help(name: str, mistake: Mistake) -> None:
    said = mistake(name, [*NEEDED.get(name, []), "--zqxv"])
    assert said == f"--zqxv: unknown flag; see `expkit {name} --help`\n"


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, flag in flags(lambda action: True) if len(flag) > 5])
def test_a_misspelt_flag_is_told_with_the_nearest(name: str, flag: str, mistake: Mistake) -> None:
    said = mistake(name, [*NEEDED.get(name, []), f"{flag[:4]}{flag[5:]}"])
    assert f"; did you mean '{flag}'?" in said


@pytest.mark.parametrize(
    ("name", "flag"), flags(lambda action: action.nargs in (None, "+") and action.dest != "shell_completion")
)
def test_a_flag_without_its_value_is_named(name: str, flag: str, mistake: Mistake) -> None:
    said = mistake(name, [*NEEDED.get(name, []), flag])
    assert said.startswith((f"{flag}: expected a value; see `expkit", f"{flag}: expected at least one value; see"))


@pytest.mark.parametrize(("name", "flag"), flags(lambda action: action.choices))
def test_a_wrong_choice_is_told_with_those_there_are(name: str, flag: str, mistake: Mistake) -> None:
    *first, last = module_of(name).parser().flags[flag].choices
    said = mistake(name, [*NEEDED.get(name, []), flag, f"{last}s"])
    assert f"{flag}: expected {', '.join(first)} or {last}, got '{last}s'; did you mean '{last}'? See `expkit" in said


@pytest.mark.parametrize(("name", "flag"), flags(lambda action: action.type in (int, float)))
def test_a_wrong_type_is_told(name: str, flag: str, mistake: Mistake) -> None:
    said = mistake(name, [*NEEDED.get(name, []), flag, "wide"])
    kind = "an integer" if module_of(name).parser().flags[flag].type is int else "a number"
    assert said == f"{flag}: expected {kind}, got 'wide'; see `expkit {name} --help`\n"


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "evaluate"])
def test_what_is_missing_is_named(name: str, mistake: Mistake) -> None:
    parser = module_of(name).parser()
    required = [str(action.metavar) for action in parser.positionals if action.nargs != "*"]
    said, _, rest = mistake(name, []).partition(": ")
    assert said in (", ".join(required), "--to")
    assert rest == f"missing; see `expkit {name} --help`\n"


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "new"])
def test_a_folder_that_is_not_there_is_named(name: str, mistake: Mistake) -> None:
    assert "gone" in mistake(name, NEEDED[name])


@pytest.mark.parametrize("words", [["--cfg", "jobs"], ["--info", "alls"], ["--config-dir"]])
@pytest.mark.parametrize("name", ["run", "doctor", "find-lr"])
def test_flags_of_hydra_are_refused_alike(name: str, words: list[str], mistake: Mistake) -> None:
    assert "--help`" in mistake(name, words)
