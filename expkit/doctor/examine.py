"""The examination, in reading order: read every file, judge the data and the machine, write it all down."""

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
_NO_IMAGE = (224, 224)  # what a batch is reckoned with where no image can be read
_EVENING_OUT = ("class_balanced", "weighted", "WeightedRandomSampler")


def examine(config: Config, console: Console, run_command: str) -> bool:
    """Examine a checked config's data and this machine; return whether all is well. Raises ConfigError.

    run_command: what would train on this config, to be shown with the fixes.
    """
    options: DataOptions = datasets.shared(config["dataset"])
    found_device: torch.device | Layout | Split = devices.build(config["device"])
    used = (found_device,) if isinstance(found_device, torch.device) else found_device.devices
    splits = load(config["dataset"])
    collection = Collection(splits)
    with _folder(config) as folder:
        report.print_heading(console, folder, collection, splits.notes)
        with report.progress(console, len(collection)) as on_read:
            found = scan(collection, usable_cores(), options.timeout, on_read)
        set_unfit_aside(config, found)
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
    """Make the folder before the long scan, and leave no empty one behind."""
    folder = make_run_folder(str(Path(config["output_dir"]) / "doctor"), config["dataset"]["name"])
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def set_unfit_aside(config: Config, found: Scan) -> None:
    """Count images that the transforms cannot be applied to, such as 1×30000 pixels, among those of no use."""
    for split, name in (("train", "train"), ("val", "eval")):
        chain = build_eventual_chain(config, found, name)
        for number in [one for one in found.readings if found.collection.split_of[one] == split]:
            reading = found.readings[number]
            if chain and (reason := reason_against(chain.steps, reading.height, reading.width)):
                found.bad[number] = reason
                found.unfit.add(number)
                del found.readings[number]


def judge_scan(config: Config, found: Scan, folder: Path) -> tuple[list[Finding], Fixes]:
    """Write the lists of unreadable and of equal images; return what they mean, and what leaves them out."""
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
    """Draw the pictures and add findings on classes, images and transforms; return (height, width) of a batch."""
    data = found.readable("train")
    counts = statistics.counts["train"]
    findings += judge_classes(counts, data.class_names, is_evened_out(config), data.task == "multilabel")
    with writing(folder / SAMPLES_NAME):
        draw_samples(data, choose(data, _SAMPLES), _COLUMNS).save(folder / SAMPLES_NAME)
    try:
        trial = try_transforms(config, data, choose(data, _TRIED).tolist())
    except ConfigError as error:  # the data has been examined for good: this is one finding among others
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


def is_evened_out(config: Config) -> bool:
    """Return whether a config's sampler or loss weighs classes that have few images."""
    weights = config["loss"].get("class_weights") or config["loss"].get("pos_weight")
    return config["sampler"]["name"] in _EVENING_OUT or bool(weights)
