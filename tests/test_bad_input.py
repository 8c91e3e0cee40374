"""Wrong input of a user: a clear sentence that names what and where, before anything has been written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from expkit.config.hydra_loader import Config
from expkit.core.errors import ConfigError
from expkit.runs.build import build
from expkit.runs.check import check

# overrides -> what the sentence must begin with, and what it must hold
WRONG = [
    ("model.widht=3", "model.widht", "did you mean 'width'"),
    ("modle=small_cnn", "modle", "did you mean 'model'"),
    ("model.weights=DEFAULT", "model.weights", "in model=alexnet, model="),
    ("optimizer.momentum=0.9", "optimizer.momentum", "it is in optimizer=rmsprop, optimizer=sgd"),
    ("lr=0.1", "lr", "write optimizer.lr=0.1"),
    ("batch=16", "batch", "did you mean 'batch_size'"),
    ("transforms.train=[RandomHorizontalFlip]", "transforms.train[0]", "write {name: RandomHorizontalFlip}"),
    ("model=squeznet", "model", "did you mean 'squeezenet'"),
    ("model.name=small_resent", "model.name", "did you mean 'small_resnet'"),
    ("model.width=wide", "model.width", "expected an integer"),
    ("model.width=true", "model.width", "expected an integer"),
    ("model.dropout=1.5", "model.dropout", "less than 1"),
    ("+model.num_classes=3", "model.num_classes", "is set when the run starts"),
    ("+model._target_=os.system", "model._target_", "may not name code"),
    ("+dataset.extra._target_=pathlib.Path.unlink", "dataset.extra._target_", "may not name code"),
    ("hydra.job_logging.handlers.console.class=os.system", "hydra.job_logging", "may not name code"),
    ("+hydra.callbacks.x._target_=pathlib.Path.unlink", "hydra.callbacks.x._target_", "may not name code"),
    ("name=${oc.env:HOME}", "name", "may not read the environment"),
    ("name=../elsewhere", "name", "expected letters"),
    ("model=torchvision", "model.name", "is needed"),
    ("model.freeze=[stem.*]", "model.freeze", "matches no parameter"),
    ("model.init=magic", "model.init", "expected one of"),
    ("epochs=0", "epochs", "from 1 up"),
    ("epochs=many", "epochs", "expected an integer"),
    ("batch_size=0", "batch_size", "from 1 up"),
    ("seed=-1", "seed", "from 0 up"),
    ("clip_grad_norm=0", "clip_grad_norm", "above 0"),
    ("+batchsize=3", "batchsize", "did you mean 'batch_size'"),
    ("optimizer.lr=fast", "optimizer.lr", "expected a number"),
    ("optimizer.lr=-1", "optimizer", "refuses these options"),
    ("optimizer.no_decay=[classifier.*]", "optimizer.no_decay", "matches no trained parameter"),
    ("optimizer=adamm", "optimizer", "did you mean 'adam'"),
    ("schedule.warmup_steps=100", "schedule.warmup_steps", "do not fit"),
    ("schedule=step schedule.milestones=[3]", "schedule.milestones", "between 0 and 1"),
    ("loss=bce", "loss.name", "loss=cross_entropy"),
    ("loss.class_weights=[1,2]", "loss.class_weights", "2 weights for 5 classes"),
    ("loss.label_smoothing=2", "loss.label_smoothing", "takes a number from 0"),
    ("sampler=weighted", "sampler.class_weights", "is needed"),
    ("sampler=weighted sampler.class_weights={cirle:2}", "sampler.class_weights", "did you mean 'circle'"),
    ("sampler=subset sampler.indices=[99]", "sampler.indices", "outside the 40"),
    ("transforms=imagenet transforms.image_size=8 model=squeezenet", "transforms.image_size", "fits"),
    ("transforms.train=[{name:Resise,size:8}]", "transforms.train[0].name", "did you mean 'Resize'"),
    (
        "transforms.train=[{name:Resize,size:8,antialiaz:true}]",
        "transforms.train[0].antialiaz",
        "did you mean 'antialias'",
    ),
    ("transforms.normalize.mean=[0.5]", "transforms.normalize", "3 means"),
    ("device=gpu", "device.name", "device=cpu"),
    ("device.precision=fp8", "device.precision", "expected one of"),
    ("device.threads=0", "device.threads", "from 1 to 1,024"),
    ("checkpoint.monitor=acuracy", "checkpoint.monitor", "there is accuracy"),
    ("checkpoint.resume=/nowhere", "checkpoint.resume", "no such file"),
    ("dataset.layout=files", "dataset.layout", "expected one of"),
    ("dataset.timeout=0", "dataset.timeout", "above 0"),
    ("dataset.max_bad=2.5", "dataset.max_bad", "a share from 0.0 to 1.0"),
    ("dataset.max_bad=-1", "dataset.max_bad", "a count"),
    ("batch_size=50 dataset.drop_last=true", "batch_size", "drop_last"),
    ("experiment=dogcat_squeeznet", "experiment", "did you mean 'dogcat_squeezenet'"),
    ("dataset=dogcat", "dataset.root", "is needed"),
    ("dataset=dogcat dataset.root=/nowhere", "dataset.root", "there is no folder"),
    ("dataset=image_folder dataset.root=/etc/hostname", "dataset.root", "is a file"),
]


@pytest.mark.parametrize(("overrides", "begins", "holds"), WRONG, ids=[wrong[0] for wrong in WRONG])
def test_wrong_input_is_named(
    overrides: str, begins: str, holds: str, small_config: Callable[..., Config], tmp_path: Path
) -> None:
    def built() -> None:
        config = small_config(*overrides.split(" "))
        check(config)
        build(config)

    with pytest.raises(ConfigError) as caught:
        built()
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(begins), caught.value.faults
    assert holds in caught.value.faults[0]
    assert not (tmp_path / "outputs").exists()


def test_all_faults_are_shown_together(small_config: Callable[..., Config]) -> None:
    wrong = ["model.width=wide", "epochs=0", "optimizer.lr=fast", "device.precision=fp8", "device.threads=0"]
    config = small_config(*wrong, "+dataset.prefetch=many", "dataset.max_bad=2.5", "dataset.timeout=0")
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert len(caught.value.faults) == 8
