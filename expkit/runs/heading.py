"""The heading of a run, printed before the first step: data, model, device and length."""

from expkit.core.formatting import count_noun, named_outputs, subset_of
from expkit.runs.setup import Setup
from expkit.training.trainer import Trainer


def heading(setup: Setup, trainer: Trainer) -> dict[str, str]:
    """Return the lines of the heading by title."""
    config, data, val, ranks = setup.config, setup.splits.train, setup.splits.val, setup.ranks
    assert val is not None
    parameters = list(trainer.state.model.parameters())
    count, trained = (sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad]))
    frozen = f", {trained:,} of them trained" if trained < count else ""
    strategy = ", each with a shard of the weights (fsdp)" * trainer.state.is_sharded
    validated = subset_of(config, len(val)).removesuffix(" images") or (f"{len(val):,}" if len(val) else "none")
    micro_batches = trainer.step.micro_batches
    return {
        "data": f"{count_noun(len(data), 'image')} to train, {validated} to validate,"
        f" {named_outputs(data.class_names, data.task)}",
        "model": f"{config['model']['name']}, {count_noun(count, 'parameter')}{frozen}",
        "device": setup.device.describe()
        + (micro_batches.describe() if micro_batches else "")
        + (f", {count_noun(ranks.size, 'rank')}{strategy}" if ranks else ""),
        "length": f"{count_noun(trainer.length.last_step, 'step')}, {trainer.length.steps_per_epoch:,} an epoch",
    }
