"""Predict images: read, apply, write, and report what cannot be read."""

import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO, get_args

from expkit.core.errors import ConfigError
from expkit.core.files import writing
from expkit.core.formatting import count_noun
from expkit.core.progress import bar
from expkit.core.terminal import Console
from expkit.data.batches import BadSample
from expkit.data.dataset import ImageDataset
from expkit.inference import Trained, Views, path_images, score
from expkit.inference.masks import crop_of
from expkit.inference.predict.answer_writers import answer_writer
from expkit.inference.predict.answers import Answer, Answers
from expkit.inference.predict.contact_sheet import ContactSheet
from expkit.inference.predict.folder_sorter import FolderSorter
from expkit.inference.predict.prediction import Prediction, predictions
from expkit.inference.predict.writers import Format, Writer, class_writer

_TOP, _THRESHOLD = 3, 0.5


@dataclass(frozen=True)
class PredictOptions:
    """Options of the command.

    format: None for the output's suffix, else a table. output: None for standard output. top: classes per image, None
    for 3. threshold: least probability of a label, for multilabel models, None for 0.5. sort_into: a folder to copy
    into. sheet: file for a contact sheet of sheet_images images. workers: None for one per core. into: a folder for
    masks and reconstructed images, None for a new one in outputs.
    """

    format: Format | None = None
    output: Path | None = None
    top: int | None = None
    threshold: float | None = None
    sort_into: Path | None = None
    sheet: Path | None = None
    sheet_images: int = 48
    batch_size: int = 64
    workers: int | None = None
    views: Views = "none"
    into: Path | None = None

    def __post_init__(self) -> None:
        for name in ("top", "sheet_images", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise ConfigError(f"--{option}: expected an integer from 1 up, got {getattr(self, name)}")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"--workers: expected an integer from 0 up, got {self.workers}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ConfigError(f"--threshold: expected a probability from 0 to 1, got {self.threshold}")

    @property
    def written_as(self) -> Format:
        by_suffix: dict[str, Format] = {f".{name}": name for name in get_args(Format)}
        return self.format or by_suffix.get(self.output.suffix.lower() if self.output else "", "table")

    def check_task(self, trained: Trained) -> None:
        """Raise ConfigError for options that say nothing to the model's task."""
        trained.check_views(self.views)
        of_classes = {"--top": self.top, "--threshold": self.threshold, "--sort-into": self.sort_into}
        form, kind = trained.task.form, trained.task.kind
        if form != "classes" and (given := [name for name, value in of_classes.items() if value is not None]):
            raise ConfigError(f"{given[0]}: is for classes of images, and this model is for {kind}; leave it out")
        if form not in ("masks", "images") and self.into:
            raise ConfigError(
                f"--into: is for masks and reconstructed images, and this model is for {kind}; leave it out"
            )


def predict(trained: Trained, paths: Sequence[str], options: PredictOptions) -> list[BadSample]:
    """Predict the images of these paths, and return those that could not be read. Raises ConfigError, WorkerFailed."""
    options.check_task(trained)
    sorter = FolderSorter(options.sort_into, trained.classes) if options.sort_into else None
    sheet = ContactSheet(options.sheet, len(paths), options.sheet_images) if options.sheet else None
    file = _opened(options.output)
    images = path_images(paths, trained.classes, trained.decoder)
    if trained.task.form == "masks" and (crop := crop_of(trained.chain)):
        _print(f"note: masks are of what the model sees of each image, since {crop} cannot be undone")
    answers = None if trained.task.form == "classes" else Answers(trained, images, paths, options.into)
    with writing(options.output or "the standard output"), file if options.output else nullcontext():
        began = time.perf_counter()
        bad = _write_all(trained, images, paths, options, file, _Beside(sorter, sheet, answers))
        seconds = time.perf_counter() - began
    done = len(paths) - len(bad)
    summary = f"{count_noun(done, 'image')} in {seconds:.1f} s ({done / seconds:,.0f} images/s)"
    if sheet:
        names = f": {', '.join(trained.classes)}" if trained.task.form == "numbers" else ""
        sheet.save(f"{count_noun(done, 'image')}, predicted by {trained.path.stem}{names}")
        summary += f", sheet {options.sheet}"
    if sorter:
        summary += f", {sorter.copied:,} copied into {options.sort_into}"
    if answers and answers.pictures:
        summary += f", pictures in {answers.pictures.folder}"
    _print(f"{summary}, written to {options.output}" if options.output else summary)
    if bad:
        _print(f"{len(bad):,} of {count_noun(len(paths), 'file')} could not be read; they are listed above")
    return bad


class _Beside(NamedTuple):
    """What is made beside the table. answers: those of a task without classes."""

    sorter: FolderSorter | None
    sheet: ContactSheet | None
    answers: Answers | None


def _write_all(
    trained: Trained, images: ImageDataset, paths: Sequence[str], options: PredictOptions, file: TextIO, beside: _Beside
) -> list[BadSample]:
    sorter, sheet, answers = beside
    bad: list[BadSample] = []
    top, threshold = options.top or _TOP, _THRESHOLD if options.threshold is None else options.threshold
    writer: Writer[Any] = (
        answer_writer(options.written_as, file)
        if answers
        else class_writer(options.written_as, file, min(top, len(trained.classes)))
    )
    with bar("predicting", len(paths)) as advance:
        for scored in score(trained, images, options.batch_size, options.workers, options.views):
            told: Iterable[Answer | Prediction] = (
                answers.of(scored) if answers else predictions(scored, paths, trained, top, threshold)
            )
            for place, prediction in enumerate(told):
                writer.write(prediction)
                if sorter and isinstance(prediction, Prediction):
                    sorter.add(prediction)
                if sheet:
                    tile = prediction.tile if isinstance(prediction, Answer) else scored.images[place]
                    sheet.add(int(scored.indices[place]), tile, prediction.caption, prediction.path)
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
