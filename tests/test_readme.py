"""Each command, override and snippet of README.md and docs/ is run, or checked as a run checks it before it starts."""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import expkit
from expkit.cli.main import main as expkit_main
from expkit.cli.run import main as run_main
from expkit.config import plugins
from expkit.config.command_line import plan
from expkit.config.plan import JobConfig
from expkit.config.registry import GROUPS
from expkit.config.run_options import RunOptions
from expkit.runs.check import check_plan
from tests.pages import Block, blocks, spans, tables

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = pytest.mark.skipif(not os.environ.get("EXPKIT_LONG"), reason="takes long: set EXPKIT_LONG=1")

# What no test here runs, and why; everything else must be one that is run or checked below.
ELSEWHERE = {
    "python3 -m venv .uv && .uv/bin/pip install -q uv && .uv/bin/uv run python -m expkit.run": "sets up an environment"
    " with a package index; the command itself is run below, tests/bench/main_job.py measures it whole",
    "python3 -m venv .uv && .uv/bin/pip install -q uv && .uv/bin/uv run pytest": "is what .ci/run runs",
    "tensorboard --logdir outputs": "runs until it is ended; tests/loggers/test_tensorboard.py reads what it reads",
    "python -m expkit visdom": "runs until it is ended; tests/test_visdom.py starts it",
    "uv run --with lightning --with pytorch-ignite --with accelerate --with mmengine": "installs what is measured",
    "wandb sync": "needs the service; tests/loggers/test_others.py reads the run that is kept",
    "torchrun --nproc-per-node=2 -m expkit.run device=multi_gpu": "needs GPUs; tests/devices/test_ranks.py runs it"
    " with device=multi_cpu",
    "srun --nodes=2 --ntasks-per-node=1 python -m expkit.run device=multi_node device.nodes=2"
    " device.endpoint=$HOST:29400 device.trust_network=true": "needs Slurm and two machines; the config is checked"
    " below, and tests/devices/test_ranks.py runs two launchers on one",
    'scores = {"my_score": True}': "is a line of a class; tests/training/test_watch_scores.py has one",
    "pip install 'setuptools<81' wheel && pip install --no-build-isolation 'visdom<0.3' 'tornado<6.6'": "installs an"
    " older Visdom",
    ".uv/bin/uv pip install -e '.[timm]'": "installs packages",
    'eval "$(expkit -sc install=bash)"': "is for a shell; tests/cli/completion/test_shells.py types in one",
    'eval "$(expkit -sc install=zsh)"': "is for a shell; tests/cli/completion/test_shells.py types in one",
    "expkit -sc install=fish | source": "is for a shell; tests/cli/completion/test_shells.py asks one",
    "#SBATCH --signal=USR1@120": "a line for Slurm; tests/test_resume.py sends the signal",
}
MISTAKE = "model.width=wide optimizer.lr=fast"  # the page shows what is said to it
# Commands that take long, and are only checked without EXPKIT_LONG: all of a sweep's jobs are composed and checked.
SLOW = re.compile(r"python -m expkit\.run -m ")
SMALL = ["epochs=1", "batch_size=16", "watch=none", "device.threads=1", "output_dir=trained"]
SHAPES = ["dataset.root=shapes", "dataset.size=32", "dataset.train_images=40", "dataset.val_images=10"]
SHAPES += ["dataset.num_workers=0"]
ROOTS = {*GROUPS, *vars(RunOptions())} | {"experiment", "hydra", "sweep", "output_dir", "name"}


def kind(text: str) -> str:
    """Return what a code span is: "command", "overrides", "flags", or "" for a word, a file, a piece of code."""
    if text in (*ELSEWHERE, MISTAKE):
        return "elsewhere" if text in ELSEWHERE else "mistake"
    if re.match(r"(python -m expkit[. ]|find .*\| python -m expkit )", text):
        return "command"
    words = shlex.split(text) if text.count("'") % 2 == 0 else []
    if words and all(_is_override(word) or word in ("-m", "--dry") for word in words) and words != ["-m"]:
        return "overrides"
    if words and words[0].startswith("--"):
        return "flags"
    program = len(words) > 1 and words[0] in (
        "python",
        "python3",
        "uv",
        "pip",
        "bash",
        "srun",
        "torchrun",
        "tensorboard",
    )
    return "unknown" if program or "=" in text or "/uv " in text else ""


def _is_override(word: str) -> bool:
    found = re.match(r"[+~]?([a-z_]+)[\w./]*=", word)
    return bool(found) and found[1] in ROOTS


def everything(wanted: str) -> list[str]:
    """Return what the pages hold of a kind, each once, in their order."""
    lines = [line for page in PAGES for block in blocks(page) if block.language == "sh" for line in block.commands()]
    texts = [*(span for page in PAGES for span in spans(page)), *lines]
    return list(dict.fromkeys(text for text in texts if kind(text) == wanted))


def snippets(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of: images, files of words, a finished run, its record, weights."""
    folder = tmp_path_factory.mktemp("readme")
    for number in range(24):
        word, colour = (("cat", (200, 40, 30)), ("dog", (30, 60, 200)))[number % 2]
        path = folder / "images" / word / f"{word}.{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = Image.effect_noise((48, 40 + number), 60 + number).convert("RGB")
        Image.blend(noise, Image.new("RGB", noise.size, colour), 0.5).save(path)
    pictures = sorted((folder / "images").rglob("*.jpg"))
    rows = [f'{path.relative_to(folder / "images")}, {path.parent.name} ,"a note, and more"' for path in pictures]
    table = "\ufeff" + "\n".join(["path, class, note", *rows[:3], "", *rows[3:], "", ""])  # as a spreadsheet saves it
    (folder / "images" / "labels.csv").write_text(table, encoding="utf-8")
    (folder / "photos").mkdir()
    for name in ("photos/one.jpg", "photos/two.png", "more.jpg", "photo.jpg"):
        Image.new("RGB", (50, 40), (190, 50, 40)).save(folder / name)
    for block in [*snippets("python"), *snippets("yaml")]:
        if block.place:
            (folder / block.place).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.place).write_text(block.text)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        data = ["dataset=image_folder", "dataset.root=images", "dataset.num_workers=0", "transforms.image_size=32"]
        common = [*data, "epochs=4", "batch_size=8", "model.width=8", "optimizer.lr=0.01"]
        expkit.train([*common, "dataset.fold=0"]).folder.rename(folder / "outputs" / "RUN")
        expkit.train([*common, "dataset.fold=1"])
        torch.save(expkit.load("outputs/RUN").model.state_dict(), "weights.pth")
        run_in_process("python -m expkit reproduce outputs/RUN --export run.zip")
    return folder


@pytest.fixture
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder, as the one where one works; words that plugins add are forgotten afterwards."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(plugins, "_loaded", [])
    before = {group: (dict(registry._entries), dict(registry._lazy)) for group, registry in GROUPS.items()}
    yield place
    for group, registry in GROUPS.items():
        registry._entries, registry._lazy = before[group]
    for name in [name for name in sys.modules if name.startswith("expkit_plugin_my_")]:
        del sys.modules[name]


def filled(text: str) -> list[str]:
    """Return the words of a command, with this test's things in the places of those that stand for the reader's."""
    stands_for = {"FOLDER": "images", "IMAGENET": "images", "FILE.json": "labels.json", "DATA": "images"}
    if "FILE.safetensors" in text:
        stands_for["FILE.safetensors"] = next(Path("outputs/RUN/checkpoints").glob("*.safetensors")).name
    return [re.sub(r"\b[A-Z]+(\.[a-z]+)?\b", lambda hit: stands_for.get(hit[0], hit[0]), word)
            for word in shlex.split(text)]  # fmt: skip


def run_in_process(text: str) -> None:
    """Run `python -m expkit.NAME …` by its main; for training, with small settings behind it."""
    _, _, module, *words = filled(text)
    name = words.pop(0) if module == "expkit" else "run"
    trains = name == "run" and not {"--list", "--help", "--cfg"} & set(words)
    more = [] if any(word.startswith("dataset=") for word in words) else SHAPES
    if trains:
        more = [*SMALL, *more]
    elif name == "find-lr":
        more = ["--steps", "12", *SMALL[1:], *more]
    elif name != "doctor":
        more = []
    code: object = 0
    try:
        expkit_main([name, *words, *more])
    except SystemExit as end:
        code = end.code or 0
    assert code == 0, text


def checked(words: list[str]) -> list[JobConfig]:
    """Compose and check what stands behind `python -m expkit.run`, as it does before it starts; returns the jobs."""
    return check_plan(plan([word for word in words if word != "--dry"])).jobs


def test_nothing_is_unknown_to_this_test() -> None:
    assert everything("unknown") == []
    assert set(ELSEWHERE) == set(everything("elsewhere"))


def test_a_command_that_is_not_known_is_noticed() -> None:
    for text in ("pip install expkit", "modle=resnet18", "python train.py", "tensorboard --logdir elsewhere"):
        assert kind(text) == "unknown"


@pytest.mark.parametrize("text", everything("overrides"))
def test_overrides_compose_and_check(text: str, there: Path) -> None:
    assert checked(filled(text)) or "hydra/sweeper" in text


@pytest.mark.parametrize("text", [text for text in everything("command") if not SLOW.match(text)])
def test_commands_run(
    text: str, there: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if "logger=visdom" in text:
        monkeypatch.setenv("VISDOM_PORT", str(request.getfixturevalue("visdom_port")))
    before, bar, command = text.rpartition(" | ")
    if bar:
        monkeypatch.setattr(sys, "stdin", io.StringIO(subprocess.check_output(before, shell=True, text=True)))
    run_in_process(command)
    assert any(capfd.readouterr())


@pytest.mark.parametrize("text", [text for text in everything("command") if SLOW.match(text)])
def test_sweeps_compose_and_check(text: str, there: Path) -> None:
    assert len(checked(filled(text)[3:])) > 1


def test_the_answer_to_a_mistake_is_the_one_shown(there: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (shown,) = (block.text for block in blocks(ROOT / "README.md") if not block.language)
    assert everything("mistake") == [MISTAKE]
    with pytest.raises(SystemExit) as ended:
        run_main(MISTAKE.split())
    assert (ended.value.code, capfd.readouterr().err) == (2, shown)


@LONG
@pytest.mark.parametrize("text", [text for text in everything("command") if SLOW.match(text)])
def test_sweeps_run(text: str, there: Path) -> None:
    small = [*SMALL, *SHAPES, "transforms.image_size=64", "hydra.launcher.n_jobs=1"]
    words = [sys.executable, "-m", "expkit.run", *filled(text)[3:], *small]
    subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


@pytest.mark.parametrize("text", everything("flags"))
def test_flags_are_known(text: str) -> None:
    source = "".join(path.read_text() for path in (ROOT / "expkit").rglob("*.py"))
    for word in shlex.split(text):
        assert not word.startswith("--") or f'"{word}"' in source, word


def test_the_other_slurm_command_checks(there: Path) -> None:
    (text,) = (text for text in ELSEWHERE if text.startswith("srun"))
    assert checked(shlex.split(text.partition("expkit.run ")[2]))


@pytest.mark.parametrize("block", [block for block in snippets("python") if not block.place], ids=lambda _: "block")
def test_python_runs_as_it_stands(block: Block, there: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy("photo.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, "README", "exec"), {})


def test_own_words_of_four_groups_are_shown() -> None:
    named = {word for block in snippets("python") for word in re.findall(r"@(\w+)\.register", block.text)}
    assert named == {"models", "datasets", "transforms", "loggers"}
    for block in snippets("python"):
        if block.place:
            assert any(f"--plugin {block.place}" in command for command in everything("command")), block.place


def test_the_groups_are_all_of_conf() -> None:
    """The table of the groups names each file of conf/, and no other."""
    text = (ROOT / "README.md").read_text()
    rows = re.findall(
        r"^\| (\w+) \| ([^|]*) \|$", text.partition("## The groups")[2].partition("\n## ")[0], re.MULTILINE
    )
    for group, choices in rows:
        if group == "group":
            continue
        words = set(re.findall(r"\b[a-z_0-9]+\b", re.sub(r"\(.*?\)|`.*?`", "", choices.partition(";")[0])))
        files = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert words - {"or", "a", "list"} == files, group


def test_the_two_commands_are_those_of_ci() -> None:
    setup = next(block for block in blocks(ROOT / "README.md") if block.language == "sh").commands()
    assert len(setup) == 2
    assert setup[1] in (ROOT / ".ci" / "run").read_text()


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "README.zh.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
    for bench in set(re.findall(r"tests/[\w/]+\.py", "".join(page.read_text() for page in PAGES))):
        assert (ROOT / bench).exists(), bench


def rows(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]


def figures(line: str) -> list[str]:
    return sorted(found.strip(".,") for found in re.findall(r"\d[\d.,]*", line.partition(" | ")[2]))


def test_the_chinese_readme_says_the_same() -> None:
    """The same blocks but for comments, the same code in each row of each table, and the same figures."""
    english, chinese = ROOT / "README.md", ROOT / "README.zh.md"
    assert [block.code() for block in blocks(chinese)] == [block.code() for block in blocks(english)]
    assert tables(chinese) == tables(english)
    assert [figures(line) for line in rows(chinese)] == [figures(line) for line in rows(english)]
    assert Counter(spans(chinese)) == Counter(spans(english))
