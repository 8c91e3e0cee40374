"""expkit export: writes a trained model for other programs and verifies it on images."""

import sys
from collections.abc import Sequence
from typing import Any

from expkit.cli.arguments import CHECKPOINT, plugin_option
from expkit.cli.commands import command_parser
from expkit.core.command_parser import CommandParser
from expkit.core.process import importing, mistakes_reported, refuse_torchrun
from expkit.core.user_folders import expanded


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    with mistakes_reported():
        given = parser().parse_intermixed_args(arguments)
        refuse_torchrun()
        with importing():
            from expkit.config.plugins import load_plugins
            from expkit.inference.export.export import Export, export

        load_plugins(given.plugin)
        options: dict[str, Any] = {
            "to": given.to, "preprocess": given.preprocess, "output": given.output, "images": tuple(given.images),
            "tolerance": given.tolerance,
        }  # fmt: skip
        equal = export(expanded(given.model), given.checkpoint, Export(**options))
    sys.exit(0 if equal else 1)


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("export")
    add = made.add_argument
    add("model", metavar="RUN", help="run folder, or checkpoint (.safetensors)")
    add("--to", choices=("onnx", "torch_export", "safetensors", "state_dict"), required=True, help="format")
    inside = "preprocessing inside the model: none, normalize uint8 images, or also resize and crop them (none)"
    add("--preprocess", choices=("none", "normalize", "full"), default="none", help=inside)
    add("--output", type=expanded, metavar="FILE", help="output file (the name of RUN with the ending of the format)")
    add("--images", nargs="+", default=(), metavar="PATH", help="images to compare on (the run's validation data)")
    add("--tolerance", type=float, metavar="P", help="largest difference, e.g. of a probability (1e-4, full: 2e-2)")
    add("--checkpoint", choices=("best", "last"), default="best", help=CHECKPOINT)
    plugin_option(made)
    return made
