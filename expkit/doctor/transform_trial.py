"""Apply the config's transforms to some samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from expkit.core.errors import ConfigError
from expkit.core.seeding import derive_seed, seed_cpu
from expkit.data.chain_trial import try_chain
from expkit.data.dataset import ImageDataset
from expkit.data.transforms import Chain, build_chain
from expkit.doctor.finding import Finding
from expkit.doctor.scan import Scan
from expkit.models import pretrained_input
from expkit.models.input_size import check_input
from expkit.models.pretrained import build_untrained
from expkit.runs.setup import build_input

DRAWS = 5


@dataclass(frozen=True)
class Trial:
    """rows: (name, original, draws of train, eval) for each sample; image_size: of the config, in pixels."""

    rows: Sequence[tuple[str, Tensor, Sequence[Tensor], Tensor]]
    image_size: int
    note: str

    @property
    def size(self) -> tuple[int, int]:
        """Return (height, width) that the train transforms give."""
        height, width = self.rows[0][2][0].shape[-2:]
        return height, width


def try_transforms(config: Mapping[str, Any], data: ImageDataset, indices: Sequence[int]) -> Trial:
    """Apply the transforms to some samples, the train transforms several times. Raises ConfigError."""
    node = config["transforms"]
    sizes, _, note = build_input(node, pretrained_input(config["model"]), data)
    train, evaluation = (build_chain(node[split], *sizes) for split in ("train", "eval"))
    rows = []
    for index in indices:
        original = data.image(index)
        draws = [_draw(train, original, "train", config["seed"], index, draw) for draw in range(DRAWS)]
        evaluated = _draw(evaluation, original, "eval", config["seed"], index, 0)
        rows.append((data.sample_name(index), original, draws, evaluated))
    return Trial(rows, sizes[0], note)


def build_eventual_chain(config: Mapping[str, Any], found: Scan, split: str) -> Chain | None:
    """Return the transforms of a split as a run would build them, None if they cannot be built."""
    data = found.readable("train")
    try:
        sizes, _, _ = build_input(config["transforms"], pretrained_input(config["model"]), data)
        return build_chain(config["transforms"][split], *sizes)
    except (ConfigError, IndexError):  # no image can be read, or try_transforms reports it
        return None


def fits_model(config: Mapping[str, Any], num_classes: int, size: int) -> bool:
    """Return True if a config's model accepts square images of a size in pixels."""
    try:
        model, name = build_untrained(config["model"], num_classes), config["model"]["name"]
        check_input(model, name, size, size, (num_classes,))
    except ConfigError:
        return False
    return True


def _draw(chain: Chain, image: Tensor, split: str, seed: int, index: int, draw: int) -> Tensor:
    seed_cpu(derive_seed(seed, "doctor", split, index, draw))
    try_chain(chain, image, f"transforms.{split}")
    return chain(image)


def judge_trial(trial: Trial) -> list[Finding]:
    """Return a problem for each split whose transformed images cannot be stacked to a batch."""
    found = []
    for split, images in (
        ("train", [one for _, _, draws, _ in trial.rows for one in draws]),
        ("eval", [evaluated for *_, evaluated in trial.rows]),
    ):
        shapes = sorted({f"{image.shape[-1]}×{image.shape[-2]}" for image in images})
        if len(shapes) > 1:
            says = f"transforms.{split} gives images of different sizes ({', '.join(shapes[:3])}), which make no batch"
            found.append(Finding("problem", "transforms", says, "transforms=imagenet, or end the list with a crop"))
    return found
