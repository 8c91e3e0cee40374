"""Measuring: what is read of this machine, and what a config asks of one."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from expkit.config.hydra_loader import Config
from expkit.data.datasets import load
from expkit.devices.device import available_cores
from expkit.doctor import measure
from expkit.doctor.measure import checkpoint_bytes, measure_machine, measure_needs, usable_cores


def test_this_machine_is_measured(tmp_path: Path) -> None:
    machine = measure_machine(str(tmp_path / "not/yet/there"), [torch.device("cpu")] * 2)
    assert 1 <= machine.cores <= available_cores()
    assert machine.open_files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert machine.disk_free > 0
    assert machine.gpus == ()
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", 8), ("150000 100000", 2), ("20000 100000", 1), ("9900000 100000", 8)]
)
def test_a_container_s_share_limits_the_cores(
    text: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "available_cores", lambda: 8)
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert usable_cores(tmp_path / "cpu.max") == cores
    assert usable_cores(tmp_path / "none") == 8


def test_needs_follow_the_config(small_config: Callable[..., Config]) -> None:
    config = small_config("dataset.num_workers=3", "batch_size=8", "eval_batch_size=20", "output_dir=there")
    needs = measure_needs(config, load(config["dataset"]).train, 32, 16)
    assert (needs.workers, needs.batch_size, needs.batch_bytes) == (3, 8, 20 * 3 * 32 * 16)
    assert (needs.output_dir, needs.reads_files) == ("there", True)
    assert needs.checkpoint_bytes == checkpoint_bytes(config["model"], 5) > 0
    without = small_config("checkpoint=none")
    assert measure_needs(without, load(without["dataset"]).train, 32, 16).checkpoint_bytes == 0


def test_automatic_workers_are_the_cores_for_files_and_none_for_memory(small_config: Callable[..., Config]) -> None:
    config = small_config("dataset.num_workers=auto")
    data = load(config["dataset"]).train
    assert measure_needs(config, data, 8, 8).workers == available_cores()
    data.in_memory = True
    assert measure_needs(config, data, 8, 8).workers == 0


def test_a_checkpoint_is_three_times_the_weights_and_nothing_is_downloaded() -> None:
    node = {"name": "squeezenet1_1", "weights": "DEFAULT"}
    before = torch.random.get_rng_state()
    assert checkpoint_bytes(node, 1000) == 3 * 4 * 1_235_496
    assert torch.equal(before, torch.random.get_rng_state())
