"""Names of PyTorch's that have no entry here: each is answered with what takes its place, and that works."""

import re
from pathlib import Path

import pytest

from expkit.cli.run import main
from expkit.config.compose import Place, choices_of, compose_all, compose_one, plain
from expkit.config.hydra_loader import guarded
from expkit.config.listing import in_catalogue
from expkit.config.registry import GROUPS
from expkit.config.torch_names import _OF_GROUPS, _OPTIONS, instead, instead_of_option
from expkit.core.errors import ConfigError

TOLD = sorted({text for names in [*_OF_GROUPS.values(), _OPTIONS] for text in names.values()})
SMALL = [
    "dataset=fake", "dataset.images=20", "dataset.image_size=16", "dataset.num_classes=2", "model.width=4",
    "logger=none",
]  # fmt: skip
BASE = {"dataset": ["dataset=image_folder", "dataset.root=FOLDER"]}


def overrides_in(text: str) -> list[str]:
    found = re.findall(r"'(\w[\w.]*=[^']+)'|(\+?\b[a-z][\w.]*=\S+)", text)
    return [quoted or word.rstrip(",;") for quoted, word in found]


def command_lines() -> list[list[str]]:
    """Return as few command lines as hold all overrides that are said, no two for one group in any."""
    lines: list[dict[str, list[str]]] = []
    for text in TOLD:
        by_group: dict[str, list[str]] = {}
        for word in dict.fromkeys(overrides_in(text)):
            by_group.setdefault(re.split(r"[.=]", word.lstrip("+"))[0], []).append(word)
        if any(len({word for word in words if "." not in word.partition("=")[0]}) > 1 for words in by_group.values()):
            lines += [{group: [word]} for group, words in by_group.items() for word in words]
            continue
        line = next((line for line in lines if not line.keys() & by_group.keys()), None)
        if line is None:
            lines.append(line := {})
        line |= by_group
    return [[word for words in (BASE | line).values() for word in words] for line in lines]


def test_what_is_said_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = command_lines()
    assert sum(map(len, lines)) > 80
    for words in lines:
        if not any(word.startswith("dataset=") for word in words):
            words = [*BASE["dataset"], *(word for word in words if word not in BASE["dataset"])]
        compose_one(words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("transforms.train=[{name:ToTensor}]", "uint8 tensors until the batch is normalised"),
        ("transforms.train=[{name:ToPILImage}]", "leave it out"),
        ("transforms.train=[{name:transforms.ToTensor}]", "uint8 tensors until the batch is normalised"),
        ("transforms.train=[{name:Lambda}]", "@transforms.register('NAME')"),
        ("transforms.train=[{name:Compose}]", "the list itself is the composition"),
        ("transforms.eval=[{name:Normalize}]", "transforms.normalize.mean=[0.5,0.5,0.5]"),
        ("transforms.train=[{name:Scale,size:8}]", "called Resize now"),
        ("transforms.train=[{name:RandomSizedCrop,size:8}]", "called RandomResizedCrop now"),
        ("dataset.pin_memory=true", "pinned by itself"),
        ("+dataset.pin_memory=true", "pinned by itself"),
        ("pin_memory=true", "pinned by itself"),
        ("dataset.collate_fn=mine", "dataset.on_bad=skip"),
        ("shuffle=false", "sampler=sequential"),
        ("dataset.shuffle=true", "sampler=shuffle"),
        ("batch_sampler=x", "batch_size=32"),
        ("num_workers=2", "write dataset.num_workers=2"),
        ("drop_last=true", "write dataset.drop_last=true"),
        ("max_epochs=3", "e.g. epochs=3"),
        ("gpu_id=1", "write device=gpu device.index=1"),
        ("monitor=val/loss", "write checkpoint.monitor=val/loss"),
        ("data_dir=~/pics", "write dataset.root=~/pics"),
        ("mean=[0.1,0.2,0.3]", "write transforms.normalize.mean=[0.1,0.2,0.3]"),
        ("+use_cuda=false", "write device=cpu"),
        ("pretrained=false", "leave it out"),
        ("sampler=WeightedRandomSampler", "write sampler=weighted"),
        ("sampler=RandomSampler", "write sampler=shuffle"),
        ("device=cuda", "write device=gpu"),
        ("device=cuda:1", "write device=gpu device.index=1"),
        ("device=cpu:0", "write device=cpu"),
        ("device=DataParallel", "device=multi_gpu device.strategy=data_parallel"),
        ("device=DistributedDataParallel", "write device=multi_gpu"),
        ("checkpoint.map_location=cpu", "device=cpu"),
        ("map_location=cpu", "device=cpu"),
        ("model.pretrained=true", "model.weights=DEFAULT"),
        ("checkpoint.monitor=accuracies", "there is no score 'accuracies'; there is"),
    ],
)
def test_the_tutorials_names_are_answered(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([*SMALL, words])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert not list(tmp_path.glob("outputs/*"))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("accelerator=gpu", "write device=gpu"), ("accelerator=cpu", "write device=cpu"),
        ("trainer.max_epochs=3", "trainer.max_epochs: the config has no such key; write epochs=3"),
        ("trainer=x", "keys of their own"), ("trainer.devices=2", "write device=multi_gpu device.count=2"),
        ("gpus=2", "write device=multi_gpu device.count=2"), ("gpus=1", "write device=gpu"),
        ("gpus=[0,1]", "write device=multi_gpu device.indices=[0,1]"), ("devices=auto", "e.g. device=auto?"),
        ("devices=4", "e.g. device=multi_gpu device.count=4?"), ("strategy=ddp", "write device=multi_gpu"),
        ("strategy=fsdp", "write device=multi_gpu device.strategy=fsdp"),
        ("precision=16", "write device.precision=fp16"), ("precision=bf16-mixed", "write device.precision=bf16"),
        ("precision=32", "write device.precision=fp32"), ("dtype=bfloat16", "write device.precision=bf16"),
        ("lr=0.1", "write optimizer.lr=0.1"), ("learning_rate=0.1", "write optimizer.lr=0.1"),
        ("max_epochs=3", "e.g. epochs=3"), ("num_workers=4", "write dataset.num_workers=4"),
        ("weight_decay=0.1", "write optimizer.weight_decay=0.1"), ("opt=sgd", "write optimizer=sgd"),
        ("accumulate_grad_batches=4", "accumulate_steps=4"), ("gradient_clip_val=0.5", "clip_grad_norm=0.5"),
        ("log_every_n_steps=5", "log_every=5"), ("limit_val_batches=5", "limit_eval_batches=5"),
        ("fast_dev_run=true", "write experiment=debug"), ("benchmark=true", "leave it out"),
        ("default_root_dir=here", "write output_dir=here"), ("ckpt_path=RUNS/a", "write checkpoint.resume=RUNS/a"),
        ("model_ema_decay=0.99", "ema_decay=0.99"), ("smoothing=0.2", "write loss.label_smoothing=0.2"),
        ("mixup=0.2", "transforms.batch=[{name:mixup}]"), ("validation_split=0.3", "write dataset.val_fraction=0.3"),
        ("warmup_epochs=3", "write schedule.warmup_epochs=3"), ("num_classes=7", "leave it out"),
    ],
)  # fmt: skip
def test_other_frameworks_names_are_answered(word: str, told: str) -> None:
    with guarded(), pytest.raises(ConfigError) as error:
        compose_all([word], Place())
    assert error.value.faults[0].startswith(f"{word.partition('=')[0]}: ")
    assert told in error.value.faults[0]


def without_a_file() -> list[tuple[str, str]]:
    """Return (group, word) of every word that no file of conf/ is for, but those that have another name here."""
    return [
        (group, name)
        for group, registry in GROUPS.items()
        for name in registry.names()
        if name not in choices_of(group)
        and not instead(group, name)
        and group not in ("transforms", "watch", "metric", "task")
    ]


def test_a_word_of_the_catalogue_is_told_how_to_be_typed() -> None:
    words = without_a_file()
    assert {"model", "dataset", "optimizer", "schedule", "loss"} <= {group for group, _ in words}
    of_timm = [pair for pair in words if pair[1].startswith("timm/")]  # thousands, once a test has asked for one
    for group, name in [*(set(words) - set(of_timm[2:]))]:
        for typed in (name, name.upper()):
            told = in_catalogue(group, typed, choices_of(group))
            choice = "timm" if name.startswith("timm/") else "torch"
            assert told.startswith(f"; write {group}={choice}")
            assert f"{group}.name={name}" in told
    for group, choice in (("model", "torchvision"), ("optimizer", "torch"), ("dataset", "torchvision")):
        assert choice in choices_of(group)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("model=resnet34", "write model=torchvision model.name=resnet34"),
        ("model=ResNet34", "write model=torchvision model.name=resnet34"),
        ("optimizer=RAdam", "write optimizer=torch optimizer.name=radam"),
        ("optimizer=nadm", "did you mean optimizer=torch optimizer.name=nadam?"),
        ("optimizer=SGD", "did you mean 'sgd'?"),
        ("optimizer=admaw", "did you mean 'adamw'?"),
        ("schedule=StepLR", "write schedule=step"),
        ("schedule=MultiStepLR", "write schedule=torch schedule.name=MultiStepLR +schedule.milestones=…"),
        ("dataset=FakeData", "write dataset=fake"),
        ("dataset=food101", "write dataset=torchvision dataset.name=food101 dataset.root=FOLDER"),
        ("metric=MatthewsCorrCoef", "write +metric.matthews_corr_coef.name=MatthewsCorrCoef"),
        ("metric=AUROCC", "did you mean 'auroc'?"),
        ("loss=MultiMarginLoss", "write loss=torch loss.name=MultiMarginLoss"),
        ("transforms=RandAugment", "write {name: RandAugment} into the list transforms.train"),
        ("watch=confusion_matrix", "write watch.confusion_matrix.every=1"),
        ("logger=tensorbord", "did you mean 'tensorboard'?"),
        ("sampler=RandomSampler", "write sampler=shuffle"),
        ("device=qpu9x", "; there is auto, cpu"),
    ],
)
def test_a_choice_is_told_how_to_be_typed(typed: str, told: str) -> None:
    with guarded(), pytest.raises(ConfigError) as error:
        compose_all([typed], Place())
    (fault,) = error.value.faults
    assert told in fault
    for words in re.findall(r"write (\w+=\w+ [^;…]+)$", told):
        config = plain(compose_one(words.split()))
        group = typed.partition("=")[0]
        assert not GROUPS[group].faults(config[group])


@pytest.mark.parametrize(
    ("typed", "about"),
    [
        (["accelerator=gpu", "devices=2", "max_epochs=3"], ["accelerator", "devices", "max_epochs"]),
        (["model=resnet34", "epochs=wide"], ["model", "epochs"]),
        (["model=resnet34", "model.weights=DEFAULT", "lr=1", "optimizer.lr=fast", "batch_size=-1"],
         ["model", "lr", "optimizer.lr", "batch_size"]),
        (["optimizer=RAdam", "model.widht=3", "seed=0"], ["optimizer", "model.widht"]),
        (["foo=1", "foo=2", "bar=1"], ["foo", "bar"]),
        (["foo=1", "dataset=torchvision", "dataset.name=mnist"], ["foo", "dataset.root"]),
        (["-m", "foo=1,2", "bar=1", "epochs=wide,2"], ["foo", "bar", "epochs"]),
    ],
)  # fmt: skip
def test_all_faults_of_a_command_line_are_named(
    typed: list[str], about: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(typed)
    lines = capsys.readouterr().err.splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == sorted(about)


def test_a_score_is_also_known_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main([*SMALL, "epochs=1", "checkpoint.monitor=val/accuracy", "dataset.num_workers=0", "watch=none"])
    assert list(tmp_path.glob("outputs/*/result.json"))


def test_what_is_here_is_not_answered() -> None:
    assert not [name for name in GROUPS["transforms"].names() if instead("transforms", name)]
    assert not instead("model", "ToTensor")
    assert not instead_of_option("nothing_of_the_kind")
    assert not instead_of_option("batch_size")
