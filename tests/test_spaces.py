"""The space of a search: what Hydra's words for several values come to."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from expkit.registry import ConfigError
from expkit.spaces import Axis, Space, axis_of, space_of


def axis(word: str) -> Axis:
    return axis_of(OverridesParser.create().parse_override(word))


def space(*words: str) -> Space:
    return space_of(OverridesParser.create().parse_overrides(list(words)), {}, lambda words: {"words": words})


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a.b=interval(0.1,2)", Axis("a.b", "float", 0.1, 2.0)),
        ("lr=tag(log,interval(1e-4,1e-1))", Axis("lr", "float", 1e-4, 1e-1, log=True)),
        ("size=int(interval(1,8))", Axis("size", "int", 1, 8)),
        ("size=tag(log,int(interval(1,64)))", Axis("size", "int", 1, 64, log=True)),
        ("size=range(2,9,3)", Axis("size", "int", 2, 8, step=3)),
        ("size=range(0.0,1.0,0.25)", Axis("size", "float", 0.0, 0.75, step=0.25)),
        ("model=small_cnn,resnet18", Axis("model", "choice", choices=("small_cnn", "resnet18"))),
        ("epochs=choice(1,2)", Axis("epochs", "choice", choices=("1", "2"))),
        ("a=[1,2],[3]", Axis("a", "choice", choices=("[1,2]", "[3]"))),
    ],
)
def test_hydras_words_become_axes(word: str, expected: Axis) -> None:
    assert axis(word) == expected


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("lr=tag(log,interval(0,1))", "lr: on a logarithmic scale the lower end is above 0, got 0"),
        ("lr=interval(1,0.1)", "lr: an interval goes from the smaller to the greater end"),
        ("lr=interval(0,inf)", "both finite"),
        ("lr=range(3,1)", "lr: the range holds no value"),
    ],
)
def test_what_is_no_space_is_refused(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        axis(word)


def test_a_trial_has_every_word_in_its_place() -> None:
    made = space("model=small_cnn,resnet18", "seed=3", "optimizer.lr=interval(0.1,0.2)", "~loss")
    assert made.trial({"optimizer.lr": 0.125, "model": "resnet18"}) == [
        "model=resnet18", "seed=3", "optimizer.lr=0.125", "~loss",
    ]  # fmt: skip
    assert made.probes() == [
        ["model=small_cnn", "seed=3", "optimizer.lr=0.1", "~loss"],
        ["model=resnet18", "seed=3", "optimizer.lr=0.1", "~loss"],
        ["model=small_cnn", "seed=3", "optimizer.lr=0.2", "~loss"],
    ]


def test_a_search_needs_something_to_search() -> None:
    with pytest.raises(ConfigError, match="nothing is to be searched"):
        space("model=small_cnn", "seed=3")
