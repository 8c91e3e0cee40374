"""Which folders are runs."""

from pathlib import Path

from expkit.core.run_folder import find_run_folders


def test_runs_are_found_below_folders_and_by_patterns(tmp_path: Path) -> None:
    for name in ("a", "sweeps/one/000-b", "a/checkpoints"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a", "sweeps/one/000-b"):
        (tmp_path / name / "record.json").touch()
    (tmp_path / "empty").mkdir()
    a, b = tmp_path / "a", tmp_path / "sweeps/one/000-b"
    assert find_run_folders([tmp_path]) == ([a, b], [])
    assert find_run_folders([tmp_path / "*"]) == ([a, b], [tmp_path / "empty"])
    assert find_run_folders([a, a / "checkpoints", tmp_path / "none"]) == ([a], [tmp_path / "none"])
