"""Model parallelism: the layers of one model on several devices, for models too large for one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from expkit.config.registry import devices
from expkit.core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Split:
    """devices: of the model's parts; images and losses are on the first. table: submodule -> device."""

    devices: tuple[torch.device, ...]
    table: Mapping[str, str]


@devices.register("split")
def split(devices: list[str], table: dict[str, str] | None = None) -> Split:
    """One model over several devices, e.g. [cuda:0, cuda:1].

    table: {submodule: device}, e.g. {features: cuda:0, classifier: cuda:1}; null balances the layers, in order, by the
    size of their weights. The devices compute one after the other.
    """
    found = tuple(_device(name, "device.devices") for name in devices)
    if not found:
        raise ConfigError("device.devices: expected a list of devices, e.g. [cuda:0, cuda:1]")
    for name in (table or {}).values():
        _device(name, "device.table")
    return Split(found, table or {})


def _device(name: str, option: str) -> torch.device:
    """Return a device by name. Raises ConfigError if it does not exist."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"{option}: '{name}' is not a device; use e.g. cuda:0 or cpu") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"{option}: there is no {name}: this machine has {count} CUDA devices")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def place_layers(model: nn.Module, asked: Split) -> dict[str, torch.device]:
    """Move the model's parts to their devices in place, with hooks that move their inputs; return the table."""
    table = {name: torch.device(device) for name, device in asked.table.items()} or balanced_table(model, asked.devices)
    known = dict(model.named_modules())
    for name, device in table.items():
        if name not in known or not name:
            hint = nearest(name, known) or f"; there is {', '.join(list(known)[1:4])}, …"
            raise ConfigError(f"device.table: the model has no part '{name}'{hint}")
        known[name].to(device)
        known[name].register_forward_pre_hook(partial(_move_inputs, device), with_kwargs=True)
    home = asked.devices[0]
    model.register_forward_hook(lambda module, given, outputs: _moved(outputs, home))
    return table


def _move_inputs(device: torch.device, module: nn.Module, given: Any, named: Any) -> tuple[Any, Any]:
    return _moved(given, device), _moved(named, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return {name: _moved(item, device) for name, item in value.items()} if isinstance(value, dict) else value


def balanced_table(model: nn.Module, found: tuple[torch.device, ...]) -> dict[str, torch.device]:
    """Return the device of each part, in layer order, with about the same bytes of weights on each device."""
    parts = list(_parts(model, ""))
    sizes = [sum(weight.numel() * weight.element_size() for weight in part.parameters()) for _, part in parts]
    total, before, table = max(sum(sizes), 1), 0, {}
    for (name, _), size in zip(parts, sizes, strict=True):
        # By its midpoint: a part belongs to the device that would hold more than half of it.
        place = int((before + size / 2) / total * len(found))
        table[name] = found[min(place, len(found) - 1)]
        before += size
    return table


def _parts(model: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield parts that can be placed separately: children, and the children of each Sequential."""
    for name, child in model.named_children():
        below = f"{path}.{name}" if path else name
        if isinstance(child, nn.Sequential) and len(child):
            yield from _parts(child, below)
        else:
            yield below, child
