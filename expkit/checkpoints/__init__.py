"""Checkpoints: written whole or not at all, read without executing anything."""

from expkit.checkpoints import manager  # noqa: F401  registers the choices of the group
