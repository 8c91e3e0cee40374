"""report.html: whole, safe, readable on a phone and in the dark, and made of any run folder, in whatever state."""

import json
import os
import sys
from pathlib import Path

import pytest

from expkit.cli.report import main
from expkit.records.report import template as page
from expkit.records.report import write_report
from tests.records.report.browser import opened
from tests.records.report.runs import NASTY, show_all, write_run


def test_a_browser_shows_everything_and_asks_for_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    show_all(folder)
    with opened(write_report(folder)) as (page, heard):
        assert heard == []
        headings = [one.inner_text() for one in page.query_selector_all("h2")]
        assert headings == ["Curves", "Scores in detail", "Pictures", "Model", "Config", "Record", "Environment"]
        titles = [one.text_content() for one in page.query_selector_all(".chart figcaption")]
        assert titles[:3] == ["loss", "accuracy", "learning rate"]
        assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth == 90)")
        assert page.locator(".matrix td.cell").all_inner_texts() == ["8", "2", "", "10"]
        page.locator("svg[data-lines]").first.hover()
        assert "val" in page.locator(".tip").inner_text()
        page.mouse.move(2, 2)
        assert page.locator(".tip").count() == 0
        assert heard == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_phone_and_follows_dark_mode(dark: bool, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a_run_with_a_long_name_that_has_to_break_somewhere_2026-01-02_03-04-05")
    show_all(folder, "a_class_with_an_uncommonly_long_name_for_a_class")
    with opened(write_report(folder), width=360, height=740, dark=dark) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        paper, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
        light, text = (sum(map(int, one[4:-1].split(","))) / 3 for one in (paper, ink))
        assert (light < 60 and text > 200) if dark else (light > 230 and text < 60)
        assert float(page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")) >= 14


def test_names_from_outside_never_become_markup(tmp_path: Path) -> None:
    """Class names, file names, the command and the reason may be chosen by a stranger."""
    folder = write_run(tmp_path / "run", status="failed", text=NASTY)
    show_all(folder, NASTY)
    with opened(write_report(folder)) as (page, heard):
        assert page.title() == "run"
        assert page.locator("script").count() == 1
        assert page.locator("img").count() == 1
        assert page.locator("[onerror], [onload]").count() == 0
        assert NASTY in page.locator(".notice").inner_text()
        assert heard == []


def test_the_page_may_run_no_other_script(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path / "run"))
    path.write_text(path.read_text().replace("</main>", "<script>document.title = 'hacked'</script></main>"))
    with opened(path) as (page, heard):
        assert page.title() == "run"
        assert any("Content Security Policy" in one for one in heard)


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_run_that_did_not_finish_says_so(status: str, tmp_path: Path) -> None:
    text = write_report(write_run(tmp_path / "run", status=status, epochs=1)).read_text()
    assert f'<span class="pill {status}">{status}</span>' in text
    assert ("it could not read cat" in text) is (status == "failed")


def test_damaged_and_missing_files_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    show_all(folder)
    (folder / "env.json").write_text('{"python": ')
    (folder / "config.yaml").write_text("a: &x [1]\nb: [*x, *x\n")
    (folder / "data.json").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epoch", "ste')
    lines = [
        {"kind": "picture", "name": "val/away", "epoch": 0, "step": 0, "file": "../../secret.png"},
        {"kind": "matrix"},
    ]
    with (folder / "exhibits.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in [*lines, {"kind": "curves", "name": "val/x", "lines": 3}])
    text = write_report(folder).read_text()
    named = ["env.json is damaged", "config.yaml is damaged", "metrics.jsonl: skipped 1 damaged line"]
    for sentence in [*named, "val/away cannot be shown", "leads out of the run folder", "val/x cannot be shown"]:
        assert sentence in text
    assert "<polyline" in text
    assert "data:image/webp" in text


def test_an_empty_folder_and_one_that_is_none_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "record.json").write_text("")
    with pytest.raises(SystemExit) as done:
        main([str(folder), str(tmp_path / "none")])
    assert done.value.code == 2
    out, err = capsys.readouterr()
    assert out.strip() == str(folder / "report.html")
    assert "none: is no run folder; give one such as outputs/NAME_DATE_TIME" in err


def test_the_compiled_template_is_kept_for_the_user_and_never_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in the user's cache: torn, or impossible to write, it changes nothing. The package's folder stays."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    package = _files_of_the_package()
    folder = write_run(tmp_path / "run")
    (tmp_path / "file").touch()
    pages = []
    for cache in ("new", "new", "torn", "file", "relative", "home", "nobody"):
        _have_cache(cache, tmp_path, monkeypatch)
        page._environment.cache_clear()
        pages.append(write_report(folder).read_text())
        kept = sorted((tmp_path / "cache").rglob("*.cache"))
        assert [one.name.startswith("__jinja2_") for one in kept] == [True, True]  # report.html and base.html
    page._environment.cache_clear()
    assert pages[1:] == pages[:1] * 6
    assert len(list((tmp_path / "home" / ".cache" / "expkit" / "templates").iterdir())) == 2
    assert _files_of_the_package() == package


def _have_cache(what: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a cache folder that is new, whose files are torn, that is a file or is not absolute; or none."""
    at = {"file": str(place / "file"), "relative": "cache"}.get(what, str(place / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", at if what not in ("home", "nobody") else "")
    monkeypatch.setenv("HOME", str(place / "home"))
    if what == "torn":
        for one in (place / "cache").rglob("*.cache"):
            one.write_bytes(one.read_bytes()[:-100])
    if what == "nobody":  # a container's user without a name or a home
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os, "getuid", lambda: 54_321)


def _files_of_the_package() -> set[Path]:
    return {path for path in Path(page.__file__).parents[1].rglob("*") if path.suffix != ".pyc"}
