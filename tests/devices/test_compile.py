"""Compiling: where there is a compiler, the same numbers; where there is none, the reason, and the run goes on."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from expkit.config.hydra_loader import Config
from expkit.devices.compile import Compiled
from expkit.runs.build import build

IS_LONG = os.environ.get("EXPKIT_LONG") == "1"


def test_without_a_compiler_the_run_says_why_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    getattr(get_cpp_compiler, "cache_clear", lambda: None)()
    told: list[str] = []
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5), nn.Tanh())
    compiled = Compiled(model, True, told.append)
    given = torch.randn(3, 7)
    assert torch.equal(compiled(given), model(given))
    assert torch.equal(compiled(given), model(given))
    assert len(told) == 1
    assert told[0].startswith("warning: device.compile: ")
    assert told[0].endswith("; continues without compiling")


def test_a_mistake_of_the_model_is_raised_as_its_own() -> None:
    class Broken(nn.Module):
        def forward(self, given: torch.Tensor) -> Any:
            return given @ torch.zeros(99, 1)

    told: list[str] = []
    with pytest.raises(RuntimeError, match=r"mat1|shapes|size"):
        Compiled(Broken(), True, told.append)(torch.zeros(2, 3))


@pytest.mark.skipif(not IS_LONG or not shutil.which("g++"), reason="compiles: EXPKIT_LONG=1 and g++")
def test_a_compiled_run_is_the_plain_one(small_config: Callable[..., Config]) -> None:
    more = ["max_steps=3", "device.channels_last=false"]
    scores = [build(small_config(*more, f"++device.compile={asked}")).trainer.run() for asked in ("false", "true")]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)
