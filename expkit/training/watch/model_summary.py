"""The model itself: what its layers put out, hold and compute, and how they hang together."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from expkit.config.registry import watchers
from expkit.loggers.figures import Graph, Table
from expkit.training.watch.base import Shown, Watcher

Node = tuple[str, str, list[str], list[int]]


class Summary(Watcher):
    """Each layer's output shape, parameters and operations for one image, as a table."""

    moment = "start"
    needs_weights = True

    def start(self) -> Shown:
        from torch.utils.flop_counter import FlopCounterMode

        model, shapes = self.scene.model, dict[str, list[int]]()
        counter = FlopCounterMode(display=False)
        with _shapes(model, shapes), counter:
            run_once(model, *self.scene.input_size)
        by_module: dict[str, Any] = counter.get_flop_counts()
        root = type(model).__name__
        rows: list[list[Any]] = []
        for name, layer in model.named_modules():
            if name in shapes and not list(layer.children()):
                operations = sum(by_module.get(f"{root}.{name}", {}).values())
                held = sum(parameter.numel() for parameter in layer.parameters())
                rows.append([name, type(layer).__name__, " × ".join(map(str, shapes[name])), held, operations])
        parameters = sum(parameter.numel() for parameter in model.parameters())
        size = " × ".join(map(str, (3, *self.scene.input_size)))
        rows.append(["all", root, f"from {size}", parameters, counter.get_total_flops()])
        columns = ["layer", "kind", "output", "parameters", "operations (FLOPs)"]
        return [Table("model/summary", 0, 0, columns, rows)]


class ModelGraph(Watcher):
    """The model's graph: traced by torch.fx, or, where its code cannot be traced, its layers in their order."""

    moment = "start"
    needs_weights = True

    def start(self) -> Shown:
        model, size = self.scene.model, self.scene.input_size
        try:
            nodes = _traced(model, size)
        except Exception:  # code that branches on its input; tracing may raise anything
            nodes = _in_order(model, size)
        return [Graph("model/graph", 0, 0, nodes)]


def _traced(model: nn.Module, size: tuple[int, int]) -> list[Node]:
    from torch import fx
    from torch.fx.passes.shape_prop import ShapeProp

    traced = fx.symbolic_trace(model.eval())
    parameter = next(model.parameters())
    ShapeProp(traced).propagate(torch.zeros(1, 3, *size, device=parameter.device, dtype=parameter.dtype))
    nodes = []
    for node in traced.graph.nodes:
        found = node.meta.get("tensor_meta")
        shape = list(getattr(found, "shape", []))[1:]
        kind = type(model.get_submodule(node.target)).__name__ if node.op == "call_module" else str(node.op)
        if node.op in ("call_function", "call_method"):
            kind = getattr(node.target, "__name__", str(node.target))
        name = node.target.replace(".", "/") if node.op == "call_module" else node.name
        nodes.append((name, kind, [_name(one) for one in node.all_input_nodes], shape))
    return nodes


def _name(node: Any) -> str:
    return str(node.target.replace(".", "/") if node.op == "call_module" else node.name)


def _in_order(model: nn.Module, size: tuple[int, int]) -> list[Node]:
    shapes: dict[str, list[int]] = {}
    with _shapes(model, shapes):
        run_once(model, *size)
    nodes, before = list[Node](), list[str]()
    for name, shape in shapes.items():
        layer = model.get_submodule(name)
        if not list(layer.children()):
            place = name.replace(".", "/")
            nodes.append((place, type(layer).__name__, before, shape))
            before = [place]
    return nodes


@contextmanager
def _shapes(model: nn.Module, shapes: dict[str, list[int]]) -> Iterator[None]:
    """Fill in the output shape of each layer, without the batch, in the order in which they run."""

    def hook(name: str) -> Any:
        def note(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[name] = list(output.shape[1:])

        return note

    handles = [layer.register_forward_hook(hook(name)) for name, layer in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_once(model: nn.Module, height: int, width: int) -> None:
    """Run the model, in evaluation mode, on one black image."""
    model.eval()
    parameter = next(model.parameters())
    model(torch.zeros(1, 3, height, width, device=parameter.device, dtype=parameter.dtype))


@watchers.register("summary")
def summary() -> Summary:
    """Layers with output shapes, parameters and operations."""
    return Summary()


@watchers.register("graph")
def graph() -> ModelGraph:
    """The model's graph."""
    return ModelGraph()
