"""expkit predict: predicts classes, numbers, masks or images with a trained model."""

import sys
from collections.abc import Sequence

from expkit.cli.arguments import model_options, speed_options
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
            from expkit.data.workers import WorkerFailed
            from expkit.inference import collect_images, load_trained
            from expkit.inference.predict.predict import PredictOptions, predict

        load_plugins(given.plugin)
        options = PredictOptions(
            given.format, given.output, given.top, given.threshold, given.sort_into, given.sheet,
            given.sheet_images, given.batch_size, given.workers, given.views, given.into,
        )  # fmt: skip
        listed = sys.stdin if "-" in given.images else ()
        paths = collect_images(given.images, listed, lambda note: print(note, file=sys.stderr))
        trained = load_trained(given.model, given.checkpoint, given.device, given.precision)
        for note in trained.notes:
            print(note, file=sys.stderr)
        try:
            bad = predict(trained, paths, options)
        except WorkerFailed as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
    sys.exit(1 if bad else 0)


def parser() -> CommandParser:
    """Return the parser of the command."""
    made = command_parser("predict", "Classes, transforms and config come from the checkpoint.")
    add = made.add_argument
    add("model", metavar="RUN", help="run folder, or checkpoint (.safetensors)")
    add("images", metavar="PATH", nargs="+", help="files, folders, patterns, or - for a list on standard input")
    add("--format", choices=("table", "csv", "json", "jsonl"), help="output format (by the ending, else table)")
    add("--output", type=expanded, metavar="FILE", help="output file (standard output)")
    add("--top", type=int, metavar="K", help="classes per image (3)")
    add("--threshold", type=float, metavar="P", help="lowest probability of a label, if multilabel (0.5)")
    add("--sort-into", type=expanded, metavar="FOLDER", help="copy the images into a folder per class")
    add("--into", type=expanded, metavar="FOLDER", help="where masks or reconstructed images go (outputs/...)")
    add("--sheet", type=expanded, metavar="PICTURE", help="draw a contact sheet")
    add("--sheet-images", type=int, default=48, metavar="N", help="images on the sheet (48)")
    model_options(made)
    speed_options(made)
    return made
