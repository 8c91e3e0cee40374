"""Trained models: load them from a checkpoint or a run folder alone, and apply them to images."""

from expkit.inference.batch_inference import Scored, score
from expkit.inference.inputs import collect_images, path_images
from expkit.inference.locate import Which, run_folders
from expkit.inference.trained_model import Trained, load_trained
from expkit.inference.tta import Views

__all__ = [
    "Scored",
    "Trained",
    "Views",
    "Which",
    "collect_images",
    "load_trained",
    "path_images",
    "run_folders",
    "score",
]
