"""The heading of a run: what it trains on what, said before the first step."""

from collections.abc import Mapping
from typing import Any

from expkit.core.formatting import count_noun, subset_of
from expkit.data.dataset import Splits
from expkit.training.step import Parts
from expkit.training.trainer import Trainer


def heading(config: Mapping[str, Any], splits: Splits, parts: Parts, runner: Trainer) -> dict[str, str]:
    """Return the heading of a run, as heading -> text."""
    data, val = splits.train, splits.val
    assert val is not None
    parameters = list(parts.model.parameters())
    count, trained = (sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad]))
    classes = ", ".join(data.class_names[:6]) + (", …" if len(data.class_names) > 6 else "")
    frozen = f", {trained:,} of them trained" if trained < count else ""
    strategy = ", each with a share of the weights (fsdp)" * parts.is_shared_out
    validated = subset_of(config, len(val)).removesuffix(" images") or (f"{len(val):,}" if len(val) else "none")
    return {
        "data": f"{count_noun(len(data), 'image')} to train, {validated} to validate,"
        f" {count_noun(len(data.class_names), 'class')} ({classes})",
        "model": f"{config['model']['name']}, {count_noun(count, 'parameter')}{frozen}",
        "device": parts.device.describe()
        + parts.pieces.describe()
        + (f", {count_noun(parts.ranks.size, 'rank')}{strategy}" if parts.ranks else ""),
        "length": f"{count_noun(runner.last_step, 'step')}, {runner.steps_per_epoch:,} an epoch",
    }
