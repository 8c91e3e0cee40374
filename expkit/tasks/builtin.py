"""The tasks of the package: importing this registers them."""

from expkit.tasks import classification, reconstruction, regression, segmentation

__all__ = ["classification", "reconstruction", "regression", "segmentation"]
