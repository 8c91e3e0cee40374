"""Watching a run: pictures, tables and curves beside the scores, at intervals, and without any effect on the run."""

from expkit.training.watch.base import Scene, Watcher
from expkit.training.watch.dispatcher import Score, WatchDispatcher, Watchers, build_watchers
from expkit.training.watch.embeddings import Embeddings
from expkit.training.watch.images import Inputs, Predictions
from expkit.training.watch.model_summary import ModelGraph, Summary
from expkit.training.watch.number_plots import Scatter
from expkit.training.watch.score_plots import Calibration, Confusion, PerClass, PrecisionRecall
from expkit.training.watch.weight_histograms import GradientNorm, Gradients, Kernels, Weights

__all__ = [
    "Calibration",
    "Confusion",
    "Embeddings",
    "GradientNorm",
    "Gradients",
    "Inputs",
    "Kernels",
    "ModelGraph",
    "PerClass",
    "PrecisionRecall",
    "Predictions",
    "Scatter",
    "Scene",
    "Score",
    "Summary",
    "WatchDispatcher",
    "Watcher",
    "Watchers",
    "Weights",
    "build_watchers",
]
