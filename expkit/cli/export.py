"""python -m expkit export: a trained model for other programs, verified on real images."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from expkit.core.process import importing, mistakes_told, refuse_torchrun
from expkit.core.user_folders import expanded

_ABOUT = "Writes a trained model for other programs, and compares the file with the model on real images."
_EXIT = "Exit code: 0 written and equal, 1 written but its results differ, 2 a mistake in the command."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 written and equal, 1 its results differ, 2 a user's mistake, 130 Ctrl+C."""
    given = _parser().parse_intermixed_args(arguments)
    with mistakes_told():
        refuse_torchrun()
        with importing():
            from expkit.config.plugins import load_plugins
            from expkit.inference.export.export import Export, export

        load_plugins(given.plugin)
        wishes: dict[str, Any] = {
            "to": given.to, "preprocess": given.preprocess, "output": given.output, "images": tuple(given.images),
            "tolerance": given.tolerance,
        }  # fmt: skip
        equal = export(expanded(given.model), given.checkpoint, Export(**wishes))
    sys.exit(0 if equal else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m expkit export", description=_ABOUT, epilog=_EXIT, allow_abbrev=False)
    add = parser.add_argument
    add("model", metavar="RUN", help="a run folder, or a checkpoint (.safetensors)")
    add("--to", choices=("onnx", "torch_export", "safetensors", "state_dict"), required=True, help="the format")
    inside = "what is done inside: nothing, normalising uint8 images, or resizing and cropping them too (none)"
    add("--preprocess", choices=("none", "normalize", "full"), default="none", help=inside)
    add("--output", type=expanded, metavar="FILE", help="where to (RUN's name and the format's ending, here)")
    add("--images", nargs="+", default=(), metavar="PATH", help="images to compare on (the run's validation data)")
    add("--tolerance", type=float, metavar="P", help="largest difference of a probability (1e-4, full: 2e-2)")
    add("--checkpoint", choices=("best", "last"), default="best", help="which one of a run (best)")
    add("--plugin", action="append", default=[], metavar="FILE", help="words of your own")
    return parser
