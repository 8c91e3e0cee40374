"""Values that look like something else reach an option that takes text as they were typed, and paths of any letters."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expkit.config.command_line import plan
from expkit.config.compose import Place, compose_one, plain
from expkit.config.hydra_app import run_by_hydra
from expkit.config.hydra_loader import guarded
from expkit.config.hydra_settings import refuse_unheeded
from expkit.config.plan import plan_jobs
from expkit.config.run_options import RunOptions
from expkit.config.texts import as_meant, split
from expkit.core.errors import ConfigError
from expkit.core.escaping import as_override, quoted
from expkit.data.datasets import load
from expkit.runs.check import check, check_plan


def config(*overrides: str) -> dict[str, Any]:
    return plain(compose_one([*overrides]))


NAMES = ["2024_01", "1e5", "007", "0x10", "on", "yes", "true", "1.0", "nan", "-1", "1_000.5", "größe", "猫"]


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_what_was_typed(text: str) -> None:
    made = config(f"name={text}")
    assert made["name"] == text
    check(made)


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("dataset.classes", "[0,1]", ["0", "1"]), ("dataset.classes", "[yes,no]", ["yes", "no"]),
        ("dataset.classes", "[007,1e5,null,'null',true]", ["007", "1e5", "null", "null", "true"]),
        ("dataset.classes", "[größe,b]", ["größe", "b"]), ("dataset.classes", "null", None),
        ("dataset.root", "2024", "2024"), ("dataset.root", "null", "null"), ("dataset.val_root", "null", None),
        ("dataset.val_root", "1.50", "1.50"), ("dataset.max_bad", "1e-1", 0.1), ("dataset.num_workers", "0", 0),
        ("optimizer.lr", "1e-3", 0.001), ("optimizer.betas", "[0.9,0.95]", [0.9, 0.95]), ("epochs", "5", 5),
        ("name", "null", None), ("output_dir", "2024", "2024"), ("output_dir", "~/runs", "~/runs"),
        ("checkpoint.monitor", "1", "1"), ("checkpoint.resume", "null", None),
        ("loss.class_weights", "[1,2.5]", [1, 2.5]), ("model.freeze", "[0,1]", ["0", "1"]),
    ],
)  # fmt: skip
def test_an_option_has_what_it_takes(key: str, typed: str, value: Any) -> None:
    found: Any = config("dataset=dogcat", "dataset.root=x", f"{key}={typed}")
    for name in key.split("."):
        found = found[name]
    assert repr(found) == repr(value)


ODD = [
    "data (1)", "a=b", "(x)", "a(b", "c#d", "o'brien", 'say "x"', "a[x]", "[x]", "{x}", "its [x] ü=1", "$HOME", "größe",
    "a;b&c!d", "2024", "1e5", "null", "a:b", "100%", "back\\slash", "-dash", "a  b", "*", "a@b", "`x`", "x|y", "a^b",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_folders_of_any_name_are_found(
    name: str, image_files: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_files(name, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg")
    monkeypatch.chdir(tmp_path)
    made = config("dataset=image_folder", f"dataset.root={name}")
    check(made)
    assert made["dataset"]["root"] == name
    assert len(load(made["dataset"]).train) > 0


@pytest.mark.parametrize("name", [*ODD, "a,b", "x,(y", "choice(1", "[a", "~/x", "a\\", 'q"\\'])
def test_the_line_of_a_message_works_in_a_shell(name: str) -> None:
    word = f"hydra.sweep.dir={quoted(name)}"
    assert config(*shlex.split(shlex.quote(word).replace("hydra.sweep.dir", "name")))["name"] == name


@pytest.mark.parametrize(
    "name", [*ODD, "a,b", "x,(y", "choice(1", "[a", "a\\", 'q"\\', "${x}", "a${b}c", " a", "it's, {x}"]
)
def test_what_a_message_says_as_override_is_the_text(name: str) -> None:
    (word,) = shlex.split(as_override("checkpoint.resume", name))
    with guarded():
        assert config(word)["checkpoint"]["resume"] == name
        (word,) = as_meant([word], several=True)
        assert config(word)["checkpoint"]["resume"] == name


@pytest.mark.parametrize("word", ["dataset.root=a,b", "dataset.root=x,[y]", "hydra.run.dir=a(b", "hydra.run.dir=[a"])
def test_what_is_not_read_as_text_is_answered_with_the_line(word: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_plan(plan(["dataset=image_folder", word]))
    line = re.findall(r"write ('.*')", str(refused.value))
    (again,) = as_meant(shlex.split(line[0].partition(" for one text")[0]))
    assert again.partition("=")[2] == quoted(word.partition("=")[2])


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("name=2024_01,2024_02", ["2024_01", "2024_02"]), ("dataset.root=~/a,ü", ["~/a", "ü"]),
        ("dataset.root=2024,b", ["2024", "b"]), ('dataset.root="a,b",c', ["a,b", "c"]), ("seed=0,1", [0, 1]),
        ("seed=range(2)", [0, 1]), ("dataset.classes=[0,1],[1,0]", [["0", "1"], ["1", "0"]]),
        ("optimizer.lr=1e-3,1e-2", [0.001, 0.01]), ("model.width=choice(4,8)", [4, 8]),
    ],
)  # fmt: skip
def test_each_value_of_a_sweep_too(word: str, values: list[Any]) -> None:
    with guarded():
        words = as_meant(["dataset=dogcat", "dataset.root=x", "model=small_cnn", word], several=True)
        jobs = list(plan_jobs(words, True, Place()).jobs or ())
    found = []
    for job in jobs:
        one: Any = job.config
        for name in word.partition("=")[0].split("."):
            one = one[name]
        found.append(one)
    assert found == values


def test_texts_of_a_file_are_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "dataset/mine": "name: dogcat\nroot: 2024_01\nclasses: [yes, no, 007, ~, 1e5]\nval_fraction: 5e-1\n",
        "sampler/mine": "name: weighted\nclass_weights: {yes: 1, 007: 2.5, a: 3}\n",
        "experiment/mine": "# @package _global_\nname: 12:30\nepochs: 1_0\nmodel: {freeze: [on]}\n",
        "logger/mine": "board: {name: visdom, env: 2024_01}\n",
    }.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    made = config("dataset=mine", "sampler=mine", "experiment=mine", "logger=mine")
    assert made["dataset"]["root"] == "2024_01"
    assert made["dataset"]["classes"] == ["yes", "no", "007", "~", "1e5"]
    assert made["dataset"]["val_fraction"] == 0.5
    assert made["sampler"]["class_weights"] == {"yes": 1, "007": 2.5, "a": 3}
    assert (made["name"], made["epochs"], made["model"]["freeze"]) == ("12:30", 10, ["on"])
    assert made["logger"]["board"]["env"] == "2024_01"


def test_classes_that_are_numbers_have_weights(image_files: Callable[..., Path]) -> None:
    root = image_files("data", "0/1.jpg", "0/2.jpg", "1/1.jpg", "1/2.jpg")
    made = config(
        "dataset=image_folder", f"dataset.root={root}", "sampler=weighted", "sampler.class_weights={0:1,1:2.5}"
    )
    check(made)


@pytest.mark.parametrize(
    ("group", "chosen"), [("logger", {}), ("watch", {}), ("checkpoint", "none"), ("schedule", "constant")]
)
def test_null_chooses_none_of_a_group(group: str, chosen: Any) -> None:
    made = config(f"{group}=null", "experiment=null")[group]
    assert (made.get("name", made) or {}) == chosen


@pytest.mark.parametrize("group", ["dataset", "transforms", "sampler", "model", "loss", "optimizer", "device"])
def test_null_is_refused_where_there_must_be_a_choice(group: str) -> None:
    with pytest.raises(ConfigError, match=f"^{group}: null chooses nothing, and there must be a choice"):
        config(f"{group}=null")


def test_null_is_one_value_of_a_sweep() -> None:
    with guarded():
        words = as_meant(["experiment=debug,null", "model=glob(small*)"], several=True)
        jobs = list(plan_jobs(words, True, Place()).jobs or ())
    assert [job.overrides[0] for job in jobs] == ["experiment=debug"] * 2 + ["experiment=none"] * 2


@pytest.mark.parametrize(
    ("word", "chosen"),
    [("[tensorboard,null]", ["tensorboard"]), ("[null]", []), ("[null,null]", []), ("[Null, visdom]", ["visdom"])],
)
def test_null_in_a_list_chooses_nothing_more(word: str, chosen: list[str]) -> None:
    assert [*(config(f"logger={word}")["logger"] or {})] == chosen


@pytest.mark.parametrize(
    ("words", "is_sweep", "told"),
    [
        (["hydra.run.dir=x"], False, "hydra.run.dir: run folders are made in output_dir; give output_dir=x"),
        (["hydra.run.dir=x", "hydra.job.chdir=true"], False, ""), (["hydra.run.dir=."], False, ""),
        (["hydra.run.dir=x"], True, "hydra.run.dir: is for a single run"), (["hydra.sweep.dir=x"], True, ""),
        (["hydra.sweep.dir=x"], False, "hydra.sweep.dir: is for a sweep; add -m"),
        (["hydra.sweep.subdir=x"], True, "hydra.sweep.subdir: each job's folder"), (["hydra.verbose=true"], False, ""),
        (["hydra.verbose=true"], True, "hydra.verbose: "), (["hydra.job.chdir=true"], True, "hydra.job.chdir: "),
    ],
)  # fmt: skip
def test_settings_of_hydra_are_followed_or_refused(words: list[str], is_sweep: bool, told: str) -> None:
    if not told:
        refuse_unheeded(words, is_sweep, is_ours=is_sweep)
        return
    with pytest.raises(ConfigError) as refused:
        refuse_unheeded(words, is_sweep, is_ours=is_sweep)
    assert str(refused.value).startswith(told)


def test_hydra_shows_what_it_does(capfd: pytest.CaptureFixture[str]) -> None:
    began: list[dict[str, Any]] = []
    run_by_hydra(check_plan(plan(["hydra.verbose=true", "epochs=3"])), lambda config, given: began.append(config))
    assert began[0]["epochs"] == 3
    assert "Defaults Tree" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]), ("[a,b],c", ["[a,b]", "c"]), ('"a,b",c', ['"a,b"', "c"]), ("o'x,b", ["o'x", "b"]),
        ("{a:1,b:2}", ["{a:1,b:2}"]), ("", [""]), ("a),b", ["a)", "b"]), ("'a\\',b',c", ["'a\\',b'", "c"]),
    ],
)  # fmt: skip
def test_commas_within_brackets_and_quotes_part_nothing(text: str, parts: list[str]) -> None:
    assert split(text) == parts


def test_the_texts_at_the_top_of_the_config_are_known_without_torch() -> None:
    from expkit.config.signature import describe, options_of
    from expkit.config.texts import _TEXT_SCALARS

    texts = [name for name, option in options_of(RunOptions).items() if "text" in describe(option.annotation)]
    assert tuple(texts) == _TEXT_SCALARS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tga(log,interval(1,2))", "there is no function 'tga'; did you mean 'tag'?"),
        ("tag(log,intervall(1,2))", "there is no function 'intervall'; did you mean 'interval'?"),
        ("choise(1,2)", "there is no function 'choise'; did you mean 'choice'?"),
        ("loguniform(1e-4,1e-1)", "there is no function 'loguniform'; write tag(log,interval(LOW,HIGH))"),
        ("randint(1,8)", "there is no function 'randint'; write int(interval(LOW,HIGH))"),
        ("quux(1,2)", "there is no function 'quux'; there is interval, range, choice, tag,"),
        ("interval(1)", "interval(1) cannot be read; write interval(LOW,HIGH)"),
        ("tag(log,0.1,0.01)", "tag(log,0.1,0.01) cannot be read; write tag(log,interval(LOW,HIGH))"),
    ],
)
def test_a_function_that_is_misspelt_or_misused_is_named(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        as_meant([f"optimizer.lr={text}"], several=True)
    assert str(refused.value).startswith(f"optimizer.lr: {told}")
