"""Trained models: read back from a checkpoint or a run folder alone, and applied to images."""

from expkit.trained.find import Which, run_folders
from expkit.trained.images import collect_images, path_images
from expkit.trained.model import Trained, load_trained
from expkit.trained.score import Scored, score
from expkit.trained.views import Views

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
