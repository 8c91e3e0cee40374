"""Watching: every watcher shows what it says, when it says, and the run ends bit for bit as if nobody had looked."""

import random
import signal

import numpy as np
import pytest
import torch
from torch import nn

from expkit.core.errors import ConfigError
from expkit.loggers.figures import Curves, Embedding, Figure, Graph, Histogram, Matrix, Picture, Table
from expkit.runs.build import build
from expkit.runs.check import check
from expkit.training.signals import Interrupted
from expkit.training.watch import Watcher
from expkit.training.watch.base import Scene, Where
from expkit.training.watch.dispatcher import judge
from expkit.training.watch.score_plots import Confusion
from tests.training.watch_runs import Compose, Shown, watched, weights

KINDS = {
    "train/inputs": Picture,
    "val/predictions": Picture,
    "val/worst_mistakes": Picture,
    "val/confusion_matrix": Matrix,
    "val/confusion_matrix_picture": Picture,
    "val/per_class": Table,
    "val/precision_recall": Curves,
    "val/calibration": Curves,
    "val/embedding": Embedding,
    "model/summary": Table,
    "model/graph": Graph,
    "model/first_kernels": Picture,
}


def test_everything_on_or_off_ends_with_the_same_weights_and_random_streams(small_config: Compose) -> None:
    """Dropout and mixing draw at random in each step, so a single shifted stream would show."""
    drawing = ["transforms=augment", "transforms.image_size=32", "model.dropout=0.3", "clip_grad_norm=1.0"]
    drawing += ["transforms.batch=[{name: MixUp, alpha: 0.4}]", "optimizer.lr=0.01"]
    ends = []
    for choice in ("none", "everything"):
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)
        trainer, shown = watched(small_config(f"watch={choice}", *drawing))
        after = torch.get_rng_state(), random.random(), np.random.rand()
        ends.append((weights(trainer), after, trainer.state.position.scores, len(shown.exhibits)))
    (off, off_streams, off_scores, nothing), (on, on_streams, on_scores, much) = ends
    assert torch.equal(off, on)
    assert off_scores == on_scores
    assert torch.equal(off_streams[0], on_streams[0])
    assert nothing == 0
    assert much > 20


def test_everything_shows_each_kind_in_each_epoch(small_config: Compose) -> None:
    trainer, shown = watched(small_config("watch=everything", "watch.gradient_norm.steps=2", "log_every=2"))
    assert shown.messages == []
    for name, kind in KINDS.items():
        found = shown.of(name)
        assert len(found) == (1 if name in ("model/summary", "model/graph") else 2), name
        assert all(type(one) is kind for one in found), name
    histograms = [one for one in shown.exhibits if isinstance(one, Histogram)]
    assert {one.name.split("/")[0] for one in histograms} == {"weights", "gradients"}
    counts = {one.name: one.counts.sum() for one in histograms if one.name.startswith("weights/")}
    sizes = {f"weights/{name}": value.numel() for name, value in trainer.state.model.named_parameters()}
    assert all(counts[name] == sizes[name] for name in counts)
    norms = [point.step for point in shown.points if "gradient_norm" in point.values]
    assert norms == [2, 4, 6]


def test_intervals_are_kept_and_the_last_epoch_is_always_seen(small_config: Compose) -> None:
    every = [f"watch.{name}.every={count}" for name, count in (("predictions", 2), ("calibration", 0), ("inputs", 2))]
    _, shown = watched(small_config("epochs=3", *every))
    assert [one.epoch for one in shown.of("val/predictions")] == [1, 2]
    assert [one.epoch for one in shown.of("train/inputs")] == [0, 2]
    assert shown.of("val/calibration") == []


def test_nothing_is_asked_of_steps_that_nobody_wants_to_see(small_config: Compose) -> None:
    trainer, _ = watched(small_config("watch=none"))
    assert trainer.observers.watch.next_step == -1


def test_a_watcher_that_fails_is_named_once_and_the_run_is_not_affected(small_config: Compose) -> None:
    class Broken(Watcher):
        def judge(self, judged: object) -> None:
            torch.rand(3)
            raise ValueError("no such thing")

    trainer, shown = build(small_config("watch=none")).trainer, Shown()
    trainer.observers.logger.attach([shown])
    trainer.observers.watch._chosen.append((Broken(), 1))
    trainer.run()
    plain, _ = watched(small_config("watch=none"))
    assert torch.equal(weights(trainer), weights(plain))
    assert len([text for text in shown.messages if "watching Broken failed" in text and "no such thing" in text]) == 1


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("watch.inputs.count=0", "watch.inputs.count: expected an integer from 1 up, got 0"),
        ("watch.inputs.every=-1", "every: expected a number of epochs, or 0 for never, got -1"),
        ("watch.calibration.bins=1", "watch.calibration.bins: expected an integer from 2 up, got 1"),
    ],
)
def test_wrong_numbers_are_refused(override: str, sentence: str, small_config: Compose) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(small_config(override))


def test_a_misspelt_option_is_refused_with_its_path(small_config: Compose) -> None:
    config = small_config()
    config["watch"]["inputs"]["cuont"] = 3
    with pytest.raises(ConfigError, match=r"watch.inputs.cuont: inputs has no option 'cuont'; did you mean 'count'"):
        check(config)


@pytest.mark.parametrize("moment", ["inputs", "judge", "evaluated"])
def test_a_signal_does_not_wait_for_a_watcher(moment: str, small_config: Compose) -> None:
    class Slow(Watcher):
        went_on = False

        def look(self, *arguments: object) -> list[Figure]:
            signal.raise_signal(signal.SIGTERM)
            for _ in range(1000):
                self.went_on = True
            return []

    setattr(Slow, moment, Slow.look)
    Slow.moment = "inputs" if moment == "inputs" else "evaluation"
    trainer, slow = build(small_config("watch=none")).trainer, Slow()
    trainer.observers.watch._chosen.append((slow, 1))
    with trainer.observers.interruption.heard(), pytest.raises(Interrupted) as found:
        trainer.run()
    assert found.value.is_whole
    assert not slow.went_on


def test_labels_of_a_caption_are_few() -> None:
    names = [f"class {number}" for number in range(300)]
    scene = Scene(nn.Identity(), (0,) * 3, (1,) * 3, names, "multilabel", str, (8, 8))
    assert scene.label(torch.ones(300)) == "class 0, class 1, class 2, class 3 and 296 more"
    assert scene.label(torch.zeros(300)) == "none"
    assert scene.label((torch.arange(300) < 4).float()) == "class 0, class 1, class 2, class 3"
    mixed = torch.zeros(300)
    mixed[:6] = torch.tensor([0.05, 0.3, 0.05, 0.25, 0.2, 0.15])
    assert scene.label(mixed) == "class 1 30%, class 3 25%, class 4 20%, class 5 15% and 2 more"


def test_a_confusion_matrix_that_is_not_shown_takes_no_memory(small_config: Compose) -> None:
    scene = Scene(nn.Identity(), (0,) * 3, (1,) * 3, ["one"] * 30_000, "single_label", str, (8, 8))
    watcher = Confusion()
    watcher.scene = scene
    watcher.before_evaluation()
    targets, images = torch.tensor([0, 29_999]), torch.zeros(2, 3, 8, 8)
    watcher.judge(judge(images, torch.zeros(2, 30_000), targets, targets, "single_label"))
    assert watcher.metrics(len(scene.class_names)) == []
    assert watcher.evaluated(Where(0, 1)) == ()
