"""Chosen metrics in runs: logged, monitored, kept across a kill, evaluated again, and compared by their direction."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.inference import load_trained
from expkit.inference.evaluate.evaluate import Speed, evaluate
from expkit.runs.build import build
from expkit.runs.train import train as train_run
from tests.devices.starting import only_run, points, small
from tests.forks import Forks, wait_until

PLUGIN = """
from expkit.extend import Metric, metrics


@metrics.register("hits")
def hits(outputs, targets, k: int = 1):
    return (outputs.topk(k).indices == targets[:, None]).any(1).double().mean()


hits.higher_is_better = True


@metrics.register("surprise")
class Surprise(Metric):
    higher_is_better = False

    def __init__(self, base: float = 2.0) -> None:
        self.base = base

    def reset(self, device):
        self.total = 0.0

    def update(self, outputs, targets, weights=None):
        self.total += float(-outputs.gather(1, targets[:, None]).double().log().sum()) / self.base

    def merge(self, ranks):
        raise NotImplementedError

    def compute(self):
        return self.total
"""
OWN = ["--plugin", "own.py", "+metric.hits2.name=hits", "+metric.hits2.k=2", "+metric.surprise.name=surprise"]


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """Return the points of a run without their times."""
    timed = ("seconds", "images_per_second", "data_wait")
    return [{name: value for name, value in point.items() if name not in timed} for point in points(run)]


def test_a_killed_run_goes_on_with_the_same_scores(commands: Forks, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PLUGIN)
    words = [*OWN, *small(tmp_path, "batch_size=8", "checkpoint.every_steps=1", "watch=none"),
             "checkpoint.monitor=surprise"]  # fmt: skip
    code, printed = commands.told(tmp_path, *words, "output_dir=whole")
    assert code == 0, printed
    running = commands.start(tmp_path, *words, "output_dir=killed")
    wait_until(lambda: [*tmp_path.glob("killed/*/checkpoints/*step_00000008*.json")])  # in the second epoch
    running.send_signal(signal.SIGKILL)
    running.wait()
    code, printed = commands.told(tmp_path, *words, "output_dir=killed", "checkpoint.resume=auto")
    assert code == 0, printed
    whole, killed = only_run(tmp_path / "whole"), only_run(tmp_path / "killed")
    assert epochs_of(killed) == epochs_of(whole)
    result = json.loads((killed / "result.json").read_text())
    assert result["directions"] == {"hits2": True, "surprise": False}
    scores = [point["val/surprise"] for point in points(whole) if point["kind"] == "epoch"]
    assert (result["monitor"], result["best_score"]) == ("surprise", min(scores))


def test_evaluation_computes_the_same_scores(small_config: Callable[..., Config], tmp_path: Path) -> None:
    config = small_config("watch=none", "metric=[f1,auroc]", "+metric.hinge.name=HingeLoss", "checkpoint.monitor=f1")
    train_run(config, [], "python -m expkit.run …")
    run = only_run(tmp_path / "outputs")
    trained = load_trained(run, "last")
    splits = build(config).splits
    assert splits.val is not None
    found = evaluate(trained, splits.val, Speed(workers=0)).scores.overall
    last = points(run)[-1]
    for name in ("f1", "auroc", "hinge"):
        assert found[name] == pytest.approx(last[f"val/{name}"], rel=1e-6)
    assert list(found)[:2] == ["accuracy", "loss"]
    assert not trained.notes


def test_a_metric_that_is_not_there_is_left_out_of_an_evaluation(small_run: Any) -> None:
    trained = load_trained(small_run.folder, "best")
    trained.config["metric"] = {"gone": {"name": "gone_with_its_plugin"}}
    data = build(trained.config | {"checkpoint": {"name": "none"}, "metric": {}}).splits.val
    assert data is not None
    assert "gone" not in evaluate(trained, data, Speed(workers=0)).scores.overall
    assert "metric.gone.name: unknown metric 'gone_with_its_plugin'" in trained.notes[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["metric=f1", "metric.f1.average=median"], r"metric\.f1\.average: expected"),
        (["metric=f1", "checkpoint.monitor=f2"], r"there is no score 'f2'; there is .*f1"),
        (["+metric.accuracy.name=Accuracy"], "has a score 'accuracy' already"),
        (["+metric.pair.name=StatScores", "checkpoint.monitor=pair_0"], "does not say which way is better"),
        (["metric=F1Score"], r"there is no choice 'F1Score'.*write \+metric\.f1_score\.name=F1Score"),
        (["metric=f3"], "there is no choice 'f3' in conf/metric; there is auroc"),
    ],
)
def test_what_is_wrong_is_told_before_the_start(
    words: list[str], told: str, small_config: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError, match=told):
        build(small_config(*words))


def test_a_run_without_metrics_has_no_such_key(small_config: Callable[..., Config]) -> None:
    assert "metric" not in small_config()
    assert small_config("metric=null")["metric"] == {}
    assert [*small_config("metric=[kappa,null,f1]")["metric"]] == ["kappa", "f1"]
