"""A registered name with its factory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from expkit.config.docstrings import about, first_sentence
from expkit.config.signature import Option, options_of


@dataclass(frozen=True)
class Entry:
    """A registered name: its factory, its source, and the callables whose signatures say what it accepts."""

    name: str
    factory: Callable[..., Any]
    source: str
    signatures: tuple[Callable[..., Any], ...]
    subject: str = ""  # of a plain function, the parameter that takes its input

    def options(self) -> dict[str, Option]:
        """Return every option of the factory, runtime values included."""
        found = [options_of(signature) for signature in reversed(self.signatures)]
        return {name: option for options in found for name, option in options.items() if name != self.subject}

    @property
    def doc(self) -> str:
        """Return the first sentence of the factory's docstring."""
        return first_sentence(self.factory.__doc__ or "")

    def about(self, option: str) -> str:
        """Return what the docstrings of the factory and of its signatures say of an option, or ""."""
        return next(filter(None, (about(one.__doc__ or "", option) for one in self.signatures)), "")
