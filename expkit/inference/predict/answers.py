"""What a model of numbers, masks or images says of each image: written as rows, and as pictures into a folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.core.files import writing
from expkit.core.run_folder import make_run_folder
from expkit.data.dataset import ImageDataset
from expkit.data.decode import BadImage
from expkit.inference import Scored, Trained
from expkit.inference.masks import mask_picture, overlay, shares_of
from expkit.tasks.pixel_metrics import Psnr

_MOST_SHOWN = 4  # classes of a mask, in the table and on the sheet


@dataclass(frozen=True)
class Answer:
    """path: as given. cells: of the CSV, by column; shown: of the table in the terminal; data: for JSON.

    caption, tile: text and picture, (3, H, W) uint8, on a contact sheet.
    """

    path: str
    cells: Mapping[str, str]
    shown: Mapping[str, str]
    data: Mapping[str, object]
    caption: str
    tile: Tensor = field(repr=False)

    def as_json(self) -> dict[str, object]:
        """Return path and what was said."""
        return {"path": self.path, **self.data}


class Answers:
    """Turns batches into answers. into: a folder for pictures, None for a new one in outputs."""

    def __init__(self, trained: Trained, images: ImageDataset, paths: Sequence[str], into: Path | None) -> None:
        self.trained, self.images, self.paths = trained, images, paths
        self.pictures = _Pictures(into) if trained.task.form in ("masks", "images") else None

    def of(self, scored: Scored) -> Iterator[Answer]:
        """Yield the answers of a batch. Raises ConfigError where a picture cannot be written."""
        make = {"masks": self._mask, "images": self._image}.get(self.trained.task.form, self._numbers)
        for place, index in enumerate(scored.indices.tolist()):
            yield make(index, scored.images[place], scored.outputs[place])

    def _numbers(self, index: int, seen: Tensor, outputs: Tensor) -> Answer:
        values = self.trained.answer(outputs, (0, 0))
        values = {("path_" if name == "path" else name): value for name, value in values.items()}
        cells = {name: f"{value:.7g}" for name, value in values.items()}
        shown = {name: f"{value:.4g}" for name, value in values.items()}
        caption = ", ".join(f"{value:.3g}" for value in values.values())  # a tile is not wide enough for names
        return Answer(self.paths[index], cells, shown, values, caption, seen)

    def _mask(self, index: int, seen: Tensor, outputs: Tensor) -> Answer:
        image, names, path = self._as_given(index, seen), self.trained.classes, self.paths[index]
        mask = self.trained.answer(outputs, (image.shape[-2], image.shape[-1]))
        over = overlay(image, mask, names)
        assert self.pictures is not None
        files = {
            "mask": self.pictures.write(path, "mask", mask_picture(mask, names)),
            "overlay": self.pictures.write(path, "overlay", _picture(over)),
        }
        shares = shares_of(mask, names)
        most = sorted(shares.items(), key=lambda item: -item[1])[:_MOST_SHOWN]
        caption = ", ".join(f"{name} {share:.0%}" for name, share in most if share)
        cells = files | {f"share_{name}": f"{share:.6f}" for name, share in shares.items()}
        shown = {"mask": files["mask"], "classes": caption}
        return Answer(path, cells, shown, {**files, "shares": shares}, caption, over)

    def _as_given(self, index: int, seen: Tensor) -> Tensor:
        """Return the image that a mask fits: as it was given, or as the model sees it where that is a part of it."""
        if not self.trained.keeps_places:
            return seen
        try:
            return self.images.image(index)
        except BadImage:  # it was there a second ago
            return seen

    def _image(self, index: int, seen: Tensor, outputs: Tensor) -> Answer:
        path, answer = self.paths[index], self.trained.answer(outputs, (0, 0))
        assert self.pictures is not None
        file = self.pictures.write(path, "reconstruction", _picture(answer))
        psnr = float(Psnr().each(outputs[None].cpu(), seen[None].float() / 255))
        both = torch.cat([seen, answer], dim=2) if seen.shape == answer.shape else answer
        cells, shown = {"image": file, "psnr": f"{psnr:.4f}"}, {"reconstruction": file, "psnr": f"{psnr:.2f}"}
        return Answer(path, cells, shown, {"image": file, "psnr": psnr}, f"{psnr:.1f} dB", both)


class _Pictures:
    """Writes folder/NAME_KIND.png; if there is a file of that name, NAME_KIND-2.png, NAME_KIND-3.png, ..."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or make_run_folder("outputs", "prediction")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--into: cannot make '{folder}': {error.strerror}; give another folder") from error

    def write(self, source: str, kind: str, picture: Image.Image) -> str:
        """Write a picture that was made of the image at a path, and return its own path."""
        name = f"{Path(source).stem[:200]}_{kind}"
        with writing(self.folder):
            path = self._free(name)
            picture.save(path)
        return str(path)

    def _free(self, name: str) -> Path:
        for number in count(1):
            path = self.folder / f"{name if number == 1 else f'{name}-{number}'}.png"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                continue
            return path
        raise AssertionError


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
