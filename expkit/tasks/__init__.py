"""What is learned from a sample, and how well. Knows nothing of the loop."""
