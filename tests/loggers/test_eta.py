"""How long a run still takes."""

import time

import pytest

from expkit.loggers.base import Point, Progress
from expkit.loggers.eta import Pace


def test_the_first_epoch_is_told_from_its_steps_and_later_ones_from_the_epochs() -> None:
    progress = Progress("train", epoch=0, epochs=10, done=0, total=100)
    pace = Pace(progress)
    assert pace.left() is None
    time.sleep(0.2)
    progress.done = 20  # 10 ms a step: 1,000 steps take 10 s
    assert pace.left() == pytest.approx(9.8, rel=0.5)
    progress.stage, progress.done, progress.total = "val", 0, 10
    assert pace.text() == ""
    pace.epoch_over(Point("epoch", 0, 100, {"seconds": 60.0}))
    pace.epoch_over(Point("epoch", 1, 200, {"seconds": 80.0}))
    progress.epoch = 2
    assert pace.left() == pytest.approx(8 * 70, abs=2)
    assert pace.text() == "run: 9 min 20 s left"
