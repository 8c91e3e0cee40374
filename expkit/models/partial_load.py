"""Partial loading: load the weights that fit, leave out a head for other classes, and report both."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.models.heads import outputs

_SHOWN = 4
_DEEPEST = 4  # components of a prefix, as in ema.module._orig_mod.backbone.
_MOST = 200  # prefixes to try


class LoadReport(NamedTuple):
    """Names of weights: loaded, left out (a head for other classes), not in the file, not in the model.

    renamed: how the names in the file differ from the model's, in a sentence.
    """

    loaded: list[str]
    left_out: list[str]
    missing: list[str]
    unused: list[str]
    renamed: str = ""

    def notes(self) -> list[str]:
        """Return a sentence for each group of names."""
        total = len(self.loaded) + len(self.left_out) + len(self.missing)
        sentences = [f"loaded {len(self.loaded)} of {count_noun(total, 'weight')}"]
        groups = {
            "left out, for other classes": self.left_out,
            "not in the file, so fresh": self.missing,
            "in the file, but not in the model": self.unused,
        }
        sentences += [self.renamed] if self.renamed else []
        return sentences + [f"{what}: {_shorten(names)}" for what, names in groups.items() if names]


def load_matching(
    model: nn.Module, weights: Mapping[str, Tensor], same_classes: bool | None, num_classes: int
) -> LoadReport:
    """Load the weights that fit into a model; return what was loaded and what was not.

    same_classes: whether the weights were trained for the model's classes, in the same order; None if unknown: the
    shapes decide. Raises ConfigError if weights other than the head's differ in shape, or if the file has less than
    half of the model's weights: they are another model's.
    """
    own = model.state_dict()
    weights, renamed = _renamed(weights, own)
    head = {f"{name}." for name, layer in model.named_modules() if outputs(layer) == num_classes}
    shared = [name for name in own if name in weights]
    differ = [name for name in shared if own[name].shape != weights[name].shape]
    of_head = [name for name in shared if name.startswith(tuple(head)) and (name in differ or same_classes is False)]
    if wrong := [name for name in differ if name not in of_head]:
        name = wrong[0]
        shapes = f"{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here"
        raise ConfigError(f"checkpoint.init_from: the weights are another model's: {shapes}")
    loaded = [name for name in shared if name not in of_head]
    if len(loaded) < len(own) / 2:
        raise ConfigError(
            f"checkpoint.init_from: the weights are another model's: {len(loaded)} of the model's {len(own)} are there;"
            f" the file has {_shorten(list(weights))}, the model {_shorten(list(own))}"
        )
    model.load_state_dict({name: weights[name] for name in loaded}, strict=False)
    missing = [name for name in own if name not in weights]
    return LoadReport(loaded, of_head, missing, [name for name in weights if name not in own], renamed)


def _renamed(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str]:
    """Return the weights with a prefix removed or added to match the model's names, and a message.

    Wrappers prefix each name (module., _orig_mod., backbone., ema.), and so may a plugin's model. The prefix with the
    most matching weights is removed or added.
    """
    best, renamed, sentence = sum(_fits(own, name, value) for name, value in weights.items()), weights, ""
    for prefix in _prefixes(weights):
        inside = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if (fits := sum(_fits(own, name, value) for name, value in inside.items())) > best:
            others = {name: value for name, value in weights.items() if not name.startswith(prefix) and name not in own}
            best, renamed, sentence = fits, others | inside, f"removed the prefix '{prefix}' from the names in the file"
    for prefix in _prefixes(own):
        longer = {prefix + name: value for name, value in weights.items()}
        if (fits := sum(_fits(own, name, value) for name, value in longer.items())) > best:
            best, renamed, sentence = fits, longer, f"added the prefix '{prefix}' to the names in the file"
    return renamed, sentence


def _fits(own: Mapping[str, Tensor], name: str, value: Tensor) -> bool:
    return name in own and own[name].shape == value.shape


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return the prefixes of names, up to _DEEPEST components, shorter ones first."""
    parts = [name.split(".") for name in names]
    prefixes = [".".join(path[:depth]) + "." for depth in range(1, _DEEPEST + 1) for path in parts if len(path) > depth]
    return list(dict.fromkeys(prefixes))[:_MOST]


def _shorten(names: list[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
