"""The learning-rate range test: a few steps with a growing rate, and what they tell of the rate to train with."""
