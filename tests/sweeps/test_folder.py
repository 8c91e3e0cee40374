"""A sweep's folder: one for each sweep, however many begin at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from expkit.core.errors import ConfigError
from expkit.core.lock import FolderInUse
from expkit.sweeps.folder import SweepFolder


def test_sweeps_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    def make(number: int) -> Path:
        return SweepFolder.make(str(tmp_path), None, [str(number)], "a command", []).path

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(24)))
    assert len(set(made)) == 24


def test_a_sweep_whose_twin_has_ended_meanwhile_goes_on_with_it(tmp_path: Path) -> None:
    first = SweepFolder.make(str(tmp_path), None, ["a"], "a command", [])
    assert first.is_new
    with pytest.raises(FolderInUse):
        SweepFolder.make(str(tmp_path), None, ["a"], "a command", [])
    first.lock.release()
    second = SweepFolder.make(str(tmp_path), None, ["a"], "a command", [])
    assert (second.path, second.is_new) == (first.path, False)
    assert SweepFolder.make(str(tmp_path), None, ["a"], "a command", [], again=True).is_new


def test_a_typed_folder_belongs_to_the_first_that_takes_it(tmp_path: Path) -> None:
    SweepFolder.make("", str(tmp_path / "mine"), ["a"], "a command", []).lock.release()
    with pytest.raises(ConfigError, match="was taken by another sweep just now"):
        SweepFolder.make("", str(tmp_path / "mine"), ["b"], "another command", [])
