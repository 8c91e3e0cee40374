"""python -m expkit predict: the classes of images, by a trained model."""

import argparse
import sys
from collections.abc import Sequence

from expkit.cli.arguments import model_options, speed_options
from expkit.core.process import importing, mistakes_told, refuse_torchrun
from expkit.core.user_folders import expanded

_ABOUT = "Says what is on images. The checkpoint knows its classes, transforms and config: nothing is asked again."
_EXIT = "Exit code: 0 all images predicted, 1 some could not be read (each is named), 2 a mistake in the command."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 some files could not be read, 2 a user's mistake, 130 Ctrl+C."""
    given = _parser().parse_intermixed_args(arguments)
    with mistakes_told():
        refuse_torchrun()
        with importing():
            from expkit.config.plugins import load_plugins
            from expkit.data.workers import WorkerFailed
            from expkit.inference import collect_images, load_trained
            from expkit.inference.predict.predict import PredictOptions, predict

        load_plugins(given.plugin)
        wishes = PredictOptions(
            given.format, given.output, given.top, given.threshold, given.sort_into, given.sheet,
            given.sheet_images, given.batch_size, given.workers, given.views,
        )  # fmt: skip
        listed = sys.stdin if "-" in given.images else ()
        paths = collect_images(given.images, listed, lambda note: print(note, file=sys.stderr))
        trained = load_trained(given.model, given.checkpoint, given.device, given.precision)
        for note in trained.notes:
            print(note, file=sys.stderr)
        try:
            bad = predict(trained, paths, wishes)
        except WorkerFailed as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
    sys.exit(1 if bad else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m expkit predict", description=_ABOUT, epilog=_EXIT, allow_abbrev=False)
    parser.add_argument("model", metavar="RUN", help="a run folder, or a checkpoint (.safetensors)")
    parser.add_argument(
        "images", metavar="PATH", nargs="+", help="files, folders, patterns, or - for a list on standard input"
    )
    add = parser.add_argument
    add("--format", choices=("table", "csv", "json", "jsonl"), help="how it is written (by the ending, else a table)")
    add("--output", type=expanded, metavar="FILE", help="where to (standard output)")
    add("--top", type=int, default=3, metavar="K", help="classes to name per image (3)")
    add("--threshold", type=float, default=0.5, metavar="P", help="a label counts from here, if images have many (0.5)")
    add("--sort-into", type=expanded, metavar="FOLDER", help="copy the images into a folder per class")
    add("--sheet", type=expanded, metavar="PICTURE", help="draw a contact sheet")
    add("--sheet-images", type=int, default=48, metavar="N", help="images on it (48)")
    model_options(parser)
    speed_options(parser)
    return parser
