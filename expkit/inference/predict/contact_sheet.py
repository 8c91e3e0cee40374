"""A contact sheet: evenly chosen images with what is predicted of them."""

from pathlib import Path

import numpy as np
from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.core.plots.image_grid import Tile, draw_grid

MOST_COLUMNS = 8


class ContactSheet:
    """Collects up to `most` of `total` transformed images and draws them."""

    def __init__(self, path: Path, total: int, most: int) -> None:
        self.path, self.total = path, total
        self._chosen = set(np.linspace(0, total - 1, min(most, total)).round().astype(int).tolist())
        self._tiles: list[Tile] = []

    def add(self, index: int, image: Tensor, caption: str, path: str) -> None:
        """Add an image (3, h, w) uint8 if it is among the chosen ones."""
        if index in self._chosen:
            self._tiles.append(Tile(image.clone(), caption, Path(path).name))

    def save(self, title: str) -> None:
        """Draw the sheet. Raises ConfigError if it cannot be written."""
        if len(self._tiles) < self.total:
            title = f"{len(self._tiles):,} of {title}"
        columns = min(MOST_COLUMNS, max(len(self._tiles), 1))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draw_grid(self._tiles, columns, title).save(self.path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--sheet: cannot write '{self.path}': {error}; give a .png or .jpg file") from error
