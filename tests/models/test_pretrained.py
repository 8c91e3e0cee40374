"""Pretrained weights: loaded through the real path, from files that the tests put where torch keeps them."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models as zoo

from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.models import InputSpec, pretrained_input
from expkit.models.pretrained import find_weights, weights_file

Save = Callable[[str, Any], Path]
# One of each way of ending, as long as the file is small: the others' heads are replaced in test_zoo.py.
HEADS = {
    "densenet121": {"classifier"},
    "efficientnet_b0": {"classifier.1"},
    "googlenet": {"fc"},
    "inception_v3": {"AuxLogits.fc", "fc"},
    "mnasnet0_5": {"classifier.1"},
    "mobilenet_v3_small": {"classifier.3"},
    "regnet_x_400mf": {"fc"},
    "resnet18": {"fc"},
    "shufflenet_v2_x0_5": {"fc"},
    "squeezenet1_1": {"classifier.1"},
    "swin_t": {"head"},
}


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Return a function that puts a file where torch looks for a model's weights; no other can be found."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.setattr("urllib.request._opener", None)  # it would keep the proxy for all tests of this process
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    def put(name: str, content: Any) -> Path:
        path = weights_file(find_weights(name, "DEFAULT"))
        path.parent.mkdir(parents=True)
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        return path

    return put


def original(name: str) -> dict[str, torch.Tensor]:
    """Return a state dict as the downloaded file has it, but for its values."""
    quiet = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    state: dict[str, torch.Tensor] = zoo.get_model(name, weights=None, **quiet).state_dict()
    return state


def changed_layers(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    same = {
        name for name in after if before[name].shape == after[name].shape and torch.equal(before[name], after[name])
    }
    return {name.rpartition(".")[0] for name in after.keys() - same}


@pytest.mark.parametrize(("name", "heads"), HEADS.items())
def test_all_but_the_head_is_what_the_file_holds(name: str, heads: set[str], save: Save) -> None:
    state = original(name)
    save(name, state)
    model = models.build({"name": name, "weights": "DEFAULT"}, num_classes=3)
    assert changed_layers(state, model.state_dict()) == heads
    size = 299 if name == "inception_v3" else 64
    outputs = model(torch.rand(2, 3, size, size))
    assert {logits.shape for logits in (outputs if isinstance(outputs, tuple) else (outputs,))} == {(2, 3)}
    assert model.eval()(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_the_old_names_in_densenet_s_file_are_read(save: Save) -> None:
    state = original("densenet121")
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    save("densenet121", {old.sub(r"\1.\2", name): value for name, value in kept.items()})
    model = models.build({"name": "densenet121", "weights": "DEFAULT"}, num_classes=3)
    assert changed_layers(state, model.state_dict()) == {"classifier"}


def test_a_head_that_fits_already_is_kept(save: Save) -> None:
    state = original("squeezenet1_1")
    save("squeezenet1_1", state)
    model = models.build({"name": "squeezenet1_1", "weights": "DEFAULT"}, num_classes=1000)
    assert changed_layers(state, model.state_dict()) == set()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_auxiliary_heads_of_pretrained_models_can_be_chosen(name: str, auxiliary: bool, save: Save) -> None:
    save(name, original(name))
    model = models.build({"name": name, "weights": "DEFAULT", "aux_logits": auxiliary}, num_classes=3)
    outputs = model(torch.rand(2, 3, 299, 299))
    assert isinstance(outputs, tuple) == auxiliary
    assert {one.shape for one in (outputs if auxiliary else [outputs])} == {(2, 3)}


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("content", [{"fc.weight": Payload()}, pickle.dumps(Payload(), 2)], ids=["zip", "pickle"])
def test_weights_that_carry_code_do_not_run(content: Any, save: Save) -> None:
    path = save("squeezenet1_1", content)
    with pytest.raises(
        ConfigError, match=f"^model.weights: {path} is damaged or is not a plain state dict: "
    ) as caught:
        models.build({"name": "squeezenet1_1", "weights": "DEFAULT"}, num_classes=3)
    assert "Re-running" not in str(caught.value)  # torch's advice is to load it unsafely
    assert not Path("executed").exists()


@pytest.mark.parametrize("length", [0, 10, 1000, 2_000_000])
def test_a_truncated_file_is_named(length: int, save: Save) -> None:
    path = save("squeezenet1_1", original("squeezenet1_1"))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ConfigError, match=f"^model.weights: {path} is damaged"):
        models.build({"name": "squeezenet1_1", "weights": "DEFAULT"}, num_classes=3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(torch.zeros(3), "holds a Tensor, not a state dict"), ({"fc.weight": torch.zeros(3)}, "does not fit squeezenet")],
)
def test_a_file_of_something_else_is_named(content: Any, reason: str, save: Save) -> None:
    path = save("squeezenet1_1", content)
    with pytest.raises(ConfigError, match=f"^model.weights: .*{reason}") as caught:
        models.build({"name": "squeezenet1_1", "weights": "DEFAULT"}, num_classes=3)
    assert str(path) in str(caught.value)


def test_options_that_change_the_layers_do_not_go_with_weights(save: Save) -> None:
    save("resnet50", original("resnet50"))
    with pytest.raises(ConfigError, match=r"does not fit resnet50: size mismatch .* remove the options"):
        models.build({"name": "resnet50", "weights": "DEFAULT", "width_per_group": 32}, num_classes=3)


def test_a_failed_download_says_where_the_file_belongs(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"
    with pytest.raises(
        ConfigError, match=f"IMAGENET1K_V1 could not be downloaded .*; put the file at {path}"
    ) as caught:
        models.build({"name": "resnet18", "weights": "DEFAULT"}, num_classes=3)
    assert len(caught.value.faults) == 1
    assert not path.exists()


def test_wrong_words_are_found_before_anything_is_built() -> None:
    assert models.faults({"name": "resnet50", "weights": "IMAGENET"}) == [
        "model.weights: expected one of DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2 or null, got 'IMAGENET'"
    ]
    with pytest.raises(ConfigError, match=r"no weights 'IMAGENET1K_V9'.*did you mean 'IMAGENET1K_V1'"):
        find_weights("resnet18", "IMAGENET1K_V9")


def test_weights_without_a_classifier_are_not_offered() -> None:
    assert models.faults({"name": "vgg16", "weights": "IMAGENET1K_FEATURES"}) != []
    assert models.faults({"name": "vgg16", "weights": "IMAGENET1K_V1"}) == []


def test_pretrained_input_follows_the_weights() -> None:
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert pretrained_input({"name": "inception_v3", "weights": "DEFAULT"}) == InputSpec(
        299, 342, *imagenet, source="Inception_V3_Weights.IMAGENET1K_V1"
    )
    newest, first = (pretrained_input({"name": "resnet50", "weights": word}) for word in ("DEFAULT", "IMAGENET1K_V1"))
    assert (newest and newest.resize_size, first and first.resize_size) == (232, 256)
    assert pretrained_input({"name": "inception_v3", "weights": None}) is None
    assert pretrained_input({"name": "of_a_plugin", "weights": "DEFAULT"}) is None
