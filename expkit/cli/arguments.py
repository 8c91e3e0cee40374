"""The options that several commands share. What a metavar names is completed: RUN, RECORD, OVERRIDE."""

import argparse

CHECKPOINT = "best or last checkpoint of the run (best)"


def plugin_option(parser: argparse.ArgumentParser) -> None:
    """Add --plugin, which may be given several times."""
    about = "Python file that registers your own names; may be repeated"
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help=about)


def model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the checkpoint, the device and the precision."""
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help=CHECKPOINT)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="device to compute on (auto)")
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), help="precision (the run's own)")
    plugin_option(parser)


def speed_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the batches: their size, their readers, and test-time augmentation."""
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images per batch (64)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read images (one per core)")
    views = ("none", "flip", "five_crop")
    parser.add_argument("--views", choices=views, default="none", help="test-time augmentation (none)")
