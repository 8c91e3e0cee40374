"""The plain numbers of a run: how long, how large, how often."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from expkit.config.signature import FROM_NOW_ON, OUTPUT, Affects, Misfit, fit, options_of
from expkit.config.torch_names import meant

OnNan = Literal["stop", "skip", "roll_back"]
_EPOCH_END = Affects("result", "epoch_end")  # a position within an epoch counts batches


@dataclass(frozen=True)
class RunOptions:
    """The scalars at the top of the config.

    name: begins the run folder's name, null for data set and model. seed: what every random draw is keyed by. epochs,
    max_steps: the run ends at whichever comes first (max_steps null: epochs alone; a step is one update of the
    weights). batch_size: images a step sees before accumulation; eval_batch_size: null for the same.
    accumulate_steps: batches per update. clip_grad_norm: largest gradient norm, null for no clipping. log_every: steps
    between points. early_stopping_patience: epochs without a better score (that of checkpoint.monitor) after which the
    run ends, null for never; early_stopping_min_delta: what counts as better, in the score's units. ema_decay: keeps an
    exponential moving average of the weights, which is then what is evaluated, null for none; ema_every: steps between
    its updates; ema_rule: how its decay is adapted, "bounded" at the start, or as "torchvision" does. swa_from: share
    of the run after which the weights at each epoch's end are averaged equally (stochastic weight averaging), null for
    none. on_nan: what a loss or gradient that is not finite does: stop the run, skip the step (reads the loss at
    each step), or roll_back to the last checkpoint and pass over the batch. limit_train_batches, limit_eval_batches:
    null for all (evaluation, and training in a fixed order, then use a subset spread over the classes by key).
    output_dir: where run folders are made.
    """

    name: Annotated[str | None, OUTPUT] = None
    seed: int = 0
    epochs: Annotated[int, FROM_NOW_ON] = 1
    max_steps: Annotated[int | None, FROM_NOW_ON] = None
    batch_size: Annotated[int, _EPOCH_END] = 32
    eval_batch_size: int | None = None
    accumulate_steps: Annotated[int, _EPOCH_END] = 1
    clip_grad_norm: float | None = None
    early_stopping_patience: int | None = None
    early_stopping_min_delta: float = 0.0
    ema_decay: float | None = None
    ema_every: int = 1
    ema_rule: Literal["bounded", "torchvision"] = "bounded"
    swa_from: float | None = None
    on_nan: OnNan = "stop"
    log_every: Annotated[int, OUTPUT] = 50
    limit_train_batches: Annotated[int | None, _EPOCH_END] = None
    limit_eval_batches: int | None = None
    output_dir: Annotated[str, OUTPUT] = "outputs"

    @classmethod
    def faults(cls, given: Mapping[str, Any]) -> list[str]:
        """Return the faults of the scalars of a config, one sentence each."""
        options = options_of(cls)
        found = []
        for key, value in given.items():
            if key not in options:
                found.append(f"{key}: the config has no such key{meant(key, options, value)}")
                continue
            try:
                found += _range_fault(key, fit(options[key].annotation, value))
            except Misfit as misfit:
                advice = " (it decides the result; device.micro_batch=8 computes it in pieces, which take less memory)"
                is_auto = key == "batch_size" and value == "auto"
                found.append(f"{key}: {misfit}{advice * is_auto}, got {value!r}")
        return found

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "RunOptions":
        """Return the options of checked scalars."""
        options = options_of(cls)
        return cls(**{key: fit(options[key].annotation, value) for key, value in given.items()})


# What a value of the right type has to be, for options that take more or less than integers from 1 up.
_RANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "name": (lambda text: re.fullmatch(r"\.*[\w,-][\w.,-]*", text), "letters, digits, '-', '_', ',' and '.'"),
    "clip_grad_norm": (lambda value: value > 0, "a number above 0 or null"),
    "seed": (lambda value: value >= 0, "an integer from 0 up"),
    "early_stopping_min_delta": (lambda value: value >= 0, "a number from 0 up"),
    "ema_decay": (lambda value: 0 < value < 1, "a number between 0 and 1 or null, e.g. 0.999"),
    "swa_from": (lambda value: 0 <= value < 1, "a share of the run from 0 up to, not including, 1"),
}
_COUNT = (lambda value: not isinstance(value, int) or value >= 1), "an integer from 1 up"


def _range_fault(key: str, value: Any) -> list[str]:
    fits, expected = _RANGES.get(key, _COUNT)
    return [] if value is None or fits(value) else [f"{key}: expected {expected}, got {value!r}"]
