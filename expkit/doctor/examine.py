"""The examination in order: read every file, judge the data and the machine, write the results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from expkit.config.registry import datasets, devices
from expkit.core.errors import ConfigError
from expkit.core.files import writing
from expkit.core.formatting import count_noun
from expkit.core.progress import bar
from expkit.core.run_folder import make_run_folder
from expkit.core.terminal import Console
from expkit.data.datasets import DataOptions, load
from expkit.data.growth import reason_against
from expkit.devices import Layout, Split
from expkit.doctor import report
from expkit.doctor.duplicates import find_groups
from expkit.doctor.duplicates import judge as judge_duplicates
from expkit.doctor.exclude_lists import Fixes, write_duplicates, write_lists
from expkit.doctor.finding import Finding, listed
from expkit.doctor.machine import judge_machine
from expkit.doctor.measure import measure_machine, measure_needs, usable_cores
from expkit.doctor.plots import choose, draw_samples, draw_transforms
from expkit.doctor.scan import Collection, Scan, scan
from expkit.doctor.statistics import Statistics, collect, judge_classes, judge_depth, judge_images
from expkit.doctor.transform_trial import build_eventual_chain, fits_model, judge_trial, try_transforms

Config = Mapping[str, Any]

SAMPLES_NAME, TRANSFORMS_NAME = "samples.png", "transforms.png"
_COLUMNS, _SAMPLES, _TRIED = 8, 40, 6
_NO_IMAGE = (224, 224)  # size assumed for a batch if no image can be read
_BALANCING = ("class_balanced", "weighted", "WeightedRandomSampler")


def examine(config: Config, console: Console, run_command: str) -> bool:
    """Examine a checked config's data and this machine; return True if there is no problem. Raises ConfigError.

    run_command: the command that trains with this config, shown with the fixes.
    """
    options: DataOptions = datasets.shared(config["dataset"])
    found_device: torch.device | Layout | Split = devices.build(config["device"])
    used = (found_device,) if isinstance(found_device, torch.device) else found_device.devices
    splits = load(config["dataset"])
    collection = Collection(splits)
    with _folder(config) as folder:
        report.print_heading(console, folder, collection, splits.notes)
        with bar("reading", len(collection)) as advance:
            found = scan(collection, usable_cores(), options.timeout, advance)
        exclude_unfit(config, found)
        report.print_scan(console, found)
        findings, fixes = judge_scan(config, found, folder)
        statistics = collect(found) if len(found.readable("train")) else None
        size = _NO_IMAGE
        if statistics:
            size = try_config(config, found, statistics, folder, findings)
        needs = measure_needs(config, splits.train, *size)
        findings += judge_machine(needs, measure_machine(config["output_dir"], used))
        report.write_findings(folder, config["dataset"], found, findings, statistics)
        report.print_all(console, folder, findings, statistics, f"{run_command} {fixes.best}" if fixes.best else "")
    return not any(finding.level == "problem" for finding in findings)


@contextmanager
def _folder(config: Config) -> Iterator[Path]:
    """Make the folder before the long scan; remove it if it stays empty."""
    folder = make_run_folder(str(Path(config["output_dir"]) / "doctor"), config["dataset"]["name"])
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def exclude_unfit(config: Config, found: Scan) -> None:
    """Move images that the transforms cannot be applied to, such as 1×30000 pixels, to the bad ones."""
    for split, name in (("train", "train"), ("val", "eval")):
        chain = build_eventual_chain(config, found, name)
        for number in [one for one in found.readings if found.collection.split_of[one] == split]:
            reading = found.readings[number]
            if chain and (reason := reason_against(chain.steps, reading.height, reading.width)):
                found.bad[number] = reason
                found.unfit.add(number)
                del found.readings[number]


def judge_scan(config: Config, found: Scan, folder: Path) -> tuple[list[Finding], Fixes]:
    """Write the lists of unreadable and duplicate images; return the findings, and the overrides that exclude them."""
    groups = find_groups(found.collection, found.readings, found.processes)
    fixes = write_lists(folder, found, groups, config["dataset"].get("exclude"))
    write_duplicates(folder, groups, found.collection)
    findings = judge_duplicates(groups, found.collection, fixes.surplus)
    for numbers, about, what in (
        (found.unfit, "images", "too thin for the transforms"),
        (found.bad.keys() - found.unfit, "files", "cannot be read"),
    ):
        if numbers:
            names = listed([found.collection.name(number) for number in sorted(numbers)])
            says = f"{count_noun(len(numbers), 'image')} {what}: {names}"
            remedy = fixes.bad or "replace them, or remove their class: without them a class or a split has no image"
            findings.insert(0, Finding("problem", about, says, remedy))
    return findings, fixes


def try_config(
    config: Config, found: Scan, statistics: Statistics, folder: Path, findings: list[Finding]
) -> tuple[int, int]:
    """Draw samples and add findings on classes, images and transforms; return (height, width) of a batch."""
    data = found.readable("train")
    counts = statistics.counts["train"]
    findings += judge_classes(counts, data.class_names, is_balanced(config), data.task == "multilabel")
    with writing(folder / SAMPLES_NAME):
        draw_samples(data, choose(data, _SAMPLES), _COLUMNS).save(folder / SAMPLES_NAME)
    try:
        trial = try_transforms(config, data, choose(data, _TRIED).tolist())
    except ConfigError as error:  # the results on the data are still of use
        findings += [Finding("problem", "transforms", fault) for fault in error.faults]
        height, width = data.image(0).shape[-2:]
        return height, width
    with writing(folder / TRANSFORMS_NAME):
        draw_transforms(trial.rows).save(folder / TRANSFORMS_NAME)
    native = config["transforms"].get("image_size") == "native"
    findings += judge_images(
        found.readings, trial.image_size, native, partial(fits_model, config, len(data.class_names))
    )
    is_auto = datasets.shared(config["dataset"]).deep_range == "auto"
    findings += judge_depth(found.readings, data.decoder.deep_range, is_auto)
    findings += judge_trial(trial)
    return trial.size


def is_balanced(config: Config) -> bool:
    """Return True if a config's sampler or loss weights rare classes."""
    weights = config["loss"].get("class_weights") or config["loss"].get("pos_weight")
    return config["sampler"]["name"] in _BALANCING or bool(weights)
