"""python -m expkit evaluate: how good trained models are, on any data."""
