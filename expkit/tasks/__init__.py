"""Tasks: what is learned from a sample, and how well. Knows nothing of the loop; imports no torch by itself."""
