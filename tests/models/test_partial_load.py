"""Weights from elsewhere: what fits is taken, a head for other classes is left out, all is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import squeezenet1_1

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.models import load_matching
from expkit.models.small import small_cnn
from expkit.runs.build import build
from tests.training.test_trainer import checkpoint_of, trainer_of, weights

Compose = Callable[..., Config]


def test_a_head_for_other_classes_is_left_out_and_named() -> None:
    theirs, ours = squeezenet1_1(num_classes=7), squeezenet1_1(num_classes=3)
    head = ours.classifier[1].weight.clone()
    taken = load_matching(ours, theirs.state_dict(), None, 3)
    assert taken.left_out == ["classifier.1.weight", "classifier.1.bias"]
    assert (taken.missing, taken.unused) == ([], [])
    assert torch.equal(ours.features[0].weight, theirs.features[0].weight)
    assert torch.equal(ours.classifier[1].weight, head)
    assert taken.notes() == [
        "loaded 50 of 52 weights", "left out, for other classes: classifier.1.weight, classifier.1.bias",
    ]  # fmt: skip


def test_as_many_but_other_classes_have_another_head() -> None:
    theirs, ours = squeezenet1_1(num_classes=3), squeezenet1_1(num_classes=3)
    assert load_matching(ours, theirs.state_dict(), False, 3).left_out
    assert not load_matching(ours, theirs.state_dict(), True, 3).left_out
    assert torch.equal(ours.classifier[1].weight, theirs.classifier[1].weight)


def test_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"are another model's: 0 of the model's \d+ are there"):
        load_matching(small_cnn(num_classes=3), squeezenet1_1(num_classes=3).state_dict(), None, 3)
    with pytest.raises(ConfigError, match=r"is \(\d+, 3, 3, 3\) there and \(\d+, 3, 3, 3\) here"):
        load_matching(small_cnn(num_classes=3, width=8), small_cnn(num_classes=3, width=4).state_dict(), None, 3)


PREFIXES = ["module.", "_orig_mod.", "net.", "model.", "module._orig_mod.", "ema.", "encoder.", "ema_model.module.net."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("classes", [3, 7])
def test_the_prefix_of_a_wrapper_is_dropped(prefix: str, classes: int) -> None:
    theirs, ours = squeezenet1_1(num_classes=classes), squeezenet1_1(num_classes=3)
    state = {prefix + name: value for name, value in theirs.state_dict().items()} | {"n_averaged": torch.tensor(3)}
    taken = load_matching(ours, state, None, 3)
    assert (taken.missing, taken.unused) == ([], ["n_averaged"])
    assert len(taken.left_out) == (0 if classes == 3 else 2)
    assert f"removed the prefix '{prefix}' from the names in the file" in taken.notes()
    assert torch.equal(ours.features[0].weight, theirs.features[0].weight)


def test_the_prefix_of_our_own_wrapper_is_put_before() -> None:
    theirs, ours = squeezenet1_1(num_classes=3), torch.nn.ModuleDict({"backbone": squeezenet1_1(num_classes=3)})
    taken = load_matching(ours, theirs.state_dict(), None, 3)
    assert len(taken.loaded) == 52
    assert taken.renamed == "added the prefix 'backbone.' to the names in the file"


def test_of_a_larger_model_the_part_is_taken() -> None:
    theirs = torch.nn.ModuleDict({"encoder": squeezenet1_1(num_classes=9), "decoder": squeezenet1_1(num_classes=8)})
    ours = squeezenet1_1(num_classes=3)
    taken = load_matching(ours, theirs.state_dict(), None, 3)
    assert torch.equal(ours.features[0].weight, theirs["encoder"].features[0].weight)  # type: ignore[union-attr, index]
    assert len(taken.unused) == 52
    assert all(name.startswith("decoder.") for name in taken.unused)


def test_names_that_fit_stay() -> None:
    model = torch.nn.ModuleDict({"module": torch.nn.Linear(2, 2), "other": torch.nn.Linear(2, 2)})
    assert load_matching(model, model.state_dict(), None, 9).renamed == ""


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_files_of_other_programs_begin_a_run(ending: str, small_config: Compose, tmp_path: Path) -> None:
    first = trainer_of(small_config("seed=1"))
    path = tmp_path / f"weights{ending}"
    state = {name: value.contiguous() for name, value in first.state.model.state_dict().items()}
    save_file(state, path) if ending == ".safetensors" else torch.save({"state_dict": state}, path)
    job = build(small_config("seed=2", f"checkpoint.init_from={path}"))
    assert torch.equal(weights(job.trainer), weights(first))
    assert any(note.startswith(f"loaded {len(state)} of {len(state)} weights") for note in job.notes)


def test_the_average_is_what_is_taken(small_config: Compose, tmp_path: Path) -> None:
    first = trainer_of(small_config("seed=1", "ema_decay=0.5", "epochs=1"))
    first.run()
    assert first.state.average is not None
    path = checkpoint_of(first, tmp_path / "c.safetensors")
    second = trainer_of(small_config("seed=2", f"checkpoint.init_from={path}"))
    expected = torch.cat([value.flatten().float() for value in first.state.average.model.state_dict().values()])
    assert torch.equal(weights(second), expected)
    assert not torch.equal(weights(second), weights(first))


def test_a_run_of_other_classes_gives_all_but_its_head(small_config: Compose, tmp_path: Path) -> None:
    first = trainer_of(small_config("seed=1"))
    path = checkpoint_of(first, tmp_path / "c.safetensors", class_names=["a", "b", "c", "d", "e"])
    job = build(small_config("seed=2", f"checkpoint.init_from={path}"))
    assert any("left out, for other classes: " in note for note in job.notes)
