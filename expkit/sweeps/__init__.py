"""Sweeps: many jobs, checked and frozen before the first, each in a process of its own, resumable, ranked."""

from expkit.sweeps.sweep import SweepFlags, run

__all__ = ["SweepFlags", "run"]
