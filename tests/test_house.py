"""The house rules of the code itself: imports go one way, ruff and mypy pass, no file is too long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room may import from itself and from the rooms before it.
ORDER = [
    ("core",),
    ("config",),
    ("data", "models", "devices", "loggers", "checkpoints"),
    ("tasks",),
    ("training",),
    ("inference",),
    ("records",),
    ("runs",),
    ("sweeps", "doctor"),
    ("cli",),
    ("api", "extend", "run", "__main__"),
    ("__init__",),
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("expkit"):
            module = node.module or ""
            found |= {module} if module != "expkit" else {f"expkit.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "expkit"}
    return found


def room_of(module: str) -> str:
    """Return the room of a module; the package itself, whose face imports `api`, is the highest."""
    return (*module.split("."), "__init__")[1]


@pytest.mark.parametrize("path", sorted((ROOT / "expkit").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT / "expkit").with_suffix("").parts
    if parts[0] == "__init__" or "templates" in parts:
        return
    for module in imports_of(path):
        other = room_of(module)
        same_level = other == parts[0] or LEVEL[other] < LEVEL[parts[0]]
        shared_floor = LEVEL[other] == LEVEL[parts[0]] == 0
        assert same_level or shared_floor, f"{path} may not import {module}"


def test_only_config_knows_hydra() -> None:
    for path in (ROOT / "expkit").rglob("*.py"):
        if str(path.relative_to(ROOT / "expkit")) not in (
            "config/command_line.py",
            "config/hydra_app.py",
            "config/hydra_loader.py",
            "config/compose.py",
            "config/plan.py",
            "config/combinations.py",
            "config/search_space.py",
            "config/completion/composed.py",
            "config/texts.py",
        ):
            assert "hydra" not in {line.split()[1].split(".")[0] for line in _import_lines(path)}, path


def _import_lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line.startswith(("import ", "from "))]


def test_no_file_and_no_function_is_too_long() -> None:
    for path in (ROOT / "expkit").rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{path}: {node.name}"


@pytest.mark.parametrize("command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join)
def test_linters_pass(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
