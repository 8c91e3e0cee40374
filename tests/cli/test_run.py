"""The command itself, in processes of its own: the main job, changes by override, wrong input, Ctrl+C."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.forks import Forks

SMALL = [
    "dataset.size=32",
    "dataset.train_images=60",
    "dataset.val_images=20",
    "model.width=4",
    "epochs=2",
    "log_every=1",
]


def in_new_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does: nothing is imported yet."""
    return subprocess.run(
        [sys.executable, "-m", "expkit.run", *arguments], cwd=folder, capture_output=True, text=True, timeout=240
    )


def only_run(folder: Path) -> Path:
    (run,) = (place for place in (folder / "outputs").iterdir() if place.name not in ("data", "sweeps"))
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small run of the main job: its run folder, and what it printed."""
    folder = tmp_path_factory.mktemp("main")
    done = in_new_process(folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return only_run(folder), done.stdout


def test_a_run_says_where_everything_lies(finished: tuple[Path, str]) -> None:
    run, printed = finished
    assert f"outputs/{run.name}\n" in printed
    assert "tensorboard --logdir outputs" in printed
    assert sum(line.startswith("epoch ") for line in printed.splitlines()) == 2


def test_the_record_is_complete(finished: tuple[Path, str]) -> None:
    run, _ = finished
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["command"].startswith("python -m expkit.run dataset.size=32")
    assert yaml.safe_load((run / "config.yaml").read_text())["dataset"]["size"] == 32
    assert "epochs=2" in yaml.safe_load((run / "overrides.yaml").read_text())
    assert json.loads((run / "env.json").read_text())["packages"]["torch"]
    assert json.loads((run / "data.json").read_text())["train"]["images"] == 60
    assert json.loads((run / "result.json").read_text())["steps"] == 4
    assert "epoch 2/2" in (run / "log.txt").read_text()


def test_metrics_are_whole_lines_with_every_step(finished: tuple[Path, str]) -> None:
    run, _ = finished
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points if point["kind"] == "step"] == [1, 2, 3, 4]
    assert [point["epoch"] for point in points if point["kind"] == "epoch"] == [0, 1]


def test_tensorboard_reads_what_metrics_say(finished: tuple[Path, str]) -> None:
    run, _ = finished
    events = EventAccumulator(str(run))
    events.Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["val/loss"] for line in lines if line["kind"] == "epoch"]
    assert [event.value for event in events.Scalars("val/loss")] == pytest.approx(losses)


def test_checkpoints_hold_tensors_and_json_only(finished: tuple[Path, str]) -> None:
    run, _ = finished
    for path in (run / "checkpoints").glob("*.safetensors"):
        manifest = json.loads(path.with_suffix(".json").read_text())
        assert manifest["class_names"] == ["circle", "cross", "square", "star", "triangle"]
        assert any(name.startswith("model/") for name in load_file(path))
    assert 1 <= len(list((run / "checkpoints").iterdir())) // 2 <= 2


def test_the_same_run_twice_ends_with_the_same_weights(
    commands: Forks, finished: tuple[Path, str], tmp_path: Path
) -> None:
    run, _ = finished
    done = commands.run(tmp_path, *SMALL, "dataset.num_workers=0", "logger=none", "dataset.layout=names")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((one / "result.json").read_text()) for one in (run, only_run(tmp_path)))
    assert first["weights_sha256"] == second["weights_sha256"]


def test_workers_caches_and_decoders_change_nothing(
    commands: Forks, tmp_path: Path, image_files: Callable[..., Path]
) -> None:
    """Random crops, RandAugment, mixup and dropout end with the same weights however the images are read."""
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(16)))
    crop = "{name: RandomResizedCrop, size: 32}"
    recipe = ["dataset=image_folder", f"dataset.root={root}", "model.width=4", "model.dropout=0.2", "epochs=2"]
    recipe += ["batch_size=8", "logger=none", f"transforms.train=[{crop}, {{name: RandAugment}}]"]
    recipe += ["transforms.batch=[{name: MixUp}, {name: CutMix}]", "transforms.image_size=32"]
    ways = [["dataset.num_workers=0"], ["dataset.num_workers=2", "dataset.cache=disk"], ["dataset.decoder=region"]]
    digests = set()
    for number, way in enumerate(ways):
        done = commands.run(tmp_path, *recipe, *way, f"output_dir=way{number}")
        assert done.returncode == 0, done.stderr
        (result,) = (tmp_path / f"way{number}").glob("*/result.json")
        digests.add(json.loads(result.read_text())["weights_sha256"])
    assert len(digests) == 1


BAD_FILES = [("skip", "left out in train"), ("replace", "replaced in train")]


@pytest.mark.parametrize(("on_bad", "said"), BAD_FILES)
def test_a_bad_file_is_named_once_and_listed(
    commands: Forks, on_bad: str, said: str, tmp_path: Path, image_files: Callable[..., Path]
) -> None:
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(6)))
    val = image_files("val", "cat/1.jpg", "dog/1.jpg")
    for broken in (root / "dog/3.jpg", val / "dog/1.jpg"):
        broken.write_bytes(broken.read_bytes()[:300])
    pets = ["dataset=image_folder", f"dataset.root={root}", f"dataset.val_root={val}", "model.width=4", "epochs=3"]
    done = commands.run(tmp_path, *pets, f"dataset.on_bad={on_bad}", "dataset.max_bad=0.5", "dataset.num_workers=2")
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count(f"warning: {said}: {root}/dog/3.jpg: cannot be decoded") == 1
    assert done.stdout.count(f"warning: left out in val: {val}/dog/1.jpg") == 1
    assert re.search(r"^bad in val +1 of 2 samples cannot be read$", done.stdout, re.MULTILINE)
    listed = json.loads((only_run(tmp_path) / "bad_files.json").read_text())
    assert set(listed) == {"dog/3.jpg", "val/dog/1.jpg"}


def test_too_many_bad_files_end_the_run(commands: Forks, tmp_path: Path, image_files: Callable[..., Path]) -> None:
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(6)))
    for number in range(4):
        (root / f"dog/{number}.jpg").write_bytes(b"")
    pets = ["dataset=image_folder", f"dataset.root={root}", "model.width=4", "dataset.on_bad=skip"]
    done = commands.run(tmp_path, *pets)
    assert done.returncode == 1
    assert "samples cannot be read, more than dataset.max_bad=0.2" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_mixing_with_a_loss_of_whole_classes_is_refused(commands: Forks, tmp_path: Path) -> None:
    mixed = ["transforms.batch=[{name: MixUp}]", "loss=torch", "loss.name=MultiMarginLoss"]
    done = commands.run(tmp_path, *SMALL, *mixed)
    assert done.returncode == 2
    assert "transforms.batch: mixes labels, and the loss MultiMarginLoss needs hard labels" in done.stderr


def test_wrong_input_ends_with_2_and_a_sentence_for_each_fault(tmp_path: Path) -> None:
    done = in_new_process(tmp_path, "model.widht=3", "optimizer.lr=fast")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: model.widht: the chosen conf/model has no option 'widht'; did you mean 'width'?",
        "error: optimizer.lr: expected a number or a list of numbers, got 'fast'",
    ]
    assert not (tmp_path / "outputs").exists()


def test_a_folder_that_cannot_be_written_is_named(commands: Forks, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = commands.run(tmp_path, *SMALL, f"output_dir={tmp_path}/file")
    assert done.returncode == 2
    assert "error: output_dir: cannot make a run folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_closes_the_record(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "expkit.run", *SMALL, "epochs=500", "dataset.num_workers=1"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("outputs/*/checkpoints/*.json")):
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in errors
    assert json.loads((only_run(tmp_path) / "record.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_cannot_be_read_is_named(
    commands: Forks, workers: int, image_files: Callable[..., Path], tmp_path: Path
) -> None:
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(6)))
    broken = root / "dog/3.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    pets = ["dataset=image_folder", f"dataset.root={root}", f"dataset.num_workers={workers}", "model.width=4"]
    done = commands.run(tmp_path, *pets)
    assert done.returncode == 1
    assert f"an image cannot be read: {broken}: cannot be decoded" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert json.loads((only_run(tmp_path) / "record.json").read_text())["status"] == "failed"


def test_a_sweep_runs_every_combination(commands: Forks, tmp_path: Path) -> None:
    done = commands.run(tmp_path, "-m", *SMALL, "epochs=1", "seed=0,1", "logger=none")
    assert done.returncode == 0, done.stderr
    seeds = {yaml.safe_load(path.read_text())["seed"] for path in tmp_path.glob("outputs/sweeps/*/*/config.yaml")}
    assert seeds == {0, 1}


def test_a_misspelt_job_of_a_sweep_stops_it_before_the_first(commands: Forks, tmp_path: Path) -> None:
    done = commands.run(tmp_path, "-m", "model=small_cnn,small_cmm")
    assert done.returncode == 2
    assert "small_cmm" in done.stderr
    assert not list(tmp_path.glob("outputs/*/record.json"))


def test_own_conf_and_plugin(commands: Forks, tmp_path: Path, image_files: Callable[..., Path]) -> None:
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("name: mine\ndepth: 2\n")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nfrom expkit.config.registry import models\n\n\n@models.register('mine')\n"
        "def mine(num_classes: int, depth: int = 1) -> nn.Module:\n    '''My net.'''\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(depth), nn.Flatten(), nn.Linear(3 * depth**2, num_classes))\n"
    )
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(6)))
    own = ["model=mine", "dataset=image_folder", f"dataset.root={root}", "epochs=1"]
    done = commands.run(tmp_path, "--plugin", "mine.py", *own)
    assert done.returncode == 0, done.stderr
    without = commands.run(tmp_path, *own)
    assert without.returncode == 2
    assert "unknown model 'mine'" in without.stderr


@pytest.mark.parametrize(
    ("words", "shown"), [([], "dataset"), (["model"], "squeezenet1_1"), (["model", "small_resnet"], "stem_stride")]
)
def test_list(words: list[str], shown: str, tmp_path: Path) -> None:
    done = in_new_process(tmp_path, "--list", *words)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("model squeezenet", "command line: 'model' stands alone; an override is KEY=VALUE: model=…"),
        ("model:squeezenet", "command line: 'model:squeezenet' is no override; did you mean 'model=squeezenet'?"),
        (
            "--model=squeezenet",
            "--model=squeezenet: unknown flag; an override has no dashes: model=squeezenet",
        ),
        ("--epochs 3", "--epochs: unknown flag; an override has no dashes: epochs=…"),
        ("optimizer.lr=0,1", "optimizer.lr: 0,1 are several values; add -m to run each of them, or write"),
        ("model.freeze=[a", "model.freeze: no viable alternative at input '[a'; close what is open"),
        ("--plugin mine", "--plugin: there is no Python file 'mine'; did you mean 'mine.py'?"),
        ("model.name=own", "model.name: unknown model 'own'; mine.py registers it: add --plugin mine.py"),
    ],
)
def test_a_newcomers_line_is_answered_with_the_fix(commands: Forks, words: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('@models.register("own")\ndef own(): ...\n')
    done = commands.run(tmp_path, *words.split(" "))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


def test_a_list_of_options_says_what_each_does(commands: Forks, tmp_path: Path) -> None:
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("name: mlp\ngrid: 8  # mine: [a] cell\n")
    done = commands.run(tmp_path, "--list", "model", "mlp", environment={"COLUMNS": "200"})
    assert re.search(r"grid +integer +16 +mine: \[a\] cell", done.stdout)
    assert re.search(r"freeze .* patterns of parameter names that are not trained", done.stdout)


def test_a_list_holds_whole_texts_however_narrow(commands: Forks, tmp_path: Path) -> None:
    long = "ahead [bold]and[/bold] [dim] :smile: " + "InterpolationModeWithAVeryLongName" * 3
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nfrom expkit.config.registry import models\n\n@models.register('mine')\n"
        f"def mine(num_classes: int, depth: str = '[red]x[/red]') -> nn.Module:\n    '''My {long}.\n\n"
        f"    depth: takes {long}.\n    '''\n"
    )
    for width in ("40", "80", "200"):
        for words in (["model"], ["model", "mine"]):
            arguments = ["--plugin", "mine.py", "--list", *words]
            done = commands.run(tmp_path, *arguments, environment={"COLUMNS": width})
            assert done.returncode == 0, done.stderr
            assert f"My {long}." in done.stdout
            assert "…" not in done.stdout
    assert "[red]x[/red]" in done.stdout


def test_help_of_a_sweep_tells_of_its_first_job(commands: Forks, tmp_path: Path) -> None:
    done = commands.run(tmp_path, "-m", "model.width=8,16", "seed=1", "--help")
    assert done.returncode == 0, done.stderr
    assert "width: 8" in done.stdout


def test_help_names_the_groups(tmp_path: Path) -> None:
    done = in_new_process(tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "squeezenet" in done.stdout
    assert "--plugin" in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"], ["seed=3", "--cfg=job"]], ids=" ".join)
def test_what_needs_no_torch_does_not_wait_for_its_import(tmp_path: Path, words: list[str]) -> None:
    code = (
        "import sys; from expkit.cli.run import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.stderr.splitlines()[-1] == "False", done.stderr


def test_out_of_memory_is_told_with_what_helps(tmp_path: Path, image_files: Callable[..., Path]) -> None:
    """The limit lets a small batch through and no large one; what was kept before stays."""
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(40)))
    pets = [
        "dataset=image_folder",
        f"dataset.root={root}",
        "dataset.num_workers=0",
        "model=resnet18",
        "device.threads=1",
    ]
    limited = (
        "import resource, sys; from expkit.runs import build as assembly; from expkit.cli import run;"
        " import torch, torchvision;"
        " used = int(open('/proc/self/statm').read().split()[0]) * 4096;"
        " resource.setrlimit(resource.RLIMIT_AS, (used + 900_000_000,) * 2); run.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, *pets, "batch_size=64", "epochs=1", "transforms.image_size=224"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(
        r"memory ran out at step 1 \(epoch 1\) with batch_size=64; this process had used \d\.\d\d GiB", done.stdout
    )
    assert "device.micro_batch=32 computes the same batches in smaller parts" in done.stdout
    assert "Traceback" not in done.stderr
