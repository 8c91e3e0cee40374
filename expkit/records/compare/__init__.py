"""Comparing runs: what differs in their configs against what came out."""
