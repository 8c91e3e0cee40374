"""timm's models, where it is installed: by name, with any number of classes, as they are without us."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import expkit
from expkit.config.registry import models
from expkit.core.errors import ConfigError
from expkit.inference import load_trained
from expkit.models import InputSpec, pretrained_input
from tests.inference.runs import overrides

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050.lamb_in1k", "vit_tiny_patch16_224"])
def test_a_model_computes_what_timms_does(name: str) -> None:
    torch.manual_seed(0)
    ours = models.build({"name": f"timm/{name}"}, num_classes=3).eval()
    theirs = timm.create_model(name, num_classes=3).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        assert ours(images).shape == (2, 3)
        assert torch.equal(ours(images), theirs(images))


def test_the_input_of_the_weights_is_known_without_them() -> None:
    found = pretrained_input({"name": "timm/vit_tiny_patch16_224", "weights": "DEFAULT"})
    half = (0.5, 0.5, 0.5)
    assert found == InputSpec(224, 249, half, half, "timm vit_tiny_patch16_224")  # crop_pct 0.9


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"name": "timm/resnet10x"}, r"did you mean 'timm/resnet\d+t?'"),
        ({"name": "timm/resnet10t", "weights": "IMAGENET"}, "model.weights: expected one of DEFAULT"),
        ({"name": "timm/resnet10t", "width": 3}, "has no option 'width'"),
        ({"name": "timm/resnet10t", "pretrained_cfg": {}}, "has no option 'pretrained_cfg'"),
    ],
    ids=str,
)
def test_a_mistake_is_told(node: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        models.build(node, num_classes=3)


def test_an_option_that_the_architecture_lacks_is_told() -> None:
    with pytest.raises(ConfigError, match="timm/resnet10t refuses these options"):
        models.build({"name": "timm/resnet10t", "img_size": 64}, num_classes=3)


def test_a_run_trains_and_is_loaded_again(tmp_path: Path) -> None:
    words = [word for word in overrides(tmp_path) if not word.startswith("model")]
    run = expkit.train([*words, "model=timm", "model.name=timm/test_resnet", "epochs=1"])
    trained = load_trained(run.folder)
    assert trained.config["model"]["name"] == "timm/test_resnet"
    assert len(trained.predict([next((tmp_path / "shapes").rglob("*.jpg"))])[0]) == 5


def test_timm_is_not_imported_unless_asked_for() -> None:
    code = "from expkit.config.registry import models; models.names(); import sys; print('timm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_timm_the_remedy_is_named(tmp_path: Path, image_files: Callable[..., Path]) -> None:
    hidden = "import sys; sys.modules['timm'] = None; import importlib.util; find = importlib.util.find_spec"
    code = f"{hidden}; importlib.util.find_spec = lambda name, *more: None if name == 'timm' else find(name, *more)"
    code += "; from expkit.cli.run import main; main(['model=timm', 'model.name=timm/resnet10t'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "install expkit[timm]" in done.stderr
