"""python -m expkit export: a trained model for other programs, verified on real images."""
