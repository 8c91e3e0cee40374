"""A state as tensors and plain JSON, never as pickled objects: nothing in a checkpoint can execute."""

from typing import Any

from torch import Tensor


def split_tensors(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return a state as (JSON value, tensors by path); `join_tensors` is the inverse.

    Takes dicts (keys of any plain type), lists, tuples, tensors, numbers, text and None; anything else is a TypeError.
    """
    tensors: dict[str, Tensor] = {}
    return _plain(tree, "", tensors), tensors


def _plain(tree: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return the JSON value of a branch, and put its tensors into `tensors`."""
    if isinstance(tree, Tensor):
        while path in tensors:  # {"a": {"b": …}, "a/b": …} names two tensors alike
            path += "'"
        tensors[path] = tree
        return {"$tensor": path}
    if isinstance(tree, dict):
        return _plain_dict(tree, path, tensors)
    if isinstance(tree, list | tuple):
        values = [_plain(value, _below(path, number), tensors) for number, value in enumerate(tree)]
        return values if isinstance(tree, list) else {"$tuple": values}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a checkpoint holds tensors and plain values only, not {type(tree).__name__} (at {path})")


def _plain_dict(tree: dict[Any, Any], path: str, tensors: dict[str, Tensor]) -> Any:
    """Return the JSON value of a dict, as pairs where JSON would turn its keys into text."""
    values = [_plain(value, _below(path, key), tensors) for key, value in tree.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key in tree):
        return dict(zip(tree, values, strict=True))
    for key in tree:
        if key is not None and not isinstance(key, bool | int | float | str):
            raise TypeError(f"a checkpoint's keys are plain values, not {type(key).__name__} (at {path})")
    return {"$items": [[key, value] for key, value in zip(tree, values, strict=True)]}


def _below(path: str, key: object) -> str:
    return f"{path}/{key}" if path else str(key)


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
