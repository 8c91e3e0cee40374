"""The goals of the house as numbers: rooms, floors, frames to a step, sizes of classes, checks of a config, lines.

python tests/bench/house.py [--json FILE]     PYTHONPATH=CHECKOUT measures another checkout

Rooms are what lies at the top of the package. What is imported is read from the source, within functions too; frames
and checks are counted in a run of two steps. The names that all this goes by stand in the table below: where a module
moves or a class is renamed, its new name is added there, and the old one stays for older checkouts.
"""

import argparse
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = "expkit"
COMMANDS = ("expkit.cli.run", "expkit.run")  # the first that is there has the command's main()
ORDER = ("tests/test_house.py", "ORDER")  # the file that declares the order of the rooms, and the list in it
CHECKS = r"(Registry|Group|Words)\.(faults|check)|(Run)?Options\.faults"  # whole qualified names
REGISTRY = r"(^|/)registry(/|\.py$)"  # paths in the package
FILLING = r".*\b(register|add|share|lazily)\b.*|.*__init__|<module>"  # of the registry, what only fills it
BUILD = r"runs/.*: (.*\.)?build"  # `path: function` that makes a run's objects
OPTIONS = r"(Options|Config)$"  # classes that are a config's words, as are those of these decorators:
REGISTERS = ("register", "share")
INTERNAL = "hydra._internal"
TEMPLATES = "templates"  # folders of files that are copied for users, and imported by nobody here
TOP = 5
Arrow = tuple[str, str]


class Source:
    """The package as it is written: one syntax tree for each file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = {path.relative_to(folder): path.read_text("utf-8") for path in sorted(folder.rglob("*.py"))}
        self.trees = {path: ast.parse(text) for path, text in self.texts.items()}

    @cached_property
    def rooms(self) -> dict[str, str]:
        """Room -> `folder` or `file`."""
        return {path.parts[0].removesuffix(".py"): "folder" if len(path.parts) > 1 else "file" for path in self.texts}

    @cached_property
    def arrows(self) -> dict[Arrow, list[str]]:
        """(room, room that it imports) -> the files that do so; `import expkit` imports the room `__init__`."""
        found: dict[Arrow, list[str]] = {}
        for path, tree in self.trees.items():
            if TEMPLATES in path.parts:
                continue
            room = path.parts[0].removesuffix(".py")
            others = {self._room(module) for module in _imported(tree, path)}
            for other in others & self.rooms.keys() - {room}:
                found.setdefault((room, other), []).append(str(path))
        return found

    def _room(self, module: str) -> str:
        parts = module.split(".")
        if parts[0] != PACKAGE:
            return ""
        return parts[1] if len(parts) > 1 and parts[1] in self.rooms else "__init__"

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        nodes = (node for tree in self.trees.values() for node in ast.walk(tree))
        return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}

    @cached_property
    def registered(self) -> set[str]:
        """Return the names of functions and classes that sit in a registry."""
        found = set()
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and _decorators(node) & {*REGISTERS}:
                    found.add(node.name)
                elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add" and len(node.args) > 2:
                    found |= {one.id for one in node.args if isinstance(one, ast.Name)}
        return found


def _imported(tree: ast.Module, path: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = [PACKAGE, *path.parts[:-1]][: len(path.parts) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    calls = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return {getattr(one, "attr", getattr(one, "id", "")) for one in calls}


def circles(rooms: list[str], arrows: set[Arrow]) -> list[set[str]]:
    """Return the rooms in groups that import each other, directly or through others; most are alone."""
    reached = {room: {room} for room in rooms}
    while any(not reached[end] <= reached[start] for start, end in arrows):
        for start, end in arrows:
            reached[start] |= reached[end]
    groups = [frozenset(other for other in reached[room] if room in reached[other]) for room in rooms]
    return [set(group) for group in dict.fromkeys(groups)]


def floors(rooms: list[str], arrows: set[Arrow]) -> int:
    """Return how many rooms the longest chain of imports has; of a circle all rooms count."""
    groups = circles(rooms, arrows)
    home = {room: number for number, group in enumerate(groups) for room in group}
    below = {(home[start], home[end]) for start, end in arrows if home[start] != home[end]}

    @cache
    def height(group: int) -> int:
        return len(groups[group]) + max((height(end) for start, end in below if start == group), default=0)

    return max(map(height, range(len(groups))), default=0)


def levels(file: Path) -> dict[str, int]:
    """Return room -> level by the list that the tests declare."""
    for node in ast.parse(file.read_text("utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if ORDER[1] in {getattr(target, "id", None) for target in targets}:
            order = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            rows = [[one] if isinstance(one, str) else one for one in order]
            return {room: number for number, row in enumerate(rows) for room in row}
    raise SystemExit(f"{file}: declares no {ORDER[1]}")


def upward(arrows: dict[Arrow, list[str]], level: dict[str, int]) -> dict[Arrow, list[str]]:
    """Return the arrows that do not go down. The lowest floor's rooms know each other; no room lies above __init__."""
    top = max(level.values()) + 1
    places = {arrow: (level.get(arrow[0], top), level.get(arrow[1], top)) for arrow in arrows}
    return {arrow: arrows[arrow] for arrow, (start, end) in places.items() if end >= start and (start, end) != (0, 0)}


def largest(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:TOP])


def attributes(source: Source) -> dict[str, int]:
    """Return how many attributes the objects of each class have, inherited ones included."""
    found = {}
    for path, tree in source.trees.items():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            is_word = node.name in source.registered and "dataclass" in _decorators(node)
            if not is_word and not re.search(OPTIONS, node.name):
                family = _family(node, source.classes)
                found[f"{path}: {node.name}"] = len(set().union(*map(_own_attributes, family.values())))
    return found


def _family(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, ast.ClassDef]:
    """Return a class and those of the package that it inherits from, by name."""
    found, waiting = {node.name: node}, [node]
    while waiting:
        bases = {getattr(base, "id", getattr(base, "attr", "")) for base in waiting.pop().bases}
        more = {name: classes[name] for name in (bases & classes.keys()) - found.keys()}
        found |= more
        waiting += more.values()
    return found


def _own_attributes(node: ast.ClassDef) -> set[str]:
    fields = {
        one.target.id for one in node.body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and "ClassVar" not in ast.unparse(one)
    }  # fmt: skip
    stored = (one for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store))
    return fields | {one.attr for one in stored if isinstance(one.value, ast.Name) and one.value.id == "self"}


def parameters(source: Source) -> dict[str, int]:
    """Return how many parameters each function takes, self apart; registered factories are left out."""
    found = {}
    for path, tree in source.trees.items():
        for node, name in _functions(tree, "", source.registered):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given += filter(None, [node.args.vararg, node.args.kwarg])
            found[f"{path}: {name}"] = len(given) - (bool(given) and given[0].arg in ("self", "cls"))
    return found


def _functions(node: ast.AST, above: str, registered: set[str]) -> Iterator[tuple[ast.FunctionDef, str]]:
    for child in ast.iter_child_nodes(node):
        is_named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if is_named and child.name in registered:
            continue
        name = f"{above}.{child.name}".lstrip(".") if is_named else above
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, name
        yield from _functions(child, name, registered)


def measured(source: Source) -> dict[str, Any]:
    """Return what tests/bench/house_run.py counts in a run."""
    names = {"package": PACKAGE, "commands": COMMANDS, "checks": CHECKS, "registry": REGISTRY}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        path = os.pathsep.join([str(source.folder.parent), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / "cache")}
        command = [sys.executable, str(Path(__file__).with_name("house_run.py")), json.dumps(names), "counts.json"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the run failed: {done.stderr[-3000:]}")
        return json.loads((folder / "counts.json").read_text())  # type: ignore[no-any-return]


def frames(stack: list[str]) -> dict[str, Any]:
    return {"frames": len(stack), "files": len({one.partition(": ")[0] for one in stack}), "stack": stack}


def of_the_run(counts: dict[str, Any]) -> dict[str, Any]:
    backward, optimizer = counts["stacks"]["Tensor.backward"], counts["stacks"]["Optimizer.__init__"]
    builds = [number for number, one in enumerate(optimizer) if re.search(BUILD + "$", one)]
    asked = {name: count for name, count in counts["entered"].items() if not re.fullmatch(FILLING, name)}
    return {
        "main to Tensor.backward": frames(backward),
        "main to Optimizer.__init__": frames(optimizer),
        "build to Optimizer.__init__": frames(optimizer[builds[0] :]) if builds else None,
        "checks of a node": dict(sorted(counts["checks"].items())),
        "registry asked": dict(sorted(asked.items())),
        "registry filled": sum(counts["entered"].values()) - sum(asked.values()),
    }


def of_the_source(source: Source) -> dict[str, Any]:
    rooms, arrows = sorted(source.rooms), source.arrows
    back = upward(arrows, levels(source.folder.parent / ORDER[0]))
    return {
        "rooms": {kind: sum(one == kind for one in source.rooms.values()) for kind in ("folder", "file")},
        "floors": floors(rooms, set(arrows)),
        "floors without arrows back up": floors(rooms, set(arrows) - set(back)),
        "circles": [sorted(group) for group in circles(rooms, set(arrows)) if len(group) > 1],
        "arrows": len(arrows),
        "arrows back up": {" -> ".join(arrow): files for arrow, files in sorted(back.items())},
        "attributes of a class": largest(attributes(source)),
        "parameters of a function": largest(parameters(source)),
        INTERNAL: {str(path): text.count(INTERNAL) for path, text in source.texts.items() if INTERNAL in text},
        "lines": sum(text.count("\n") for text in source.texts.values()),
        "files": len(source.texts),
    }


def table(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (goal, what was found) as text."""
    rooms, back, checks = found["rooms"], found["arrows back up"], found["checks of a node"]
    circled = ", ".join(f"a circle of {len(one)}" for one in found["circles"]) or "no circle"
    yield "rooms", f"{sum(rooms.values())} ({rooms['folder']} folders, {rooms['file']} files)"
    yield "floors, all of a circle counted", f"{found['floors']} ({circled})"
    yield "floors without arrows back up", str(found["floors without arrows back up"])
    yield "arrows back up", f"{len(back)} of {found['arrows']}: {', '.join(back)}"
    for name in ("main to Tensor.backward", "main to Optimizer.__init__", "build to Optimizer.__init__"):
        one = found[name]
        yield f"own frames, {name}", f"{one['frames']} in {one['files']} files" if one else "there is no such frame"
    yield "most attributes of a class", _counts_told(found["attributes of a class"])
    yield "most parameters of a function", _counts_told(found["parameters of a function"])
    for count in sorted({*checks.values()}):
        nodes = [node for node in checks if checks[node] == count]
        yield f"nodes checked {count} times", f"{len(nodes)}: {', '.join(nodes)}"
    if not checks:
        yield "nodes checked", "unknown: no function of CHECKS was called; add its present name there"
    asked = found["registry asked"]
    yield "registry asked in a run", f"{sum(asked.values())} times: {_counts_told(largest(asked))}"
    yield "registry filled", f"{found['registry filled']} calls"
    yield f"uses of {INTERNAL}", f"{sum(found[INTERNAL].values())}: {_counts_told(found[INTERNAL])}"
    yield "lines", f"{found['lines']:,} in {found['files']} files"


def _counts_told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers too, with stacks and files")
    given = parser.parse_args()
    sys.path.append(str(ROOT))
    spec = importlib.util.find_spec(PACKAGE)
    source = Source(Path(spec.origin).resolve().parent)  # type: ignore[union-attr,arg-type]
    print(f"package in {source.folder}")
    found = of_the_source(source) | of_the_run(measured(source))
    for goal, value in table(found):
        print(f"{goal:44} {value}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
