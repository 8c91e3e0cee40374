"""Words and options of a registry, and values against types."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from expkit.config.registry import Registry
from expkit.config.signature import Misfit, fit
from expkit.core.errors import ConfigError


@pytest.fixture
def registry() -> Registry:
    made = Registry("thing", "expkit.config.registry", runtime=("size",))

    @made.register("box")
    def box(size: int, width: float, names: list[str] | None = None, kind: Literal["a", "b"] = "a") -> tuple[Any, ...]:
        """A box."""
        return size, width, names, kind

    return made


def test_a_node_becomes_an_object(registry: Registry) -> None:
    assert registry.build({"name": "box", "width": 2}, size=3) == (3, 2.0, None, "a")
    assert registry.entry("box").doc == "A box."


def test_every_fault_is_named(registry: Registry) -> None:
    faults = registry.faults({"name": "box", "size": 1, "widht": 1, "names": "x", "kind": "c"})
    assert faults == [
        "thing.size: is set when the run starts; remove it",
        "thing.widht: box has no option 'widht'; did you mean 'width'?",
        "thing.names: expected a list of text or null, got 'x'",
        "thing.kind: expected one of a, b, got 'c'",
        "thing.width: box needs it (number)",
    ]
    assert registry.faults({"name": "bok"}) == ["thing.name: unknown thing 'bok'; did you mean 'box'?"]
    assert registry.faults("box")[0].startswith("thing: expected a mapping with a `name`")


def test_a_word_has_one_owner(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="'box' of mine is already taken by expkit"):
        registry.register("box", source="mine")(lambda: None)


@pytest.mark.parametrize(
    ("annotation", "value", "result"),
    [
        (float, 1, 1.0),
        (int | None, None, None),
        (float | int, 1, 1),
        (tuple[float, float], [1, 2], (1.0, 2.0)),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Path, "x", Path("x")),
        (list[int] | Literal["auto"], "auto", "auto"),
    ],
)
def test_what_fits(annotation: Any, value: object, result: object) -> None:
    found = fit(annotation, value)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int, True), (int, 1.0), (int, "1"), (float, "1e-3"), (float, float("nan")), (bool, 1), (str, 1),
     (tuple[float, float], [1]), (list[int], [1, "x"]), (Literal["a"], "b"), (dict[str, int], [1])],
)  # fmt: skip
def test_what_does_not_fit(annotation: Any, value: object) -> None:
    with pytest.raises(Misfit, match="expected"):
        fit(annotation, value)


def test_a_notebook_shows_the_mistake_alone() -> None:
    assert ConfigError("a: no", "b: no")._render_traceback_() == ["error: a: no", "error: b: no"]


def test_shared_options_are_known_before_the_words_are_imported() -> None:
    program = "from expkit.config.registry import models; print(*models.options('mlp'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"freeze", "init", "hidden"} <= set(done.stdout.split())
