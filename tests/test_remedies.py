"""What a message advises works: each mistake of the table is made, and then the remedy that is printed is followed."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from expkit.config.compose import compose_one, plain
from expkit.config.hydra_settings import refuse_unheeded
from expkit.core.errors import ConfigError
from expkit.runs.build import build
from expkit.runs.check import check
from tests.forks import Forks

SMALL = [
    "dataset.train_images=16",
    "dataset.val_images=16",
    "epochs=1",
    "model.width=4",
    "logger=none",
    "limit_train_batches=1",
]

# (what is typed, what the message says, what is typed then; none: the message says what the mistake is)
MISTAKES = [
    (["schedule=cosine", "schedule.warmup_epochs=9"], "schedule.warmup_epochs: ", ["schedule=cosine"]),
    (["schedule=cosine", "schedule.warmup_steps=9"], "schedule.warmup_steps: ", ["schedule=cosine"]),
    (["model.name=smal_resnet"], "did you mean 'small_resnet'?", ["model.name=small_resnet"]),
    (["optimizer.lrr=1"], "did you mean 'lr'?", ["optimizer.lr=1"]),
    (["seed:1"], "did you mean 'seed=1'?", ["seed=1"]),
    (["batch_size=8,16"], "add -m to run each of them", ["-m", "batch_size=8,16"]),
]  # fmt: skip
REFUSED = [
    (["dataset=imagenet", "dataset.root=."], "put its files there", "dataset.download"),
    (["dataset.frobnicated=true"], "no dataset has an option 'frobnicated'", "adds one"),
    (["hydra/launcher=ray", "-m", "seed=0,1"], "install expkit[ray]", "there is "),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), MISTAKES)
def test_the_remedy_works(commands: Forks, tmp_path: Path, typed: list[str], said: str, then: list[str]) -> None:
    done = commands.run(tmp_path, *typed, *SMALL)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    done = commands.run(tmp_path, *then, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("typed", "said", "never"), REFUSED)
def test_no_remedy_that_is_refused(commands: Forks, tmp_path: Path, typed: list[str], said: str, never: str) -> None:
    done = commands.run(tmp_path, *typed)
    assert done.returncode != 0
    assert said in done.stderr
    assert never not in done.stderr


def remedies(message: str) -> list[list[str]]:
    """Return the overrides that a message says to type, those that stand side by side in one list."""
    found: list[tuple[int, int, str]] = []
    for match in re.finditer(r"'\+{0,2}[\w./]+=(?:[^']|'\"'\"')*'|(?<![\w.'/])\+{0,2}[a-z][\w./]*=\S+", message):
        text = match[0] if match[0][0] == "'" else match[0].rstrip(";,.:?)`")
        found.append((match.start(), match.start() + len(text), shlex.split(text)[0]))
    lists: list[list[str]] = []
    end = -2
    for start, stop, word in found:
        if start == end + 1:
            lists[-1].append(word)
        else:
            lists.append([word])
        end = stop
    return lists


FILLED = {
    "+optimizer.amsgrad": "true", "sampler.class_weights": "[1,2]", "loss.class_weights": "[1,2]",
    "dataset.root": "kaggle", "output_dir": "runs",
}  # fmt: skip
PETS = ["dataset=image_folder", "dataset.root=pets", "batch_size=2"]
# What is typed; each remedy that is printed then is typed in place of what the message is about.
REFUSED_AT_ONCE = [
    ["batch=16"],
    ["+batchsize=3"],
    ["bs=4"],
    ["optim=sgd"],
    ["num_workers=2"],
    ["optimizer.momentum=0.9"],
    ["optimizer.amsgrad=true"],
    ["optimizer.nesterov=true"],
    ["loss=bce"],
    ["dataset.drop_last=true", "batch_size=50"],
    ["batch_size=auto"],
    ["on_nan=roll_back", "checkpoint=none"],
    ["ema_decay=0.9", "swa_from=0.5"],
    ["checkpoint.monitor=acuracy"],
    ["device=cpu:0"],
    ["schedule=StepLR"],
    ["hydra.run.dir=my runs"],
    ["hydra.sweep.dir=my sweeps"],
    ["sampler=weighted"],
    ["sampler=weighted", "sampler.class_weights={größe: 2}"],
    ["loss.class_weights={größe: 2}"],
    ["dataset=dogcat"],
    ["dataset=dogcat", "dataset.root=cows, and 'more'"],
    ["dataset=dogcat", "dataset.root=kaggle", "dataset.val_root=kaggle/test1"],
    ["dataset=image_folder", "dataset.root=kaggle"],
    ["dataset=image_folder", "dataset.root=kaggle/train"],
    ["dataset=image_folder", "dataset.root=outer"],
    ["dataset=image_folder", "dataset.root=pets", "dataset.val_root=outer/a (1), b's"],
    ["dataset=image_folder", "dataset.root=ones"],
]


def fault_of(words: list[str]) -> str:
    """Return what is wrong with a command line, "" for nothing; nothing is written."""
    chosen = {word.partition("=")[0] for word in words}
    shapes = ["dataset.size=32", "dataset.train_images=40", "dataset.val_images=10"] * ("dataset" not in chosen)
    small = ["epochs=2"] + ["model.width=4"] * ("model" not in chosen) + ["batch_size=8"] * ("batch_size" not in chosen)
    small += [word for word in ("logger=none", "dataset.num_workers=0") if word.partition("=")[0] not in chosen]
    try:
        config = plain(compose_one([*shapes, *small, *words]))
        refuse_unheeded(words, is_sweep=False, is_ours=False)
        check(config)
        build(config)
    except ConfigError as error:
        return "\n".join(error.faults)
    return ""


@pytest.fixture
def folders(image_files: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    several = [f"{name}.{number}.jpg" for name in ("cat", "dog", "cow") for number in range(4)]
    image_files("cows, and 'more'", *several)
    image_files("kaggle", *(f"train/{name}" for name in several[:8]), *(f"test1/{number}.jpg" for number in range(5)))
    image_files("pets", *(f"{name}/{number}.jpg" for name in ("größe", "dog") for number in range(4)))
    splits = [f"{split}/{name}/{n}.jpg" for split in ("train", "val") for name in ("größe", "dog") for n in range(4)]
    image_files("outer/a (1), b's", *splits)
    image_files("ones", "a/1.jpg", "b/1.jpg")


@pytest.mark.parametrize("typed", REFUSED_AT_ONCE, ids=" ".join)
def test_what_a_message_says_to_type_is_taken(typed: list[str], folders: None) -> None:
    base = PETS if any("größe" in word or word == "sampler=weighted" for word in typed) else []
    message = fault_of([*base, *typed])
    said = remedies(message)
    about = {fault.partition(": ")[0] for fault in message.splitlines()}
    if left_out := re.search(r"leave ([\w.]+) out", message):
        said.append([])
        about.add(left_out[1])
    assert said, message
    if file := re.search(r"`(name: .*)` and `(.*)` into (conf/\S+)", message):
        Path(file[3]).parent.mkdir(parents=True)
        Path(file[3]).write_text(f"{file[1]}\n{file[2]}\n", encoding="utf-8")
    for words in said:
        filled = [
            f"{word.partition('=')[0]}={FILLED[word.partition('=')[0]]}" if "…" in word else word for word in words
        ]
        keys = {key_of(word) for word in filled}
        others = [word for word in typed if key_of(word) not in keys]
        without = [word for word in others if key_of(word) not in about]
        assert not fault_of([*base, *others, *filled]) or not fault_of([*base, *without, *filled]), (filled, message)


def key_of(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


PRINTED_FOLDERS = ["plain", 'two words, o\'clock "x" a=b (1), [2]; {3} #4 größe $HOME']


@pytest.mark.parametrize("place", PRINTED_FOLDERS)
def test_the_doctors_command_can_be_pasted(
    place: str, image_files: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from expkit.cli.doctor import main

    monkeypatch.chdir(tmp_path)
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(6)))
    (root / "cat/0.jpg").write_bytes(b"nothing")
    words = [
        "dataset=image_folder",
        "dataset.root=pets",
        f"output_dir={place}",
        "dataset.num_workers=0",
        "batch_size=2",
    ]
    with pytest.raises(SystemExit):
        main(words)
    printed = capsys.readouterr().out
    (command,) = re.findall(r"^then +(python .*)$", printed, re.M)
    (remedy,) = re.findall(r"^ +\w+: ('?dataset.exclude=.*)$", printed, re.M)
    for line in (command.removeprefix("python -m expkit.run "), f"{shlex.join(words)} {remedy}"):
        typed = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
        config = plain(compose_one([*typed.stdout.split("\0")[:-1], "model.width=4", "logger=none"]))
        check(config)
        assert len(build(config).splits.train) + len(build(config).splits.val or []) == 11


@pytest.mark.parametrize("place", range(4))
def test_a_flag_may_stand_anywhere(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from expkit.cli.run import main

    (tmp_path / "my configs/experiment").mkdir(parents=True)
    (tmp_path / "my configs/experiment/mine.yaml").write_text("# @package _global_\nepochs: 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["seed=3", "experiment=mine", "batch_size=5"]
    for flags in (["--config-dir", "my configs"], ["--config-dir=~/my configs"]):
        main([*words[:place], *flags, *words[place:], "--cfg", "job"])
        printed = capsys.readouterr().out
        assert all(line in printed.splitlines() for line in ("seed: 3", "batch_size: 5", "epochs: 7")), printed
