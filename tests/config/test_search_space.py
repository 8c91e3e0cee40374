"""The space of a search: what Hydra's words for several values come to."""

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from expkit.config.search_space import Axis, Space, axis_of, space_of
from expkit.core.errors import ConfigError


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
        ("lr=0.1,1e-1,0.01", Axis("lr", "choice", choices=("0.1", "0.01"))),
        ("lr=1,1.0,true,'1'", Axis("lr", "choice", choices=("1", "True", "'1'"))),
        ("a=[1,2],[3]", Axis("a", "choice", choices=("[1,2]", "[3]"))),
        ("a=shuffle(3,1,2)", Axis("a", "choice", choices=("3", "1", "2"))),  # order means nothing to a search
        ("a=sort(3,1,2)", Axis("a", "choice", choices=("1", "2", "3"))),
        ("a=sort(3,1,2,reverse=true)", Axis("a", "choice", choices=("3", "2", "1"))),
        ("a=shuffle(range(1,5))", Axis("a", "int", 1, 4, step=1)),
        ("a=sort(range(1,5),reverse=true)", Axis("a", "int", 1, 4, step=1)),
        ("a=range(5,1,-2)", Axis("a", "int", 3, 5, step=2)),
        ("a=range(0,1,0.1)", Axis("a", "float", 0.0, 0.9, step=0.1)),
        ("a=range(0,1000000000)", Axis("a", "int", 0, 999_999_999, step=1)),  # counted, not listed
        ("a=float(range(1,4))", Axis("a", "float", 1.0, 3.0, step=1.0)),
        ("a=int(range(1.0,4.0))", Axis("a", "int", 1, 3, step=1)),
        ("a=float(1,2)", Axis("a", "choice", choices=("1.0", "2.0"))),
        ("a=interval(2,2)", Axis("a", "float", 2.0, 2.0)),
        ("a=int(tag(log,interval(1,8)))", Axis("a", "int", 1, 8, log=True)),
        ("a=tag(log,range(1,9))", Axis("a", "int", 1, 8, log=True)),
        ("a=tag(log,sweep=interval(1,8))", Axis("a", "float", 1.0, 8.0, log=True)),
        ("a=choice('tag(x)',b)", Axis("a", "choice", choices=("tag\\(x\\)", "b"))),
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
        ("lr=tag(logg,interval(1,2))", "lr: unknown tag 'logg'; did you mean 'log'?"),
        ("lr=tag(LOG,interval(1,2))", "lr: unknown tag 'LOG'; did you mean 'log'?"),
        ("lr=tag(log,x,interval(1,2))", "lr: unknown tag 'x'; the only one is log"),
        ("lr=tag(logg,range(1,9))", "did you mean 'log'?"),
        ("lr=tag(logg,choice(1,2))", "did you mean 'log'?"),
        ("lr=tag(log,choice(1,2))", "lr: a list has no scale"),
        ("lr=tag(interval(1,2))", "lr: tag() stands outermost and with a name"),
        ("lr=float(tag(log,range(1,9)))", "lr: tag() stands outermost"),  # Hydra's cast drops the tag
        ("lr=tag(log,range(1,9,2))", "a range has a step of 1; write tag(log,int(interval(1,7)))"),
        ("lr=tag(log,range(1.0,9.0))", "a range has a step of 1; write tag(log,interval(1.0,8.0))"),
        ("lr=tag(log,range(0,9,2))", "the lower end is above 0, got 0"),
        ("lr=int(interval(0.2,0.7))", "lr: int(interval()) takes integers as its ends, got 0.2 and 0.7"),
        ("lr=range(1,9,0)", "lr: a range has finite ends and a step other than 0"),
        ("lr=interval(1,2),3", "lr: a list holds plain values"),
        ("~lr=1,2", "~lr: a deletion has no values to search"),
    ],
)
def test_what_is_no_space_is_refused(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        axis(word)


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("n=interval(8,64)", "'n=int(interval(8,64))'"),
        ("n=interval(7.5,64.2)", "'n=int(interval(8,64))'"),
        ("n=tag(log,interval(8,64))", "'n=tag(log,int(interval(8,64)))'"),
        ("n=range(8.0,65.0,8.0)", "'n=range(8,65,8)'"),
        ("n=int(interval(8,64))", ""),
        ("n=interval(0.2,0.7)", ""),
    ],
)
def test_an_interval_of_whole_numbers_can_be_typed(word: str, typed: str) -> None:
    assert axis(word).of_whole_numbers() == typed
    if typed:
        assert axis(typed.strip("'")).kind == "int"


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
