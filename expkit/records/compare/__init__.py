"""Compare runs: the differences of their configs, and their scores."""
