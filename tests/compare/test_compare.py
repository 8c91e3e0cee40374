"""compare: what differs, sorted and filtered, in the terminal, as CSV and in a browser; broken runs too."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from expkit.compare.__main__ import main
from expkit.compare.runs import compare, find_runs
from expkit.compare.show import fitting
from tests.report.browser import opened
from tests.report.runs import NASTY, write_run


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
        (["--filter", "val/acuracy>1"], "did you mean 'val/accuracy'?"),
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
    runs, empty = find_runs(everything)
    assert sorted(run.name for run in runs) == ["first", "fourth", "second", "third"]
    assert empty == [outputs / "notes"] * 2


def test_a_narrow_terminal_shows_the_most_telling_columns(outputs: Path) -> None:
    comparison = compare(find_runs([outputs])[0])
    narrow, wide = (fitting(comparison, width) for width in (60, 10_000))
    assert narrow[:3] == ["run", "status", "best val/accuracy"]
    assert len(narrow) < len(wide) == len(comparison.columns)


def test_the_command_prints_a_table_and_names_what_is_wrong(outputs: Path) -> None:
    command = [sys.executable, "-m", "expkit.compare", "outputs/**", "--csv", "runs.csv"]
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
