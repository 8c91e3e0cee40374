"""compare: what differs, sorted and filtered, in the terminal, as CSV and in a browser; broken runs too."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from expkit.cli.compare import main
from expkit.core.run_folder import find_run_folders
from expkit.records.compare.filter import ordered
from expkit.records.compare.output import fitting
from expkit.records.compare.table import compare
from expkit.tasks.metrics import higher_is_better
from tests.records.report.browser import opened
from tests.records.report.runs import NASTY, write_run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Four runs: two finished, one failed, one broken; one of them lies deeper, as a sweep's do."""
    folder = tmp_path / "outputs"
    write_run(folder / "first", accuracy=0.7)
    slow = {"optimizer": {"name": "sgd", "lr": 0.1}, "output_dir": "elsewhere", "watch": {"a": 1}}
    write_run(folder / "sweeps" / "0" / "second", accuracy=0.9, config=slow)
    write_run(folder / "third", status="failed", epochs=1, accuracy=0.2)
    (folder / "fourth").mkdir()
    (folder / "fourth" / "record.json").write_text('{"id": "x", "sta')
    (folder / "notes").mkdir()
    return folder


def table(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    main([*arguments, "--csv", "-"])
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_what_differs_stands_beside_what_came_out(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table([str(outputs)], capsys)
    assert [row["run"] for row in rows] == ["second", "first", "third", "fourth"]  # the best first
    assert [row["status"] for row in rows] == ["finished", "finished", "failed", "broken"]
    assert {"optimizer.name", "optimizer.lr"} < set(rows[0])
    assert not {"output_dir", "watch.a", "epochs"} & set(rows[0])
    assert [row["optimizer.lr"] for row in rows] == ["0.1", "0.003", "0.003", ""]
    assert [row["best val/accuracy"][:6] for row in rows] == ["0.9", "0.6999", "0.2", ""]  # exact, not rounded
    assert [row["epochs done"] for row in rows] == ["3/3", "3/3", "1/3", "0/?"]


def overfitted(folder: Path, monitor: str, best: int, **config: object) -> Path:
    """Write a run of four epochs whose second has the best accuracy, and whose third has the lowest loss."""
    write_run(folder, config={"checkpoint": {"monitor": monitor}, **config})
    scores = [(0.5, 0.9), (0.8, 0.7), (0.7, 0.4), (0.6, 1.5)]
    points = [
        {"kind": "epoch", "epoch": number, "step": 10 * (number + 1), "val/accuracy": accuracy, "val/loss": loss}
        for number, (accuracy, loss) in enumerate(scores)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    result = {"epochs": 4, "scores": {"val/accuracy": 0.6, "val/loss": 1.5}, "seconds": 1.0, "monitor": monitor}
    if best:
        result |= {"best": f"epoch_{best:04d}_step_{10 * best:08d}.safetensors", "best_score": scores[best - 1][0]}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.mark.parametrize(
    ("monitor", "best", "row"),
    [
        ("accuracy", 2, ["2", "0.8", "0.7"]),
        ("loss", 3, ["3", "0.7", "0.4"]),
        ("accuracy", 0, ["2", "0.8", "0.7"]),  # checkpoint=none: the epoch that it would have been
        ("loss", 0, ["3", "0.7", "0.4"]),
        ("accuracy", 4, ["4", "0.6", "1.5"]),  # checkpoint.every=4: the others were not kept
    ],
)
def test_the_scores_of_the_kept_checkpoint_are_of_one_epoch(
    monitor: str, best: int, row: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overfitted(tmp_path / "run", monitor, best)
    found = table([str(tmp_path)], capsys)[0]
    assert [found[name] for name in ("best epoch", "best val/accuracy", "best val/loss")] == row
    assert [found[name] for name in ("epochs done", "last val/accuracy", "last val/loss")] == ["4/3", "0.6", "1.5"]


def test_a_bare_score_is_said_to_be_the_best_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overfitted(tmp_path / "a", "accuracy", 2)
    overfitted(tmp_path / "b", "loss", 3)
    for condition, names in {
        "accuracy>0.75": ["a"], "val/accuracy>0.75": ["a"], "best/accuracy>0.75": ["a"],
        "best/val/accuracy>0.75": ["a"], "best val/accuracy>0.75": ["a"],
        "last/accuracy<0.65": ["a", "b"], "last/val/loss<1": [], "best/loss<0.5": ["b"],
        "best epoch=2": ["a"], "last val/accuracy>0.5": ["a", "b"],
    }.items():  # fmt: skip
        arguments = [str(tmp_path), "--filter", condition, "--csv", "-"]
        if not names:
            with pytest.raises(SystemExit):
                main(arguments)
            continue
        main(arguments)
        output = capsys.readouterr()
        assert sorted(row["run"] for row in csv.DictReader(io.StringIO(output.out))) == names
        word = condition.partition(">")[0]
        told = f"--filter: {word} is of the best checkpoint's epoch (best/accuracy); last/accuracy is the last"
        assert (told in output.err) == (word in ("accuracy", "val/accuracy"))
    assert [row["best by"] for row in table([str(tmp_path), "--sort", "run"], capsys)] == ["val/accuracy", "val/loss"]
    assert [row["run"] for row in table([str(tmp_path), "--sort", "best/loss"], capsys)] == ["b", "a"]


def test_scores_on_other_images_are_no_rivals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, accuracy in (("a", 0.5), ("b", 0.7), ("c", 0.9), ("d", 0.8)):
        write_run(tmp_path / name, accuracy=accuracy)
        if name in "cd":
            data = json.loads((tmp_path / name / "data.json").read_text())
            data["val"]["fingerprint"] = "1" * 64
            (tmp_path / name / "data.json").write_text(json.dumps(data))
    comparison = compare(find_run_folders([tmp_path])[0])
    assert comparison.bests("best val/accuracy") == {"0" * 64: pytest.approx(0.7), "1" * 64: pytest.approx(0.9)}
    comparison.rows = ordered(comparison, None)
    assert [row.run.name for row in comparison.rows] == ["c", "d", "b", "a"]
    assert comparison.marked("best val/accuracy") == [True, False, True, False]
    main([str(tmp_path)])
    assert "evaluated on 2 different sets of images" in capsys.readouterr().out


def test_losses_of_two_kinds_are_no_rivals(tmp_path: Path) -> None:
    for number, name in enumerate(("cross_entropy", "bce", "bce")):
        overfitted(tmp_path / f"{name}{number}", "loss", 3, loss={"name": name})
    comparison = compare(find_run_folders([tmp_path])[0])
    assert comparison.bests("best val/loss") == {}
    assert comparison.rows[0].scale("best val/loss") != comparison.rows[-1].scale("best val/loss")


@pytest.mark.parametrize(
    ("name", "lower"),
    [("val/loss", True), ("best val/loss", True), ("val/accuracy", False), ("val/calibration_error", True),
     ("val/ece", True), ("last val/rmse", True), ("val/top5", False), ("val/f1", False), ("seconds", True),
     ("val/glossiness", False), ("val/mean_absolute_error", True), ("val/terror_recall", False)],
)  # fmt: skip
def test_the_direction_of_a_score_is_known_by_its_name(name: str, lower: bool) -> None:
    assert higher_is_better(name) != lower


def test_the_direction_of_a_chosen_score_is_the_one_that_the_runs_tell(tmp_path: Path) -> None:
    for run, score in {"one": 0.5, "two": 0.9}.items():
        folder = tmp_path / run
        write_run(folder)
        result = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps(result | {"directions": {"f1": False, "gap": "no"}}))
        point = {"kind": "epoch", "epoch": 0, "step": 10, "val/f1": score, "val/gap": score}
        (folder / "metrics.jsonl").write_text(json.dumps(point) + "\n")
    comparison = compare(find_run_folders([tmp_path])[0])
    assert (comparison.higher_is_better("best val/f1"), comparison.higher_is_better("best val/gap")) == (False, True)
    assert comparison.bests("last val/f1") == {comparison.rows[0].measured_on: 0.5}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--sort", "val/loss"], ["second", "first", "third", "fourth"]),
        (["--sort", "lr", "--reverse"], ["second", "first", "third", "fourth"]),
        (["--sort", "accuracy"], ["third", "first", "second", "fourth"]),
        (["--filter", "accuracy>0.5"], ["second", "first"]),
        (["--filter", "optimizer.name=sgd"], ["second"]),
        (["--filter", "status!=finished"], ["third", "fourth"]),
        (["--filter", "adamw", "--filter", "val/loss<=0.5"], ["first"]),
    ],
)
def test_it_sorts_and_filters(
    arguments: list[str], names: list[str], outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row["run"] for row in table([str(outputs), *arguments], capsys)] == names


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sort", "acuracy"], "--sort: there is no column 'acuracy'"),
        (["--filter", "best val/acuracy>1"], "did you mean 'best val/accuracy'?"),
        (["--filter", "accuracy>2"], "--filter: none of 4 runs meets accuracy>2"),
    ],
)
def test_a_mistake_is_named(
    arguments: list[str], sentence: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main([str(outputs), *arguments])
    assert done.value.code == 2
    assert sentence in capsys.readouterr().err


def test_patterns_files_and_inner_folders_name_each_run_once(outputs: Path) -> None:
    everything = [outputs / "**", *outputs.rglob("*"), outputs / "first" / "."]
    runs, empty = find_run_folders(everything)
    assert sorted(run.name for run in runs) == ["first", "fourth", "second", "third"]
    assert empty == [outputs / "notes"] * 2


def test_a_narrow_terminal_shows_the_most_telling_columns(outputs: Path) -> None:
    comparison = compare(find_run_folders([outputs])[0])
    narrow, wide = (fitting(comparison, width) for width in (60, 10_000))
    assert narrow[:3] == ["run", "status", "best val/accuracy"]
    assert len(narrow) < len(wide) == len(comparison.columns)


def test_the_command_prints_a_table_and_names_what_is_wrong(outputs: Path) -> None:
    command = [sys.executable, "-m", "expkit", "compare", "outputs/**", "--csv", "runs.csv"]
    done = subprocess.run(command, cwd=outputs.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "third: it could not read cat" in done.stdout
    assert "fourth: record.json is damaged" in done.stdout
    assert "outputs/compare.html, runs.csv" in done.stdout
    assert (outputs.parent / "runs.csv").read_text().count("\n") == 5


def test_the_page_sorts_filters_and_exports_in_a_browser(outputs: Path, tmp_path: Path) -> None:
    write_run(outputs / "fifth", text=NASTY)
    main([str(outputs), "--html", str(tmp_path / "page.html")])
    with opened(tmp_path / "page.html") as (page, heard):
        names = page.locator("tbody tr:visible td:first-child")
        assert names.all_inner_texts()[0] in ("second", "fifth")
        page.get_by_role("button", name="best val/loss").click()
        page.get_by_role("button", name="best val/loss").click()
        assert names.all_inner_texts()[-2:] == ["third", "fourth"]  # what has no value stands last
        page.locator("input[type=search]").fill("sgd")
        assert names.all_inner_texts() == ["second"]
        assert page.locator("#count").inner_text() == "1 of 5 runs"
        with page.expect_download() as download:
            page.locator("#csv").click()
        assert Path(download.value.path()).read_text().splitlines()[1].startswith("second,finished,0.9")
        assert page.locator("script").count() == 1
        assert heard == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert page.locator("svg .line").count() >= 10
