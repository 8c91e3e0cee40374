"""Models: torchvision's zoo with any number of classes, small built-ins, freezing, initialisation."""

from expkit.models import dense, small, timm, torchvision
from expkit.models.heads import auxiliary_weight, replace_head
from expkit.models.input_size import check_input
from expkit.models.partial_load import LoadReport, load_matching
from expkit.models.prepare import ModelOptions, prepare, training_mode
from expkit.models.pretrained import InputSpec, pretrained_input

__all__ = [
    "InputSpec",
    "LoadReport",
    "ModelOptions",
    "auxiliary_weight",
    "check_input",
    "dense",
    "load_matching",
    "prepare",
    "pretrained_input",
    "replace_head",
    "small",
    "timm",
    "torchvision",
    "training_mode",
]
