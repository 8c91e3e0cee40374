"""Images with masks beside them: the class of each pixel."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun
from expkit.data.dataset import ImageDataset, Splits
from expkit.data.datasets.image_files import ImageFiles, existing_folder, image_tree
from expkit.data.decode import BadImage
from expkit.data.targets import WithMasks

_MOST_CLASSES = 255


@datasets.register("masks")
def masks(
    root: str,
    classes: list[str],
    images: str = "images",
    masks: str = "masks",
    val_root: str | None = None,
) -> Splits:
    """Images and masks of the same names in two folders: images/a.jpg, masks/a.png.

    root: holds both folders. classes: the names of the masks' values, from 0; a pixel of 255 is not known. images,
    masks: the folders' names. val_root: a folder like root with the validation images; null: a share is held out.
    """
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise ConfigError(f"dataset.classes: takes 2 to {_MOST_CLASSES} names, got {len(classes)}")
    train = _read(root, "dataset.root", classes, images, masks)
    val = _read(val_root, "dataset.val_root", classes, images, masks) if val_root is not None else None
    return Splits(train, val)


def _read(root: str, option: str, classes: Sequence[str], images: str, masks: str) -> ImageDataset:
    """Return the images of a folder with their masks. Raises ConfigError."""
    folder = existing_folder(root, option)
    for name, kind in ((images, "images"), (masks, "masks")):
        if not (folder / name).is_dir():
            there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())) or "none"
            problem = f"'{folder}' has no folder '{name}' of {kind}"
            raise ConfigError(f"{option}: {problem}; name one of its folders by dataset.{kind}: {there}")
    paths = sorted(image_tree(folder, [images]).paths)
    mask_of = {_stem(path, masks): path for path in image_tree(folder, [masks]).paths}
    without = [path for path in paths if _stem(path, images) not in mask_of]
    if not paths or without:
        what = f"{count_noun(len(without), 'image')} without a mask, e.g. '{without[0]}'" if paths else "no image"
        rule = f"a mask has the name of its image: {images}/a.jpg, {masks}/a.png"
        raise ConfigError(f"{option}: '{folder}' holds {what}; {rule}")
    files = ImageFiles(folder, paths, [0] * len(paths), ["image"])
    places = ImageFiles(folder, [mask_of[_stem(path, images)] for path in paths], [0] * len(paths), ["mask"])
    return WithMasks(files, classes, partial(_mask, places))


def _stem(path: str, folder: str) -> str:
    """Return what an image and its mask have in common: the path below their folders, without the extension."""
    return str(Path(path).relative_to(folder).with_suffix(""))


def _mask(places: ImageFiles, index: int) -> Tensor:
    """Return the mask of an image, (H, W) uint8. Raises BadImage."""
    path = places.location(index)
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "1", "I;16", "I"):
                raise BadImage(path, f"a mask has one channel, this one is {image.mode}")
            values = np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage(path, f"the mask cannot be read: {error}") from error
    if values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise BadImage(path, f"its mask holds the value {values.max(initial=0)}; 255 is the largest")
    mask: Tensor = tv_tensors.Mask(torch.from_numpy(values.astype(np.uint8)))
    return mask
