"""python -m expkit predict: classify images with a trained model."""
