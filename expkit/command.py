"""What the commands share: how a mistake ends them, and the options of those that use a trained model."""

import argparse
import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from expkit.registry import ConfigError


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


@contextmanager
def importing() -> Iterator[None]:
    """Import torch and what needs it, a fifth faster.

    Importing makes hundreds of thousands of objects that stay: looking for garbage among them is in vain, now and
    whenever the run does it later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.unfreeze)  # or nanobind, which some libraries are made with, tells of leaks at the end


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End the process in a sentence: exit code 2 for a user's mistake, 130 for Ctrl+C, 141 for a closed pipe."""
    try:
        yield
    except ConfigError as error:
        refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        sys.stderr.close()
        sys.exit(141)


def refuse(error: ConfigError) -> NoReturn:
    """End the process with a user's mistake, a line for each fault."""
    for fault in error.faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(2)
