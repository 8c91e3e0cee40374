"""What the parts of a run refuse, and what then is set: models, losses, optimizers, schedules, devices, checkpoints."""

from pathlib import Path

import pytest
import torch

from expkit.api import Run
from expkit.config.compose import compose_one, plain
from expkit.config.registry import devices
from expkit.core.errors import ConfigError
from expkit.devices import Layout
from expkit.devices.fsdp import check_shardable
from expkit.runs.build import build
from expkit.runs.check import check
from expkit.runs.distribute import check_auto_micro_batches
from tests.inference.runs import coco_files
from tests.remedies.told import fault_of, says, small, words_of

RESNET = "model=resnet18 transforms.image_size=32 dataset.val_images=5 "
NO_GPU = [] if torch.cuda.is_available() else [
    ("device=gpu", "; device=cpu runs the same on the processor", ["device=cpu"]),
    ("device=multi_gpu", "; device=multi_cpu runs the same way on the CPU", ["device=multi_cpu"]),
    ("device=multi_gpu device.count=5", "; device=multi_cpu runs the same way on the CPU", ["device=multi_cpu"]),
]  # fmt: skip
# (what is typed, what is said, what then is typed in its place, each of several ways); RUN: of a run of other classes
PARTS: list[tuple[str, str, list[str]]] = [
    (RESNET + "dataset.train_images=33 batch_size=16", "set dataset.drop_last=true, or another batch_size",
     [RESNET + "dataset.train_images=33 batch_size=16 dataset.drop_last=true",
      RESNET + "dataset.train_images=33 batch_size=15"]),
    (RESNET + "dataset.train_images=16 batch_size=1", "; raise batch_size", [RESNET + "dataset.train_images=16"]),
    (RESNET + "dataset.train_images=9 device.micro_batch=1", "set another device.micro_batch",
     [RESNET + "dataset.train_images=16 device.micro_batch=2"]),
    (RESNET + "dataset.train_images=11 device.micro_batch=2",
     "set dataset.drop_last=true, or another device.micro_batch",
     [RESNET + "dataset.train_images=11 device.micro_batch=2 dataset.drop_last=true",
      RESNET + "dataset.train_images=11 device.micro_batch=3"]),
    (RESNET + "device.micro_batch=auto", "set a number, e.g. device.micro_batch=16",
     [RESNET + "device.micro_batch=16"]),
    ("dataset.drop_last=true batch_size=50", "lower batch_size or set dataset.drop_last=false",
     ["dataset.drop_last=true batch_size=40", "dataset.drop_last=false batch_size=50"]),
    ("'transforms.batch=[{name: MixUp}]' loss=torch loss.name=MultiMarginLoss",
     "use loss=cross_entropy or transforms.batch=[]",
     ["'transforms.batch=[{name: MixUp}]' loss=cross_entropy",
      "transforms.batch=[] loss=torch loss.name=MultiMarginLoss"]),
    ("loss=bce", "; use loss=cross_entropy here", ["loss=cross_entropy"]),
    ("loss=torch loss.name=MultiLabelSoftMarginLoss", "; use loss=cross_entropy here", ["loss=cross_entropy"]),
    ("COCO loss=cross_entropy", "; use loss=bce", ["COCO loss=bce"]),
    ("COCO loss=balanced_softmax", "; use loss=bce", ["COCO loss=bce"]),
    ("COCO loss=distill loss.teacher=RUN", "; use loss=bce", ["COCO loss=bce"]),
    ("COCO loss=torch loss.name=MultiMarginLoss", "; use loss=bce", ["COCO loss=bce"]),
    ("loss=distill loss.teacher=RUN/nothing", "give a run folder or a .safetensors checkpoint",
     ["loss=distill loss.teacher=RUN"]),
    ("loss=distill loss.teacher=RUN dataset=fake dataset.num_classes=5", "; use one with the same",
     ["loss=distill loss.teacher=RUN"]),
    ("loss=distill", "is needed; give it as {}=…", ["loss=distill loss.teacher=RUN"]),
    ("loss.class_weights=[1]", "; give one for each, in this order: circle, cross, square, star, triangle",
     ["loss.class_weights=[1,2,3,4,5]"]),
    ("on_nan=roll_back checkpoint=none", "; use on_nan=skip", ["on_nan=skip checkpoint=none"]),
    ("swa_from=0.5 ema_decay=0.9", "; set ema_decay=null or swa_from=null", ["swa_from=0.5", "ema_decay=0.9"]),
    ("checkpoint.monitor=acuracy", "add +checkpoint.higher_is_better=true or false",
     ["checkpoint.monitor=acuracy +checkpoint.higher_is_better=true"]),
    ("checkpoint.init_from=RUN/nothing", "; give a .safetensors file or a run folder", ["checkpoint.init_from=RUN"]),
    ("model.width=100000", "; give a smaller number", ["model.width=10"]),
    ("model.width=60000", "; give {} smaller options", ["model.width=10"]),
    ("+optimizer.foreach=true +optimizer.fused=true", "; take one of the two out",
     ["+optimizer.foreach=true", "+optimizer.fused=true"]),
    ("schedule.warmup_steps=2 schedule.warmup_epochs=1", ": give either warmup_steps or warmup_epochs, not both",
     ["schedule.warmup_steps=2", "schedule.warmup_epochs=1"]),
    ("schedule.warmup_steps=20", "; lower it, or train for more epochs",
     ["schedule.warmup_steps=9", "schedule.warmup_steps=20 epochs=9"]),
    ("model=alexnet transforms.image_size=32", "{} fits, e.g. transforms.image_size={}",
     ["model=alexnet transforms.image_size=64"]),
    ("model=vit_b_16 transforms.image_size=32", "{} fits: transforms.image_size={}, or, without pretrained weights,"
     " model.image_size={}", ["model=vit_b_16 transforms.image_size=32 model.image_size=32"]),
    ("model.freeze=[*]", "; free some", ["model.freeze=[0.*]"]),
    ("model.freeze=[body.*]", "matches no parameter; did you mean '{}'?", ["model.freeze=[5.body.*]"]),
    ("model.freeze=[x]", "matches no parameter; there is 0.weight, {}, …", ["model.freeze=[0.weight]"]),
    ("model.freeze=[0.weigth]", "; did you mean '{}'?", ["model.freeze=[0.weight]"]),
    ("device=split device.devices=[cpu] 'device.table={head: cpu}'", "has no part 'head'; there is 0, 1, 2, …",
     ["device=split device.devices=[cpu] 'device.table={0: cpu}'"]),
    ("device=split device.devices=[cpu] 'device.table={3.bodi: cpu}'", "; did you mean '{}'?",
     ["device=split device.devices=[cpu] 'device.table={3.body: cpu}'"]),
    ("device=split device.devices=[]", "expected a list of devices, e.g. {}", ["device=split device.devices=[cpu]"]),
    ("device=split device.devices=[gpu0]", "; use e.g. cuda:0 or cpu", ["device=split device.devices=[cpu]"]),
    ("device=multi_node device.nodes=2 device.endpoint=0.0.0.0:29400",
     "; give HOST:PORT of the machine where they meet",
     ["device=multi_node device.nodes=2 device.endpoint=127.0.0.1:29400"]),
    ("device=multi_node device.nodes=2 device.endpoint=node1:29400", "set device.trust_network=true",
     ["device=multi_node device.nodes=2 device.endpoint=node1:29400 device.trust_network=true"]),
    ("device=mps", "; device=cpu runs the same", ["device=cpu"]),
    *NO_GPU,
]  # fmt: skip


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> str:
    return " ".join(coco_files(tmp_path_factory.mktemp("coco") / "squares"))


@pytest.mark.parametrize(("typed", "said", "then"), PARTS, ids=[row[0] for row in PARTS])
def test_what_is_said_can_be_set(
    typed: str, said: str, then: list[str], small_run: Run, coco: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def words(line: str) -> list[str]:
        return words_of(line.replace("COCO", f"{coco} transforms.image_size=32"), RUN=small_run.folder)

    message = fault_of(words(typed))
    assert says(message, said), message
    for line in then:
        assert not fault_of(words(line)), line


# Notes and warnings about a registered name advise too: (typed, said, typed then).
NOTES = [
    ("schedule=torch schedule.name=ReduceLROnPlateau", "; set ++schedule.mode={}",
     "schedule=torch schedule.name=ReduceLROnPlateau ++schedule.mode=max"),
    ("schedule=torch schedule.name=OneCycleLR +schedule.max_lr=0.1 optimizer.layer_decay=0.5",
     "; schedule=one_cycle keeps their proportions", "schedule=one_cycle optimizer.layer_decay=0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said", "then"), NOTES, ids=[row[0] for row in NOTES])
def test_a_note_is_gone_once_it_is_followed(
    typed: str, said: str, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for line in (typed, then):
        job = build(plain(compose_one(small(words_of(line)))))
        job.close()
        found.append("\n".join(job.notes))
    assert says(found[0], said)
    assert not says(found[1], said)


# What cannot be shared out among ranks: (typed, said, typed then).
SHARES = [
    ("optimizer=torch optimizer.name=adafactor", "; device.strategy=ddp does it",
     "optimizer=torch optimizer.name=adafactor device.strategy=ddp"),
    ("optimizer=sgd +optimizer.fused=true", "; set it to false, or device.strategy=ddp",
     "optimizer=sgd +optimizer.fused=false"),
    ("device.sync_batchnorm=false", "; set it to true, or device.strategy=ddp", "device.sync_batchnorm=true"),
    ("device.compile=true", "; set it to false", "device.compile=false"),
    ("device.unused_parameters=true", "set it to false", "device.unused_parameters=false"),
    ("device.micro_batch=auto", "; set a number, e.g. device.micro_batch=16", "device.micro_batch=16"),
]  # fmt: skip


def fault_of_shares(words: list[str]) -> str:
    """Return why the ranks that a command line asks for cannot have shares of its model, "" where they can."""
    node = plain(compose_one(small(["device=multi_cpu", "device.strategy=fsdp", *words])))
    check(node)
    layout, options = devices.build(node["device"]), devices.shared(node["device"])
    assert isinstance(layout, Layout)
    job = build(node | {"device": {"name": "cpu"}})
    model = job.trainer.state.model
    try:
        if layout.strategy == "fsdp":
            fused = bool(node["optimizer"].get("fused"))
            check_shardable(model, job.trainer.state.optimizer, layout, bool(options.compile), fused)
        if options.micro_batch == "auto":
            check_auto_micro_batches(model, layout.strategy == "fsdp", 32)
    except ConfigError as error:
        return str(error)
    finally:
        job.close()
    return ""


@pytest.mark.parametrize(("typed", "said", "then"), SHARES, ids=[row[0] for row in SHARES])
def test_what_is_said_of_shares_can_be_set(
    typed: str, said: str, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = fault_of_shares(words_of(typed))
    assert says(message, said), message
    assert not fault_of_shares(words_of(then))
