"""python -m expkit predict: the classes of images, by a trained model."""
