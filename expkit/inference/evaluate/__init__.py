"""python -m expkit evaluate: score trained models on any data."""
