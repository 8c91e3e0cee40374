"""Secrets are taken out of texts, configs and source code before these leave the machine.

A name says that a value is secret (`names`), or the value does (`values`); `text`, `python` and `sources` find both in
prose and settings, in Python, and in whole files, notebooks and patches.
"""

from expkit.config.redaction.names import Level, level_of
from expkit.config.redaction.sources import redact_patch, redact_source
from expkit.config.redaction.structures import redact_value, secret_values
from expkit.config.redaction.text import redact_text
from expkit.config.redaction.values import SECRET, is_secret

__all__ = [
    "SECRET", "Level", "is_secret", "level_of", "redact_patch", "redact_source", "redact_text", "redact_value",
    "secret_values",
]  # fmt: skip
