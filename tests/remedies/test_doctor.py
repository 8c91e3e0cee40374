"""What the doctor prints as a fix: typed behind what was typed, the finding is gone."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit.config.registry import losses, samplers
from expkit.data.datasets import load
from expkit.data.datasets.image_folder import read_folders
from expkit.data.deep import Span, checked_range, range_of
from expkit.doctor.examine import is_balanced
from expkit.doctor.finding import Finding
from expkit.doctor.machine import GIB, Gpu, Machine, Needs, judge_machine
from expkit.doctor.measure import measure_needs
from expkit.doctor.statistics import judge_classes, judge_depth, judge_images
from expkit.doctor.transform_trial import fits_model, judge_trial, try_transforms
from tests.doctor.drawn import picture, reading, write
from tests.remedies.followed import node_of

NEEDS = Needs(4, 32, 32 * 3 * 224 * 224, 100 << 20, "outputs")
LARGER = replace(NEEDS, batch_bytes=4 * NEEDS.batch_bytes, eval_batch_size=128, reads_files=False)
MACHINE = Machine(cores=8, open_files=1024, open_files_most=4096, disk_free=50 * GIB)
BUSY, IDLE = Gpu(0, "A", 20 * GIB, 80 * GIB), Gpu(1, "A", 80 * GIB, 80 * GIB, chosen=False)
# What a run asks for, what the machine has, and the ways out that are printed.
LACKS = [
    (NEEDS, replace(MACHINE, shared_free=64 << 20, shared_total=64 << 20), ["dataset.num_workers=3", "batch_size=27"]),
    (LARGER, replace(MACHINE, shared_free=64 << 20, shared_total=64 << 20),
     ["dataset.num_workers=0", "batch_size=27 eval_batch_size=27"]),
    (replace(NEEDS, workers=20), MACHINE, ["dataset.num_workers=8"]),
    (replace(NEEDS, workers=0), MACHINE, ["dataset.num_workers=8"]),
    (replace(NEEDS, workers=64), replace(MACHINE, cores=64), ["dataset.num_workers=34", "ulimit -n 1736"]),
    (NEEDS, replace(MACHINE, disk_free=GIB), ["checkpoint=none"]),
    (NEEDS, replace(MACHINE, disk_free=GIB // 2), []),
    (NEEDS, replace(MACHINE, gpus=(BUSY, IDLE)), ["device=gpu device.index=1"]),
    (NEEDS, replace(MACHINE, gpus=(BUSY,)), ["device=cpu"]),
]  # fmt: skip
FOUR = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
WAY = re.compile(r"ulimit -n \d+|[a-z_]+(?:\.\w+)?=\w+(?: [a-z_]+(?:\.\w+)?=\w+)*")


def lessened(needs: Needs, machine: Machine, way: str) -> tuple[Needs, Machine]:
    """Return what a run asks for, and what it finds, after a way out was taken."""
    if way.startswith("ulimit"):
        return needs, replace(machine, open_files=int(way.split()[-1]))
    for key, value in (word.split("=") for word in way.split()):
        match key:
            case "dataset.num_workers":
                needs = replace(needs, workers=int(value))
            case "checkpoint":
                needs = replace(needs, checkpoint_bytes=0)
            case "device" if value == "cpu":
                machine = replace(machine, gpus=())
            case "device.index":
                machine = replace(machine, gpus=tuple(replace(g, chosen=g.index == int(value)) for g in machine.gpus))
    sizes = dict(re.findall(r"(\w*batch_size)=(\d+)", way))
    if sizes:
        old = max(needs.batch_size, needs.eval_batch_size)
        needs = replace(needs, **{key: int(value) for key, value in sizes.items()})
        new = max(needs.batch_size, needs.eval_batch_size)
        needs = replace(needs, batch_bytes=needs.batch_bytes * new // old)
    return needs, machine


@pytest.mark.parametrize(("needs", "machine", "ways"), LACKS)
def test_a_machine_has_enough_then(needs: Needs, machine: Machine, ways: list[str]) -> None:
    (found,) = judge_machine(needs, machine)
    assert [way for way in WAY.findall(found.remedy) if "FOLDER" not in way] == ways
    for way in ways:
        assert judge_machine(*lessened(needs, machine, way)) == []


def test_the_larger_batch_is_the_one_that_counts(tmp_path: Path) -> None:
    config = {"batch_size": 8, "eval_batch_size": 32, "output_dir": "outputs", "model": {}}
    config["dataset"] = node_of(["dataset=image_folder", f"dataset.root={write(tmp_path, *FOUR)}"])
    config["checkpoint"] = node_of(["checkpoint=none"], "checkpoint")
    needs = measure_needs(config, load(config["dataset"]).train, 10, 10)
    assert (needs.batch_bytes, needs.eval_batch_size) == (32 * 300, 32)


def typed(fix: str, group: str) -> dict[str, Any]:
    """Return a group's part of the config after a fix was typed."""
    words = fix.split()
    return node_of(words if f"{group}=" in fix else [f"{group}={DEFAULTS[group]}", *words], group)


DEFAULTS = {"sampler": "shuffle", "loss": "cross_entropy", "dataset": "image_folder", "transforms": "imagenet"}


@pytest.mark.parametrize(
    ("several", "fix", "group"),
    [(False, "sampler=class_balanced", "sampler"), (True, "loss=bce loss.pos_weight=balanced", "loss")],
)
def test_classes_are_balanced_then(several: bool, fix: str, group: str) -> None:
    counts, names = np.array([10, 5]), ("cat", "dog")
    config = {"sampler": {"name": "shuffle"}, "loss": {"name": "bce"}}
    (found,) = judge_classes(counts, names, is_balanced(config), several)
    assert found.remedy == fix
    config[group] = typed(fix, group)
    assert is_balanced(config)
    assert not judge_classes(counts, names, is_balanced(config), several)[0].remedy
    if several:
        losses.build(config["loss"], task="multilabel", class_names=names, num_classes=2, class_counts=counts)
    else:
        samplers.build(config["sampler"], targets=np.array([0, 0, 1]), class_names=names)


# Sizes of the images, that which the model sees, whether that is the first one's, and the fix.
SIZES = [
    ([(80, 90)] * 3 + [(300, 300)], 224, False, "transforms.image_size=80"),
    ([(8, 8)] * 3, 224, False, ""),  # a squeezenet takes none so small
    ([(80, 90), (90, 80)], 80, True, "transforms=imagenet transforms.image_size=224"),
]


@pytest.mark.parametrize(("sizes", "seen", "native", "fix"), SIZES)
def test_sizes_are_well_then(sizes: list[tuple[int, int]], seen: int, native: bool, fix: str) -> None:
    readings = {number: reading(picture(number, size)) for number, size in enumerate(sizes)}
    fits = partial(fits_model, {"model": node_of(["model=squeezenet"], "model")}, 2)
    said = [one for one in judge_images(readings, seen, native, fits) if "pixels" in one.sentence]
    (found,) = said or judge_images(readings, seen, native, fits)
    assert found.remedy == fix
    if fix:
        then = judge_images(readings, typed(fix, "transforms")["image_size"], False, fits)
        assert found.sentence not in [one.sentence for one in then]


# The least and the largest value of deep images, the range that was given, and the fix.
DEPTHS = [
    (0, 4000, None, "dataset.deep_range=auto"),
    (60_000, 60_800, None, "dataset.deep_range=[60000,60800]"),
    (60_000, 60_800, "auto", "dataset.deep_range=[60000,60800]"),
    (0, 60_800, [0.0, 50_000.0], "dataset.deep_range=[0,60800]"),
    (0, 16_777_215, [0.0, 4095.0], "dataset.deep_range=[0,16777215]"),
]


@pytest.mark.parametrize(("least", "most", "given", "fix"), DEPTHS)
def test_deep_images_are_well_then(least: int, most: int, given: Any, fix: str) -> None:
    span = Span(least, most, most < 2**16)
    readings = {0: replace(reading(picture(0)), span=span)}

    def judged(given: Any) -> list[Finding]:
        chosen = range_of([span]) if given == "auto" else checked_range(given)
        return judge_depth(readings, chosen, given == "auto")[1:]

    (found,) = judged(given)
    assert found.remedy == fix
    if fix:
        assert not judged(typed(fix, "dataset")["deep_range"])


def test_images_make_batches_then(tmp_path: Path) -> None:
    write(tmp_path, *FOUR)
    picture(9, (50, 80)).save(tmp_path / "a/3.jpg")
    data = read_folders(tmp_path, "dataset.root")
    uneven = typed("", "transforms") | {"eval": [{"name": "Resize", "size": 32}]}
    config = {"model": node_of(["model=small_cnn"], "model"), "seed": 0, "transforms": uneven}
    (found,) = judge_trial(try_transforms(config, data, range(5)))
    assert "transforms=imagenet" in found.remedy
    for then in (typed("", "transforms"), uneven | {"eval": [*uneven["eval"], {"name": "CenterCrop", "size": 32}]}):
        assert judge_trial(try_transforms(config | {"transforms": then}, data, range(5))) == []
