"""What is wrong with a file of configs, and what then stands in it, or is typed: YAML, references, Hydra's own node."""

from pathlib import Path
from typing import Any

import pytest

from expkit.config.config_safety import guard_job
from expkit.config.interpolation import refuse_growth
from expkit.config.yaml_safety import load_vetted, parse_value, parse_vetted, vet
from expkit.core.errors import ConfigError
from tests.remedies.told import fault_of_line, says, words_of

ALIASES = "a: &a [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcd", "bcde", strict=True)
)
# (what stands in a file, what is said, what then stands there)
TEXTS: list[tuple[str, str, str]] = [
    ("a: 1\n---\nb: 2\n", "a config is one document", "a: 1\nb: 2\n"),
    (ALIASES, "use fewer aliases", ALIASES.replace("e: ", "# e: ")),
    ("a: " + "[" * 40 + "]" * 40, "a config is a few levels deep", "a: [[0]]"),
    ("a: !!python/name:os.system x", "a config holds plain values only, remove it", "a: x"),
    ("a: &a b\n*a : 1", "write the key out", "a: &a b\nb: 1"),
    ("a: *b", "names nothing before it, or holds itself; write the value out", "a: b"),
    ("a: &a [*a]", "names nothing before it, or holds itself; write the value out", "a: [0]"),
    ("name: ${oc.env:HOME}", "may not read the environment or compute; write it out", "name: me"),
    ("name: " + "x" * 5000, "put it in quotes", f"name: '{'x' * 5000}'"),
    ("name: " + "1" * 400, "if it is a text, put it in quotes", f"name: '{'1' * 400}'"),
    ("seed: 1\nseed: 2", "the key 'seed' is here twice; remove one", "seed: 1"),
    ("searchpath: [x]", "give hydra.searchpath=… on the command line", "seed: 1"),
    ("env_copy: [HOME]", "pass the value on the command line", "name: me"),
    ("{[a]: 1}", "stands where a key must; a key is a word", "{a: 1}"),
    ("[a, b]", "a config file holds `key: value` lines, and this one does not", "a: b"),
    ("seed", "a config file holds `key: value` lines, and this one does not", "seed: 1"),
    ("a: [1", "is not YAML", "a: [1]"),
]


@pytest.mark.parametrize(("text", "said", "then"), TEXTS, ids=[row[1] for row in TEXTS])
def test_the_text_is_taken_then(text: str, said: str, then: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_vetted(text.encode(), "conf/a.yaml")
    assert says(str(raised.value), said)
    assert parse_vetted(then.encode(), "conf/a.yaml")


def test_a_value_that_is_none_is_put_in_quotes_then() -> None:
    with pytest.raises(ConfigError, match="put it in quotes"):
        parse_value("1" * 400, "name")
    assert parse_value(f"'{'1' * 400}'", "name") == "1" * 400


def test_the_file_is_read_then(tmp_path: Path) -> None:
    """A user fixes the file's place and its encoding by hand."""
    conf, outside, mine = tmp_path / "conf", tmp_path / "outside.yaml", tmp_path / "conf/mine.yaml"
    conf.mkdir()
    outside.write_text("seed: 1\n")
    mine.symlink_to(outside)
    with pytest.raises(ConfigError, match="copy the file into the folder"):
        vet(mine, conf)
    mine.unlink()
    mine.mkdir()
    with pytest.raises(ConfigError, match="a config is a YAML file"):
        vet(mine, conf)
    mine.rmdir()
    mine.write_bytes("name: größe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        vet(mine, conf)
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        load_vetted(mine)
    mine.write_text("name: größe\n", encoding="utf-8")
    vet(mine, conf)
    assert load_vetted(mine) == {"name": "größe"}


CHAIN = {f"k{number}": f"${{k{number + 1}}}" for number in range(300)}
GROWTH = {"a": "x" * 90} | {y: f"${{{x}}}" * 10 for x, y in zip("abcdef", "bcdefg", strict=True)}
# (a config, what is said, the config then)
TREES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"a": "${b}", "b": "${a}"}, "its reference leads back to itself; write the value out", {"a": "${b}", "b": 1}),
    (CHAIN, "references lead from one to the next; write it out", CHAIN | {"k150": 1}),
    (GROWTH, "use fewer references", {key: GROWTH[key] for key in "abcd"}),
    ({"model": {"_target_": "os.system"}}, "use a `name` from `python -m expkit.run --list`", {"model": {"name": "x"}}),
    ({"name": "${oc.env:HOME}"}, "may not read the environment or compute; give the value itself", {"name": "me"}),
]


@pytest.mark.parametrize(("tree", "said", "then"), TREES, ids=[row[1] for row in TREES])
def test_the_config_is_taken_then(tree: dict[str, Any], said: str, then: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        guard_job(tree)
    assert says(str(raised.value), said)
    guard_job(then)
    refuse_growth(then)


# (what a file says to Hydra, what is said, what then stands there, and what is typed beside it)
HYDRA: list[tuple[str, str, str, str]] = [
    ("job: {name: a b}", "only the command line may set it to 'a b'; give {}=… there", "", "'hydra.job.name=a b'"),
    ("run: {dir: runs}", "only the command line may set it to 'runs'; give output_dir=… there", "", "output_dir=runs"),
    ("sweep: {dir: runs}", "only the command line may set it to 'runs'; give {}=… there", "",
     "-m seed=0,1 hydra.sweep.dir=runs"),
    ("job: {env_set: {A: b}}", "set the variable in the shell that starts the run", "", ""),
    ("job_logging: {root: {handlers: [ext://os.system]}}", "'{}' is code from outside Hydra; a stream is {}", "", ""),
    ("sweeper: {params: {hydra.job.name: 'a,b'}}", "give the rest on the command line",
     "sweeper: {params: {seed: '0,1'}}", "-m"),
    ("sweeper: {params: {seed: [0, 1]}}", "its value must be one line of text or a number",
     "sweeper: {params: {seed: '0,1'}}", "-m"),
    ("searchpath: [file://more]", "give hydra.searchpath=… on the command line", "", "hydra.searchpath=[file://conf]"),
    ("job: {env_copy: [HOME]}", "pass the value on the command line", "", "name=me"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "said", "then", "words"), HYDRA, ids=[row[0] for row in HYDRA])
def test_what_a_file_may_not_say_to_hydra_is_typed_then(
    node: str, said: str, then: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("conf/experiment/mine.yaml")
    file.parent.mkdir(parents=True)
    typed = ["experiment=mine", "logger=none"]
    file.write_text(f"# @package _global_\nhydra:\n  {node}\n")
    message = fault_of_line.__wrapped__(*["-m"] * ("sweep" in node), *typed)
    assert says(message, said), message
    file.write_text(f"# @package _global_\nhydra:\n  {then}\n" if then else "# @package _global_\nepochs: 2\n")
    assert not fault_of_line.__wrapped__(*typed, *words_of(words))


@pytest.mark.parametrize("text", ["epochs: 3\n", "defaults:\n  - override /dataset: shapes\n", "# mine\nepochs: 3\n"])
def test_an_experiment_without_the_line_that_makes_it_count_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("conf/experiment/deep/mine.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    typed = ["experiment=deep/mine", "logger=none"]
    message = fault_of_line.__wrapped__(*typed)
    assert says(message, "conf/experiment/deep/mine.yaml: sets nothing; make `# @package _global_` its first line")
    file.write_text(f"# @package _global_\n{text}")
    assert not fault_of_line.__wrapped__(*typed)
