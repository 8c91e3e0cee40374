"""What the shell offers on TAB: groups, choices, keys, and the registry's words with their options."""

from expkit.completion.answer import answer

__all__ = ["answer"]
