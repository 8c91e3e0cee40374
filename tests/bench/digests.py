"""Digests of what small runs leave behind: equal ones show that a change of the code has changed no result.

python tests/bench/digests.py [--write FILE] [--against FILE] [--only NAME ...]     exit code 1 where they differ

--write FILE keeps the digests, --against FILE compares with what another checkout has written. Nothing of the package
is imported: each run is `python -m expkit.run ...` in a process of its own, on shapes of 28 pixels and one thread.
PYTHONPATH=CHECKOUT measures another checkout. Of each run four things count:

tensors   the last and the best checkpoint: weights, optimizer, average; and the plain values of their state
metrics   metrics.jsonl without times, speeds and memory
config    config.yaml without output_dir; all paths are relative
weights   the digests of the weights in result.json
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("tensors", "metrics", "config", "weights")
Parts = dict[str, dict[str, str]]  # part -> what is in it -> its digest, or its value in `config`

SHAPES = [
    "dataset=shapes", "dataset.root=shapes", "dataset.size=28", "dataset.train_images=60", "dataset.val_images=20",
]  # fmt: skip
COMMON = [
    "dataset.num_workers=0", "model=small_cnn", "model.width=4", "epochs=2", "batch_size=20", "log_every=1",
    "logger=none", "device=cpu", "device.threads=1",
]  # fmt: skip
AVERAGE = ["ema_decay=0.9", "transforms.batch=[{name: MixUp, alpha: 0.2}]", "model.dropout=0.2"]
WEIGHTED = ["sampler=weighted", "sampler.class_weights={circle: 1, cross: 1, square: 2, star: 3, triangle: 1}"]
LABELS = ["dataset=coco", "dataset.root=shapes/folders/train", "dataset.annotations=labels.json", "loss=bce"]
CONFIGS = {
    "classification": SHAPES,
    "several_labels": [*LABELS, "transforms.image_size=28", "model.width=8"],
    "two_ranks": [*SHAPES, "device=multi_cpu", "device.count=2"],
    "resumed": [*SHAPES, *WEIGHTED, "sampler.num_samples=600", "batch_size=4", "checkpoint.resume=auto"],
    "average_bf16": [*SHAPES, *AVERAGE, "device.precision=bf16"],
    "average_fp16": [*SHAPES, *AVERAGE, "device.precision=fp16"],
    "weighted": [*SHAPES, *WEIGHTED, "dataset.num_workers=2", "optimizer=sgd", "optimizer.lr=0.05", "schedule=cosine"],
    "cache": [*SHAPES, "dataset.cache=memory", "transforms=augment", "transforms.image_size=28", "watch=everything"],
    "micro_batches": [*SHAPES, "device.micro_batch=8", "accumulate_steps=2", "clip_grad_norm=1.0"],
    "distillation": [*SHAPES, "loss=distill", "loss.teacher=teacher"],
    "sweep": ["-m", *SHAPES, "optimizer.lr=0.01,0.001", "seed=0,1", "watch=none"],
}
INTERRUPTED = "resumed"  # it is ended by SIGTERM at its first steps, and started again
_TIMES = ("seconds", "per_second", "data_wait", "memory")  # a field whose name holds one of them is no score
_SHOWN = 6  # names, of those that differ


def digest(value: object) -> str:
    """Return the sha256 of a value as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def tensors_of(file: Path) -> dict[str, str]:
    """Return the digest of each tensor of a safetensors file, its kind and shape included."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, one in sorted(json.loads(data[8:start]).items()):
        if name != "__metadata__":
            begin, end = one["data_offsets"]
            head = f"{one['dtype']} {one['shape']} ".encode()
            found[name] = hashlib.sha256(head + data[start + begin : start + end]).hexdigest()
    return found


def checkpoint_of(file: Path) -> dict[str, str]:
    """Return the digests of a checkpoint: of its tensors, and of each plain part of its state."""
    state = json.loads(file.with_suffix(".json").read_text())["state"]
    plain = {name: digest(value) for name, value in state.items() if name != "metrics_bytes"}  # times are in there
    return {f"plain {name}": value for name, value in plain.items()} | tensors_of(file)


def metrics_of(file: Path) -> dict[str, str]:
    """Return the digest of each field of the points, with the points' places; times and speeds are left out."""
    columns: dict[str, list[Any]] = {}
    for number, line in enumerate(file.read_text().splitlines()):
        for name, value in json.loads(line).items():
            if not any(word in name for word in _TIMES):
                columns.setdefault(name, []).append([number, value])
    return {name: digest(column) for name, column in columns.items()}


def config_of(file: Path) -> dict[str, str]:
    """Return each value of a config by its path, as JSON, without output_dir."""
    config = yaml.safe_load(file.read_text())
    config.pop("output_dir", None)
    return dict(_flat(config, ""))


def _flat(value: Any, path: str) -> Iterable[tuple[str, str]]:
    if not isinstance(value, dict) or not value:
        yield path, json.dumps(value, sort_keys=True)
        return
    for key, item in value.items():
        yield from _flat(item, f"{path}.{key}" if path else str(key))


def parts_of(folder: Path) -> Parts:
    """Return what counts of a finished run."""
    result = json.loads((folder / "result.json").read_text())
    kept = sorted((folder / "checkpoints").glob("*.safetensors"))
    files = {"last": kept[-1], "best": folder / "checkpoints" / result["best"]}
    return {
        "tensors": {
            f"{which} {name}": one for which, file in files.items() for name, one in checkpoint_of(file).items()
        },
        "metrics": metrics_of(folder / "metrics.jsonl"),
        "config": config_of(folder / "config.yaml"),
        "weights": {name: value for name, value in result.items() if name.endswith("_sha256")},
    }


def joined(runs: list[Parts]) -> Parts:
    """Return the parts of several runs as those of one, in the order of their configs."""
    if len(runs) == 1:
        return runs[0]
    in_order = sorted(runs, key=lambda run: json.dumps(run["config"], sort_keys=True))
    return {
        part: {f"run {number}: {name}": one for number, run in enumerate(in_order) for name, one in run[part].items()}
        for part in PARTS
    }


def differences(ours: dict[str, Parts], theirs: dict[str, Parts]) -> list[str]:
    """Return a line for each part of a row that differs, with the names of what differs in it."""
    lines = [f"{name}: is only in one of the two" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in (name for name in ours if name in theirs):
        for part in sorted(ours[name].keys() | theirs[name].keys()):
            new, old = ours[name].get(part, {}), theirs[name].get(part, {})
            if new != old:
                lines.append(f"{name}: {part}: {_told(new, old)}")
    return lines


def _told(new: dict[str, str], old: dict[str, str]) -> str:
    changed = sorted(name for name in new.keys() & old.keys() if new[name] != old[name])
    kinds = {"changed": changed, "new": sorted(new.keys() - old.keys()), "gone": sorted(old.keys() - new.keys())}
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', …' * (len(names) > _SHOWN)})"
        for kind, names in kinds.items() if names
    )  # fmt: skip


class Runs:
    """Runs the configs in a folder, which commands see as their working folder: paths in configs are relative."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        path = os.pathsep.join([*(str(Path(one).resolve()) for one in given), str(ROOT)])
        self.environment = os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(folder / "cache")}

    def parts(self, name: str) -> Parts:
        """Run one config, and return what counts of its runs; of one that is refused, the answer."""
        words = [*_arranged(CONFIGS[name]), f"output_dir=runs/{name}"]
        if name == INTERRUPTED:
            self._interrupt(name, words)
        done = subprocess.run(self._command(words), cwd=self.folder, env=self.environment, capture_output=True)
        said = done.stderr.decode()
        if done.returncode == 2 and (faults := re.findall(r"^error: device\..*", said, re.M)):
            return {"refused": {"answer": "; ".join(faults)}}
        if done.returncode:
            raise SystemExit(f"{name}: exit code {done.returncode}\n{said[-3000:]}")
        return joined([parts_of(run) for run in self._runs(name)])

    def prepare(self) -> None:
        """Draw the shapes, train the teacher, and write labels for the drawn images."""
        self._start_and_wait([*SHAPES, *COMMON, "model.width=8", "output_dir=runs/teacher"])
        (run,) = self._runs("teacher")
        shutil.copytree(run, self.folder / "teacher")  # a name without the time
        (self.folder / "labels.json").write_text(json.dumps(labels(self.folder / "shapes/folders/train")))

    def _start_and_wait(self, words: list[str]) -> None:
        subprocess.run(
            self._command(words), cwd=self.folder, env=self.environment, check=True, stdout=subprocess.DEVNULL
        )

    def _command(self, words: list[str]) -> list[str]:
        return [sys.executable, "-m", "expkit.run", *words]

    def _runs(self, name: str) -> list[Path]:
        return sorted(file.parent for file in (self.folder / "runs" / name).rglob("result.json"))

    def _interrupt(self, name: str, words: list[str]) -> None:
        """Start a run and end it by SIGTERM between its first steps and its last; one that was faster is done anew."""
        for _ in range(5):
            process = subprocess.Popen(
                self._command(words), cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            points = (self.folder / "runs" / name).glob
            while process.poll() is None and not any(file.stat().st_size for file in points("*/metrics.jsonl")):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            if process.wait() == 143:
                return
            shutil.rmtree(self.folder / "runs" / name)
        raise SystemExit(f"{name}: SIGTERM did not end the run with exit code 143")


def _arranged(words: list[str]) -> list[str]:
    """Return the overrides with the common ones before them, except those that they replace."""
    chosen = {word.partition("=")[0] for word in words}
    common = [word for word in COMMON if word.partition("=")[0] not in chosen]
    return [*(word for word in words if word == "-m"), *common, *(word for word in words if word != "-m")]


def labels(folder: Path) -> dict[str, Any]:
    """Return COCO's annotations of the drawn images: whether there are corners, and whether there are many."""
    of_class = {"circle": [], "cross": [0, 1], "square": [0], "star": [0, 1], "triangle": [0]}
    files = sorted(folder.glob("*/*.jpg"), key=lambda file: int(file.stem))
    return {
        "images": [{"id": int(file.stem), "file_name": f"{file.parent.name}/{file.name}"} for file in files],
        "annotations": [
            {"image_id": int(file.stem), "category_id": label} for file in files for label in of_class[file.parent.name]
        ],
        "categories": [{"id": 0, "name": "corners"}, {"id": 1, "name": "many"}],
    }


def row(name: str, parts: Parts) -> str:
    """Return the printed line of a config."""
    if "refused" in parts:
        return f"{name:16} {parts['refused']['answer']}"
    return "  ".join([f"{name:16}", *(f"{part} {digest(parts[part])[:16]}" for part in PARTS)])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--against", type=Path, metavar="FILE")
    parser.add_argument("--only", nargs="+", choices=CONFIGS, default=list(CONFIGS), metavar="NAME")
    given = parser.parse_args()
    sys.path.append(str(ROOT))
    print(f"package in {Path(importlib.util.find_spec('expkit').origin).parent}", flush=True)  # type: ignore
    found: dict[str, Parts] = {}
    with tempfile.TemporaryDirectory() as folder:
        runner = Runs(Path(folder).resolve())
        runner.prepare()
        for name in given.only:
            found[name] = runner.parts(name)
            print(row(name, found[name]), flush=True)
    if given.write:
        given.write.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if not given.against:
        return 0
    theirs = {name: parts for name, parts in json.loads(given.against.read_text()).items() if name in given.only}
    lines = differences(found, theirs)
    print("\n".join(lines) if lines else f"equal to {given.against}")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
