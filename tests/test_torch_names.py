"""Names of PyTorch's that have no entry here: each is answered with what takes its place, and that works."""

import re
from pathlib import Path

import pytest

from expkit.onejob import compose_one
from expkit.registry import GROUPS
from expkit.run import main
from expkit.torch_names import _OF_GROUPS, _OPTIONS, instead, instead_of_option

TOLD = sorted({text for names in [*_OF_GROUPS.values(), _OPTIONS] for text in names.values()})
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
    small = [
        "dataset=fake",
        "dataset.images=20",
        "dataset.image_size=16",
        "dataset.num_classes=2",
        "model.width=4",
        "logger=none",
    ]
    with pytest.raises(SystemExit) as end:
        main([*small, words])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert not list(tmp_path.glob("outputs/*"))


def test_a_score_is_also_known_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = [
        "dataset=fake",
        "dataset.images=20",
        "dataset.image_size=16",
        "dataset.num_classes=2",
        "model.width=4",
        "logger=none",
        "epochs=1",
    ]
    main([*small, "checkpoint.monitor=val/accuracy", "dataset.num_workers=0", "watch=none"])
    assert list(tmp_path.glob("outputs/*/result.json"))


def test_what_is_here_is_not_answered() -> None:
    assert not [name for name in GROUPS["transforms"].names() if instead("transforms", name)]
    assert not instead("model", "ToTensor")
    assert not instead_of_option("nothing_of_the_kind")
    assert not instead_of_option("batch_size")
