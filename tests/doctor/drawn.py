"""Images that the doctor's tests draw: photographs' stand-ins, so different that no two are near duplicates."""

from pathlib import Path

import numpy as np
from PIL import Image

from expkit.doctor.scan import Reading, measure


def picture(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Return coarse coloured patches, smoothed: another picture for each seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)


def write(root: Path, *names: str, first_seed: int = 0) -> Path:
    """Write a picture of its own under each name."""
    for seed, name in enumerate(names, start=first_seed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(root / name)
    return root


def reading(image: Image.Image) -> Reading:
    """Return what the doctor keeps of a picture."""
    import torch

    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    return measure(pixels, Path("nowhere"))
