"""What differs between two configs, and what each option affects, as its declaration says."""

from typing import Any

import pytest

from expkit.config.diff import affects, differences, flatten
from expkit.config.registry import datasets

FREE = [
    "name", "output_dir", "epochs", "max_steps", "log_every", "logger.tensorboard.hparams",
    "watch.images.every", "experiment", "checkpoint.every", "checkpoint.init_from", "dataset.num_workers",
    "dataset.prefetch", "dataset.start_method", "dataset.timeout", "dataset.cache", "dataset.cache_dir",
    "dataset.decoder", "dataset.root", "dataset.val_root", "dataset.max_bad", "dataset.deep_range",
    "loss.teacher", "device.keep_memory", "device.compile", "device.name", "device.count", "device.timeout",
    "device.max_restarts", "device.strategy", "device.unused_parameters",
]  # fmt: skip
FORCED = [
    "seed", "batch_size", "accumulate_steps", "ema_decay", "dataset.name", "dataset.val_fraction",
    "dataset.annotations", "dataset.exclude", "transforms.train", "model.width", "optimizer.lr",
    "schedule.warmup_epochs", "loss.name", "loss.temperature", "checkpoint.monitor", "device.precision",
    "device.channels_last", "device.threads", "device.deterministic", "device.micro_batch",
    "device.sync_batchnorm",
]  # fmt: skip
CONFIG = {
    "dataset": {"name": "image_folder"}, "model": {"name": "small"}, "loss": {"name": "distill"},
    "optimizer": {"name": "sgd"}, "schedule": {"name": "cosine"}, "device": {"name": "multi_cpu"},
    "checkpoint": {"name": "last_and_best"},
}  # fmt: skip


def changed(key: str, value: object) -> dict[str, Any]:
    """Return the config with one key set."""
    group, _, option = key.partition(".")
    for name in reversed(option.split(".") if option else []):
        value = {name: value}
    return {**CONFIG, group: {**CONFIG.get(group, {}), **value} if isinstance(value, dict) else value}


@pytest.mark.parametrize(("kind", "keys"), [("free", FREE), ("forced", FORCED)])
def test_what_may_change_when_a_run_is_resumed(kind: str, keys: list[str]) -> None:
    found = {key: differences(changed(key, "one"), changed(key, "other")) for key in keys}
    assert {key: [one.kind for one in some] for key, some in found.items()} == {key: [kind] for key in keys}


@pytest.mark.parametrize("key", ["model.name", "optimizer.name"])
def test_the_state_is_that_of_one_thing(key: str) -> None:
    assert [one.kind for one in differences(changed(key, "one"), changed(key, "other"))] == ["never"]


@pytest.mark.parametrize("key", ["batch_size", "accumulate_steps", "limit_train_batches", "dataset.drop_last"])
def test_a_position_within_an_epoch_counts_batches(key: str) -> None:
    one, other = changed(key, 1), changed(key, 2)
    assert [[change.kind for change in differences(one, other, within)] for within in (False, True)] == [
        ["forced"], ["never"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "default"),
    [("device.sync_batchnorm", True), ("device.deterministic", False), ("device.micro_batch", None),
     ("dataset.deep_range", "auto"), ("epochs", 1)],
)  # fmt: skip
def test_a_config_that_does_not_list_an_option_computes_like_its_default(key: str, default: object) -> None:
    assert differences(CONFIG, changed(key, default)) == []
    assert [change.key for change in differences(CONFIG, changed(key, "other"))] == [key]


def test_the_number_of_ranks_is_told_where_the_other_device_has_none() -> None:
    ranks = {**CONFIG, "device": {"name": "multi_cpu", "count": 2, "timeout": 5.0, "sync_batchnorm": True}}
    found = differences(ranks, {**CONFIG, "device": {"name": "cpu"}})
    assert [str(one) for one in found] == ["device.count: 2 -> None", "device.name: 'multi_cpu' -> 'cpu'"]


def test_options_of_a_plugin_that_is_not_loaded() -> None:
    assert "mine" not in datasets.names()
    config = {"dataset": {"name": "mine"}}
    assert [affects(f"dataset.{key}", config).what for key in ("root", "num_workers", "own")] == [
        "place", "speed", "result",
    ]  # fmt: skip


def test_a_config_is_flattened() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [{"e": 2}]}, "f": {}}) == {"a.b.c": 1, "a.d": [{"e": 2}], "f": {}}


@pytest.mark.parametrize("value", [1, None, "name", [], [{}]], ids=str)
@pytest.mark.parametrize("group", [*CONFIG])
def test_a_checkpoint_s_group_that_is_no_mapping_differs(group: str, value: object) -> None:
    assert any(one.key.partition(".")[0] == group for one in differences({**CONFIG, group: value}, CONFIG))
