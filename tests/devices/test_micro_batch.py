"""Batches in pieces: the result of the whole batch, whenever memory ran out; what would depend on it is refused."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import expkit
from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.devices import DeviceOptions
from expkit.runs.build import build
from expkit.runs.check import check
from expkit.training.micro_batches import MicroBatches
from tests.devices.comparing import TWO, assert_same_run, last_checkpoint
from tests.devices.starting import done, only_run, points, small

long = pytest.mark.skipif(os.environ.get("EXPKIT_LONG") != "1", reason="starts many processes: EXPKIT_LONG=1 runs it")
PLUGIN = Path(__file__).with_name("hungry.py")
MORE = [
    "model=hungry", "dataset.train_images=40", "loss.class_weights=balanced", "clip_grad_norm=0.5", "ema_decay=0.9",
    "accumulate_steps=2", "transforms.batch=[{name: MixUp, alpha: 0.4},{name: CutMix}]", "watch=none", "epochs=3",
]  # fmt: skip
AUTO = "device.micro_batch=auto"


@pytest.fixture(autouse=True)
def _with_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    options = "most: 1000\nwhen: forward\nerror: python\nafter: 0\nrank: ''\n"
    (tmp_path / "conf" / "model" / "hungry.yaml").write_text(f"name: hungry\n{options}")
    monkeypatch.chdir(tmp_path)


def trained(place: Path, *more: str) -> Path:
    overrides = [*small(place.parent, *MORE), f"output_dir={place}", "device=cpu", *more]
    return expkit.train(overrides, [str(PLUGIN)]).folder


@pytest.mark.parametrize(
    "hunger",
    [
        ["model.most=5"],
        ["model.most=5", "model.when=backward", "model.error=cpu", "model.after=6"],
        ["model.most=3", "model.error=cuda", "model.after=4", "device.precision=fp16"],
    ],
    ids=" ".join,
)
def test_memory_that_runs_out_changes_nothing(hunger: list[str], tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", *[word for word in hunger if word.startswith("device.")])
    cut = trained(tmp_path / "cut", AUTO, *hunger)
    halved = int(hunger[0][-1]) // 4 * 4 or 2
    assert json.loads((cut / "result.json").read_text())["micro_batch"] == halved
    log = (cut / "log.txt").read_text()
    assert "halves batches when memory runs out" in log
    assert log.count("warning: memory ran out with ") == (2 if halved == 4 else 3)
    assert f"continues with up to {halved}, and the same batches" in log
    if "device.precision=fp16" not in hunger:
        assert_same_run(whole, cut)
    ours, theirs = (load_file(last_checkpoint(run)) for run in (whole, cut))
    for name in [name for name in ours if name.startswith("model/")]:
        assert torch.allclose(ours[name], theirs[name], atol=2e-3 if "device.precision=fp16" in hunger else 1e-6), name


def test_a_number_is_the_whole_batch_too_where_images_are_apart(tmp_path: Path) -> None:
    whole, cut = trained(tmp_path / "whole"), trained(tmp_path / "cut", "device.micro_batch=5", "model.most=5")
    assert_same_run(whole, cut)
    assert "cpu (1 thread), fp32, channels_last, up to 5 images at once" in (cut / "log.txt").read_text()


def test_a_resumed_run_knows_what_fits(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", "schedule=constant")
    begun = trained(tmp_path / "cut", "schedule=constant", AUTO, "model.most=5", "max_steps=2")
    trained(tmp_path / "cut", "schedule=constant", AUTO, "model.most=5", "max_steps=null", f"checkpoint.resume={begun}")
    assert (begun / "log.txt").read_text().count("memory ran out") == 2
    assert_same_run(whole, begun)


def test_without_pieces_memory_that_runs_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(expkit.TrainingFailed, match=r"memory ran out at step 1 .*device\.micro_batch=8"):
        trained(tmp_path / "failed", "model.most=8")
    with pytest.raises(expkit.TrainingFailed, match=r"memory ran out at step 1 .*a smaller model"):
        trained(tmp_path / "one", "model.most=0", AUTO)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["model=small_resnet"], r"batch normalisation \('"),
        (["model=squeezenet", "transforms.image_size=64"], r"random draws \('classifier.0', Dropout\)"),
        (["model=torchvision", "model.name=densenet121", "+model.drop_rate=0.5", "transforms.image_size=64"], "norm"),
    ],
)
def test_a_result_that_would_depend_on_free_memory_is_refused(
    more: list[str], told: str, small_config: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError, match=rf"device\.micro_batch: with auto the result would depend on .*{told}"):
        build(small_config(AUTO, *more))


def test_a_batch_of_any_size_is_a_number(small_config: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match=r"batch_size: expected an integer.*device\.micro_batch=8 computes it in"):
        check(small_config("batch_size=auto"))
    with pytest.raises(ConfigError, match=r"device\.micro_batch: expected an integer from 1 up, auto or null, got 0"):
        DeviceOptions(micro_batch=0)


@pytest.mark.parametrize(("count", "most", "sizes"), [(10, 4, [4, 3, 3]), (3, 5, [3]), (0, 4, [0])])
def test_micro_batches_are_alike_in_size(count: int, most: int, sizes: list[int]) -> None:
    images = torch.arange(count)
    found = MicroBatches(most, None, print).run(lambda images, _: images, images, images, count)
    assert [len(one) for one in found] == sizes
    assert torch.equal(torch.cat(found), images)


@long
@pytest.mark.parametrize("hunger", [["model.most=3", "model.rank='1'"], ["model.most=2", "model.when=backward"]])
def test_ranks_cut_alike(hunger: list[str], tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", "dataset.train_images=33")
    more = [*MORE, "dataset.train_images=33", f"output_dir={tmp_path}/ranks", *TWO, AUTO, *hunger]
    command = [sys.executable, "-m", "expkit.run", f"--plugin={PLUGIN}"]
    code, printed = done(small(tmp_path, *more), command)
    assert code == 0, printed
    assert "on each rank, and the same batches" in printed
    assert_same_run(whole, only_run(tmp_path / "ranks"))


@long
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_number_of_pieces_among_ranks(strategy: str, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", "dataset.train_images=33")
    more = ["dataset.train_images=33", f"output_dir={tmp_path}/ranks", *TWO, f"device.strategy={strategy}"]
    command = [sys.executable, "-m", "expkit.run", f"--plugin={PLUGIN}"]
    code, printed = done(small(tmp_path, *MORE, *more, "device.micro_batch=3"), command)
    assert code == 0, printed
    assert_same_run(whole, only_run(tmp_path / "ranks"))
    assert points(only_run(tmp_path / "ranks"))


@long
@pytest.mark.skipif(not shutil.which("prlimit") or sys.platform != "linux", reason="limits a process's memory")
def test_memory_that_the_system_refuses(tmp_path: Path) -> None:
    """A real one: the system gives this process no more, and torch says so."""
    more = [
        "model=squeezenet",
        "model.dropout=0.0",
        "transforms.image_size=224",
        "dataset.train_images=128",
        "epochs=1",
    ]
    more += ["dataset.val_images=5", "batch_size=128", "eval_batch_size=4", AUTO, "watch=none", "max_steps=1"]
    more += ["optimizer=sgd", "checkpoint=none", "device.keep_memory=false", f"output_dir={tmp_path}/out", "device=cpu"]
    command = ["prlimit", f"--data={3 * 2**30}", sys.executable, "-m", "expkit.run"]
    code, printed = done(small(tmp_path, *more), command)
    assert code == 0, printed
    assert "warning: memory ran out with 128 images at once" in printed
    assert json.loads((only_run(tmp_path / "out") / "result.json").read_text())["micro_batch"] < 128
