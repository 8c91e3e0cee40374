"""The options that several commands share."""

import argparse


def model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which checkpoint, where, and how precisely."""
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which one of a run (best)")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where (auto)")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), help="the run's own if not given")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="words of your own")


def speed_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how images go through the model."""
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images at a time (64)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read images (one per core)")
    parser.add_argument(
        "--views", choices=("none", "flip", "five_crop"), default="none", help="test-time augmentation (none)"
    )
