"""What expkit keeps for the next time, and what others install: damaged, it is made anew or told in a sentence."""

import json
import os
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit.api import Run
from expkit.config.completion import cache, composed
from expkit.config.completion.overrides import complete_override
from expkit.config.plugin_scan import names_in
from expkit.config.plugins import load_plugins
from expkit.config.search_space import Axis
from expkit.core.errors import ConfigError
from expkit.records import data_locations, fingerprint
from expkit.records.cross_validation import show_folds
from expkit.records.epochs import mean_and_deviation
from tests.mutations import mutations, tried

IS_LONG = bool(os.environ.get("EXPKIT_LONG"))
FEW = 500 if IS_LONG else 4
MANY = 500 if IS_LONG else 60


def test_the_study_of_a_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra optuna: pip install 'expkit[optuna]'")
    from tests.sweeps.test_optuna_study import drawn, study

    axis = Axis("model", "choice", choices=("small_cnn", "resnet18"))
    rate = Axis("lr", "float", 1e-4, 1e-1, log=True)
    drawn(study(tmp_path, axis, rate), 0, 3)
    path = tmp_path / "study.db"

    def go_on() -> None:
        found = study(tmp_path, axis, rate)
        found.require({0, 1, 2})
        found.drop_unknown({0, 1, 2})

    content = path.read_bytes()
    for changed in mutations(content, FEW, seed=31):
        tried(go_on, changed, path)
    path.write_bytes(b"no database" * 500)
    with pytest.raises(ConfigError, match=r"study.db: cannot be read as a study .*; add --new"):
        go_on()
    path.unlink()
    with pytest.raises(ConfigError, match=r"study.db: has lost 3 trials of jobs.jsonl; add --new"):
        go_on()


def test_fingerprints_of_earlier_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fingerprint, "_YOUNG", -(10**18))
    names = [str(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    for name in names:
        Path(name).write_bytes(name.encode())
    whole = fingerprint.file_digests(names)
    (store,) = tmp_path.glob("cache/fingerprints/*.npz")

    def read_the_same() -> None:
        assert fingerprint.file_digests(names) == whole

    for changed in mutations(store.read_bytes(), MANY, seed=34):
        tried(read_the_same, changed, store)
    for damaged in (b"", b"PK\x03\x04", np.zeros(3).tobytes()):
        store.write_bytes(damaged)
        assert fingerprint.file_digests(names) == whole


def test_places_of_data_and_words_for_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.json"
    monkeypatch.setattr(data_locations, "_file", lambda data: path)
    for changed in mutations(json.dumps({"dataset.root": "/data"}).encode(), MANY, seed=35):
        tried(lambda: data_locations.recall({}), changed, path)
    found = {"model": {"small": {"width": ["4", "8"]}, "": {}}}
    monkeypatch.setattr(cache, "_file", lambda kind, words: path)
    monkeypatch.setattr(cache, "_collected", lambda: found)
    plugin = tmp_path / "mine.py"
    plugin.write_text('@models.register("mine")\ndef mine(width: int): ...\n')
    for changed in mutations(json.dumps(found).encode(), MANY, seed=36):
        tried(lambda: cache.vocabulary([str(plugin)]), changed, path)
    config = {"model": {"name": "mlp"}, "seed": 0, "hydra": {"searchpath": []}}
    whole = {"groups": {"": [[], ["model"]], "model": [["mlp"], []]}, "config": config}
    monkeypatch.setattr(composed, "compose", lambda *given: whole)
    for changed in mutations(json.dumps(whole).encode(), MANY, seed=37):
        for typed in ("mo", "model=", "model.na", "seed=", "+model.x"):
            tried(lambda typed=typed: complete_override(["model.name=mlp"], typed), changed, path)  # type: ignore[misc]


def test_plugin_files_that_are_only_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    content = b'@models.register("mine")\ndef mine(width: int, how: Literal["a", "b"] = "a"): ...\n'
    for changed in mutations(content, MANY, seed=37):
        tried(lambda: names_in(path), changed, path)
    for nested in (b"(" * 100_000, b"-" * 100_000 + b"1", b"x" + b".a" * 100_000):
        tried(lambda: names_in(path), nested, path)


def test_an_installed_plugin_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", "no_such_module_here", "expkit.plugins")
    monkeypatch.setattr("expkit.config.plugins.entry_points", lambda group: [broken])
    with pytest.raises(ConfigError, match="plugin mine of no_such_module_here cannot be imported: ModuleNotFound"):
        load_plugins(())


@pytest.mark.parametrize("values", [[], [1.0, float("inf")], [float("nan"), 1.0], [1.7e308, -1.7e308, 1.7e308]])
def test_scores_of_runs_that_diverged_have_no_mean(values: list[float]) -> None:
    assert not all(map(np.isfinite, mean_and_deviation(values)))


def test_folds_of_which_one_diverged_are_shown(small_run: Run, tmp_path: Path, capsys: Any) -> None:
    import yaml

    for number, loss in enumerate(("0.5", "NaN")):
        run = tmp_path / f"{number}"
        run.mkdir()
        for name in ("config.yaml", "record.json", "result.json"):
            shutil.copy(small_run.folder / name, run / name)
        config = yaml.safe_load((run / "config.yaml").read_bytes())
        config["dataset"] |= {"folds": 2, "fold": number}
        (run / "config.yaml").write_text(json.dumps(config))
        (run / "metrics.jsonl").write_text(f'{{"kind": "epoch", "epoch": 0, "step": 8, "val/loss": {loss}}}\n')
        (run / "result.json").write_text(json.dumps({"scores": {"val/loss": float(loss)}}))
    assert show_folds([tmp_path / "0", tmp_path / "1"])
