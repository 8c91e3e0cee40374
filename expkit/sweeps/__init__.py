"""Sweeps: many jobs, checked and frozen before the first, each in a process of its own, resumable, ranked."""

from expkit.sweeps.run import SweepFlags, SweepRun

__all__ = ["SweepFlags", "SweepRun"]
