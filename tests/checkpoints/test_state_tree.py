"""A state as tensors and plain JSON, and back."""

import json
from pathlib import Path

import pytest
import torch

from expkit.checkpoints.state_tree import join_tensors, split_tensors
from tests.checkpoints.states import same, state_of


@pytest.mark.parametrize(
    "state",
    [
        state_of(1),
        {},
        {"a": {"b": torch.zeros(1)}, "a/b": torch.ones(1)},
        {0: torch.zeros(1), "0": torch.ones(1), True: 2, None: 3, 1.5: 4},
        {"$tensor": "x", "$items": [], "": ("a", [()])},
    ],
    ids=["training", "empty", "names that collide", "keys of many kinds", "keys that look like ours"],
)
def test_a_state_comes_back_through_json(state: object) -> None:
    plain, tensors = split_tensors(state)
    assert same(join_tensors(json.loads(json.dumps(plain)), tensors), state)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"where": Path("x")}, r"not PosixPath \(at where\)"),
        ({"a": [1, {2}]}, r"not set \(at a/1\)"),
        ({"a": {(1, 2): 3}}, r"keys are plain values, not tuple \(at a\)"),
    ],
)
def test_objects_are_refused(state: object, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        split_tensors(state)
