"""tests/bench/house.py: what is read from the source of a made-up package."""

from pathlib import Path

import pytest

from tests.bench.house import Source, attributes, circles, floors, levels, parameters, upward

FILES = {
    "__init__.py": "from expkit.top import go\n",
    "base.py": "class Base:\n    def __init__(self):\n        self.a, self.b = 1, 2\n",
    "middle/__init__.py": "",
    "middle/parts.py": (
        "from dataclasses import dataclass\n"
        "from expkit.base import Base\n\n"
        "@dataclass\nclass Part(Base):\n    c: int\n    d: int = 0\n\n"
        "@dataclass\nclass PartOptions:\n    e: int\n"
    ),
    "top.py": (
        "def go(one, *others, three=3):\n"
        "    from .middle import parts\n"
        "    import expkit\n\n"
        "@words.register('many')\ndef many(a, b, c, d, e, f): ...\n\n"
        "class Top:\n    def go(self, one): ...\n"
    ),
    "new/templates/mine.py": "import expkit.top\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    for name, text in FILES.items():
        path = tmp_path / "expkit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Source(tmp_path / "expkit")


def test_arrows_count_imports_within_functions_and_of_the_package(source: Source) -> None:
    down = {("__init__", "top"), ("middle", "base"), ("top", "middle")}
    assert source.arrows.keys() == down | {("top", "__init__")}
    level = {"base": 0, "middle": 1, "top": 2}
    assert upward(source.arrows, level) == {("top", "__init__"): ["top.py"]}
    rooms = sorted(source.rooms)
    assert [group for group in circles(rooms, set(source.arrows)) if len(group) > 1] == [{"__init__", "top"}]
    assert floors(rooms, set(source.arrows)) == floors(rooms, down) == 4


def test_sizes_leave_out_options_and_registered_words(source: Source) -> None:
    assert attributes(source) == {"base.py: Base": 2, "middle/parts.py: Part": 4, "top.py: Top": 0}
    assert parameters(source) == {"base.py: Base.__init__": 0, "top.py: go": 3, "top.py: Top.go": 1}


def test_the_declared_order_is_read() -> None:
    level = levels(Path(__file__).parents[1] / "test_house.py")
    assert len({*level.values()}) > 1
