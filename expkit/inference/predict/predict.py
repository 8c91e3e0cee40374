"""Predict images: read, apply, write, and report what cannot be read."""

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, get_args

from expkit.core.errors import ConfigError
from expkit.core.files import writing
from expkit.core.formatting import count_noun
from expkit.core.progress import bar
from expkit.core.terminal import Console
from expkit.data.batches import BadSample
from expkit.inference import Trained, Views, path_images, score
from expkit.inference.predict.contact_sheet import ContactSheet
from expkit.inference.predict.folder_sorter import FolderSorter
from expkit.inference.predict.prediction import predictions
from expkit.inference.predict.writers import WRITERS, Format


@dataclass(frozen=True)
class PredictOptions:
    """Options of the command.

    format: None for the output's suffix, else a table. output: None for standard output. top: classes per image.
    threshold: least probability of a label, for multilabel models. sort_into: a folder to copy into. sheet: file for a
    contact sheet of sheet_images images. workers: None for one per core.
    """

    format: Format | None = None
    output: Path | None = None
    top: int = 3
    threshold: float = 0.5
    sort_into: Path | None = None
    sheet: Path | None = None
    sheet_images: int = 48
    batch_size: int = 64
    workers: int | None = None
    views: Views = "none"

    def __post_init__(self) -> None:
        for name in ("top", "sheet_images", "batch_size"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option}: expected an integer from 1 up, got {getattr(self, name)}")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"--workers: expected an integer from 0 up, got {self.workers}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"--threshold: expected a probability from 0 to 1, got {self.threshold}")

    @property
    def written_as(self) -> Format:
        by_suffix: dict[str, Format] = {f".{name}": name for name in get_args(Format)}
        return self.format or by_suffix.get(self.output.suffix.lower() if self.output else "", "table")


def predict(trained: Trained, paths: Sequence[str], options: PredictOptions) -> list[BadSample]:
    """Predict the images of these paths, and return those that could not be read. Raises ConfigError, WorkerFailed."""
    sorter = FolderSorter(options.sort_into, trained.classes) if options.sort_into else None
    sheet = ContactSheet(options.sheet, len(paths), options.sheet_images) if options.sheet else None
    file = _opened(options.output)
    with writing(options.output or "the standard output"), file if options.output else nullcontext():
        began = time.perf_counter()
        bad = _write_all(trained, paths, options, file, sorter, sheet)
        seconds = time.perf_counter() - began
    done = len(paths) - len(bad)
    summary = f"{count_noun(done, 'image')} in {seconds:.1f} s ({done / seconds:,.0f} images/s)"
    if sheet:
        sheet.save(f"{count_noun(done, 'image')}, predicted by {trained.path.stem}")
        summary += f", sheet {options.sheet}"
    if sorter:
        summary += f", {sorter.copied:,} copied into {options.sort_into}"
    _print(f"{summary}, written to {options.output}" if options.output else summary)
    if bad:
        _print(f"{len(bad):,} of {count_noun(len(paths), 'file')} could not be read; they are listed above")
    return bad


def _write_all(
    trained: Trained, paths: Sequence[str], options: PredictOptions, file: TextIO,
    sorter: FolderSorter | None, sheet: ContactSheet | None,
) -> list[BadSample]:  # fmt: skip
    bad: list[BadSample] = []
    writer = WRITERS[options.written_as](file, min(options.top, len(trained.classes)))
    images = path_images(paths, trained.classes, trained.decoder)
    with bar("predicting", len(paths)) as advance:
        for scored in score(trained, images, options.batch_size, options.workers, options.views):
            named = predictions(scored, paths, trained, options.top, options.threshold)
            for place, prediction in enumerate(named):
                writer.write(prediction)
                if sorter:
                    sorter.add(prediction)
                if sheet:
                    sheet.add(int(scored.indices[place]), scored.images[place], prediction)
            for failed in scored.failed:
                _print(f"bad file: {failed.location}: {failed.reason}")
            bad += scored.failed
            advance(len(scored.indices) + len(scored.failed))
    writer.close()
    file.flush()
    return bad


def _opened(output: Path | None) -> TextIO:
    if output is None:
        return sys.stdout
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return output.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    except OSError as error:
        raise ConfigError(f"--output: cannot write '{output}': {error.strerror}; give another file") from error


def _print(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)
