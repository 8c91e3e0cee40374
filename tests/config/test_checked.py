"""A checked config is checked once, is never changed, and its copies are plain again."""

import copy
import json
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from expkit.config.checked import Checked, CheckedNode
from expkit.config.compose import compose_one, plain
from expkit.config.registry import Registry, checkpoints, devices
from expkit.core.errors import ConfigError
from expkit.devices import Layout
from expkit.runs.build import build
from expkit.runs.check import check
from expkit.runs.resume import Origin


def config(*overrides: str) -> dict[str, Any]:
    return plain(compose_one([*overrides]))


CHANGES = {
    "set": lambda node: node.__setitem__("seed", 1), "delete": lambda node: node.__delitem__("seed"),
    "update": lambda node: node.update(seed=1), "pop": lambda node: node.pop("seed"),
    "or": lambda node: node.__ior__({"seed": 1}), "default": lambda node: node.setdefault("more", 1),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_checked_config_does_not_change(change: Any) -> None:
    checked = check(config())
    with pytest.raises(TypeError, match="change a copy"):
        change(checked)
    assert checked == config()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_plain(copied: Any) -> None:
    checked = check(config("watch=everything", "transforms=augment"))
    found, kinds = copied(checked), set()

    def walk(node: Any) -> None:
        kinds.add(type(node))
        for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(one)

    walk(found)
    assert found == checked
    assert not {kind for kind in kinds if issubclass(kind, Checked)}
    assert json.dumps(found) == json.dumps(checked)


def test_a_changed_node_alone_is_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, asked = check(config()), list[str]()
    inner = Registry.check
    monkeypatch.setattr(Registry, "check", lambda self, *given: asked.append(self.group) or inner(self, *given))
    with pytest.raises(ConfigError, match="every: "):
        check(checked | {"checkpoint": checked["checkpoint"] | {"every": "often"}})
    assert check(checked) is checked
    assert asked == ["checkpoint"]


def test_a_run_checks_each_node_once(
    monkeypatch: pytest.MonkeyPatch, small_config: Callable[..., dict[str, Any]]
) -> None:
    asked: Counter[str] = Counter()
    inner = Registry.check

    def counted(self: Registry, node: object, path: str = "") -> CheckedNode:
        asked[path or self.group] += 1
        return inner(self, node, path)

    monkeypatch.setattr(Registry, "check", counted)
    build(check(small_config()), Origin())
    assert {*asked.values()} == {1}


def test_what_is_built_once_is_the_same_object() -> None:
    checked = check(config("device=multi_cpu", "device.count=2"))
    assert isinstance(devices.build(checked["device"]), Layout)
    assert devices.build(checked["device"]) is devices.build(checked["device"])
    assert checkpoints.build(checked["checkpoint"]) is checkpoints.build(checked["checkpoint"])
    assert devices.build(dict(checked["device"])) is not devices.build(checked["device"])
