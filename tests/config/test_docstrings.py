"""What --list says of a word and of its options comes from docstrings, and of all our own something is said."""

from pathlib import Path

import pytest
from torch import nn, optim
from torchvision.transforms import v2

import expkit
from expkit.config.docstrings import about, first_sentence
from expkit.config.listing import LISTED, explained

CONF = Path(expkit.__file__).parents[1] / "conf"


def own(count: int, size: int) -> None:
    """Draw images (Ren et al. 2020), of one size. They are new each time.

    count: how many, e.g. 3; size: side in
    pixels. Another sentence.
    """


@pytest.mark.parametrize(
    ("doc", "first"),
    [
        (own.__doc__, "Draw images (Ren et al. 2020), of one size."),
        (nn.BCEWithLogitsLoss.__doc__, "This loss combines a Sigmoid layer and the BCELoss in one single class."),
        (v2.AugMix.__doc__, 'AugMix data augmentation method based on "AugMix: A Simple Data Processing Method to'),
        ("One line", "One line."),
        (
            "See :class:`~torch.nn.Linear`, ``x`` and `the paper <https://example.org>`_.",
            "See Linear, x and the paper.",
        ),
        ("", ""),
    ],
)
def test_first_sentence(doc: str, first: str) -> None:
    assert first_sentence(doc).startswith(first)


@pytest.mark.parametrize(
    ("doc", "option", "said"),
    [
        (own.__doc__, "count", "how many, e.g. 3"),
        (own.__doc__, "size", "side in pixels"),
        (own.__doc__, "pixels", ""),
        (optim.SGD.__doc__, "momentum", "momentum factor (default: 0)"),
        (
            optim.lr_scheduler.OneCycleLR.__doc__,
            "anneal_strategy",
            "{'cos', 'linear'} Specifies the annealing strategy",
        ),
        (v2.RandomPerspective.__doc__, "p", "probability of the input being transformed"),
        ("", "p", ""),
    ],
)
def test_about(doc: str, option: str, said: str) -> None:
    found = about(doc, option)
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize("group", LISTED)
def test_every_word_and_every_option_of_ours_is_explained(group: str) -> None:
    registry = LISTED[group]
    assert [name for name in registry.names() if not registry.entry(name).doc] == []
    words = [name for name in registry.names() if registry.entry(name).source == "expkit"]
    said = {f"{name}.{option}": text for name in words for option, text in explained(group, name, CONF).items()}
    assert [option for option, text in said.items() if not text] == []
