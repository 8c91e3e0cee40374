"""Which jobs of a sweep are measured alike: by one score, on the same images, so that one ranking can hold them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from expkit.data.dataset import ImageDataset, Splits

Config = Mapping[str, Any]
_NO_IMAGES = "none"


def scale_of(config: Config, images: str, monitor: str) -> str:
    """Return a text that is equal for jobs whose scores may be compared. images: from `images_of`.

    Losses are compared only where their configs are equal: label smoothing or other weights change the unit.
    """
    parts: dict[str, Any] = {"score": monitor, "images": images}
    if limit := config.get("limit_eval_batches"):
        parts["at_most"] = limit * (config.get("eval_batch_size") or config["batch_size"])
    if monitor == "loss":
        parts["loss"] = config["loss"]
    return json.dumps(parts, sort_keys=True)


def images_of(splits: Splits, dataset: Config) -> str:
    """Return a text that identifies the validation images, equal for all folds, or held out shares, of one set."""
    assert splits.val is not None
    if not len(splits.val):
        return _NO_IMAGES
    if not splits.held_out:
        whole, how = _sum_of_names(splits.val), ""
    else:
        fold = dataset.get("fold")
        how = f"{dataset.get('folds', 5)} folds" if fold is not None else f"{dataset.get('val_fraction', 0.2)} held out"
        whole = _sum_of_names(splits.train) + _sum_of_names(splits.val)
    classes = hashlib.blake2b(json.dumps(list(splits.val.class_names)).encode(), digest_size=8).hexdigest()
    return f"{dataset['name']} {classes} {whole % 2**64:016x} {how}".strip()


def is_measured(scale: str) -> bool:
    """Return True if jobs of this scale are evaluated: without validation images no score says which is best."""
    return not scale or json.loads(scale).get("images") != _NO_IMAGES


def _sum_of_names(data: ImageDataset) -> int:
    """Return a number that depends on which samples there are, and not on their order."""
    digests = (hashlib.blake2b(data.sample_name(index).encode("utf-8", "replace"), digest_size=8).digest()
               for index in range(len(data)))  # fmt: skip
    return sum(int.from_bytes(digest, "little") for digest in digests)
