"""A state as tensors and plain JSON, never as pickled objects: nothing in a checkpoint can execute."""

from typing import Any

from torch import Tensor


def split_tensors(tree: Any, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Return a state as (JSON value, tensors by path); `join_tensors` is the way back.

    Takes dicts (keys of any plain type), lists, tuples, tensors, numbers, text and None; anything else is a TypeError.
    """
    if isinstance(tree, Tensor):
        return {"$tensor": path}, {path: tree}
    if isinstance(tree, dict):
        parts = [(key, *split_tensors(value, f"{path}/{key}" if path else str(key))) for key, value in tree.items()]
        tensors = {name: tensor for _, _, found in parts for name, tensor in found.items()}
        if all(isinstance(key, str) and not key.startswith("$") for key in tree):
            return {key: value for key, value, _ in parts}, tensors
        return {"$items": [[key, value] for key, value, _ in parts]}, tensors
    if isinstance(tree, list | tuple):
        parts = [(number, *split_tensors(value, f"{path}/{number}")) for number, value in enumerate(tree)]
        values = [value for _, value, _ in parts]
        tensors = {name: tensor for _, _, found in parts for name, tensor in found.items()}
        return (values if isinstance(tree, list) else {"$tuple": values}), tensors
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree, {}
    raise TypeError(f"a checkpoint holds tensors and plain values only, not {type(tree).__name__} (at {path})")


def join_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the state that `split_tensors` took apart."""
    if isinstance(value, list):
        return [join_tensors(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$tuple" in value:
        return tuple(join_tensors(item, tensors) for item in value["$tuple"])
    if "$items" in value:
        return {key: join_tensors(item, tensors) for key, item in value["$items"]}
    return {key: join_tensors(item, tensors) for key, item in value.items()}
