"""What the shell offers on TAB: groups, choices, keys, and the registry's words with their options."""

from expkit.config.completion.shell import answer

__all__ = ["answer"]
