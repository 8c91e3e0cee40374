"""The layers of a model in their order, from its input to its head, as fine-tuning recipes count them."""

from collections.abc import Iterator

from torch import nn

_CONTAINERS = (nn.Sequential, nn.ModuleList)
_REPEATED = 3  # equal blocks in a row from which on their parent is a trunk, and each of them a layer


def layers_of(model: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each layer, from the input (first) to the head (last).

    A layer is a block (residual, transformer, ...), or a convolution or linear layer outside of one. What only has
    vectors, such as a normalisation, belongs to the layer before it; parameters beside the blocks, such as position
    embeddings, to the first, as in BEiT (Bao et al. 2021).
    """
    blocks = list(_blocks(model, ""))
    layers: list[list[str]] = []
    for prefix, block in blocks:
        found = [(f"{prefix}{name}", parameter) for name, parameter in block.named_parameters()]
        if layers and all(parameter.ndim <= 1 for _, parameter in found):
            layers[-1] += [name for name, _ in found]
        else:
            layers.append([name for name, _ in found])
    named = {name for layer in layers for name in layer}
    beside = [name for name, _ in model.named_parameters() if name not in named]
    return [[*beside, *layers[0]], *layers[1:]] if layers else [beside]


def _blocks(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the blocks with parameters below a module, in the order in which they were added to it."""
    for name, child in module.named_children():
        if _is_trunk(child):
            yield from _blocks(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{prefix}{name}.", child


def _is_trunk(module: nn.Module) -> bool:
    """Return True if a module merely holds blocks: a plain container, or what has a row of equal ones in it."""
    return type(module) in _CONTAINERS or any(_is_row(child) for child in module.children())


def _is_row(module: nn.Module) -> bool:
    blocks = list(module.children())
    kinds = {type(block) for block in blocks}
    same = type(module) in _CONTAINERS and len(blocks) >= _REPEATED and len(kinds) == 1
    return same and not isinstance(blocks[0], nn.Sequential) and any(True for _ in blocks[0].children())
