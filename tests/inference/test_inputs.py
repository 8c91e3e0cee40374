"""Which images a command line names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from expkit.core.errors import ConfigError
from expkit.inference import collect_images

Files = Callable[..., Path]


def test_files_folders_patterns_and_lists(image_files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image_files("p", "a/1.jpg", "a/b/2.jpg", "c/3.png").parent)
    (Path("p") / "a" / "notes.txt").write_text("no image")
    everything = ["p/a/1.jpg", "p/a/b/2.jpg", "p/c/3.png"]
    assert collect_images(["p"]) == everything
    assert collect_images(["p/c/3.png", "p/a"]) == ["p/c/3.png", "p/a/1.jpg", "p/a/b/2.jpg"]
    assert collect_images(["p/**/*.*g"]) == everything
    assert collect_images(["p/*"]) == everything
    assert collect_images(["p/a/1.jpg", "p", "p/c/3.png"]) == everything
    assert collect_images(["-"], ["p/c/3.png\n", "\n", "gone.jpg\r\n"]) == ["p/c/3.png", "gone.jpg"]


def test_a_file_whose_name_looks_like_a_pattern(image_files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image_files("p", "a[1].jpg"))
    assert collect_images(["a[1].jpg"]) == ["a[1].jpg"]


@pytest.mark.parametrize("words", [["gone.jpg"], ["*.tiff"], ["empty"], ["-"]], ids=str)
def test_nothing_there_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("empty")
    with pytest.raises(ConfigError, match="images: "):
        collect_images(words)
