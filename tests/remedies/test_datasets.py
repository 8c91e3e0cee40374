"""What messages about a data set say to type or to do by hand: each row makes the mistake, and then does that."""

import io
import json
import shlex
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.core.errors import ConfigError
from expkit.data.cache import Cache, cached
from expkit.data.datasets import load
from expkit.data.decode import BadImage
from expkit.data.transforms import Chain
from tests.remedies.followed import checked, follow

_TWO = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(4)]
_NAMED = [f"{name}.{number}.jpg" for name in ("cat", "dog") for number in range(4)]
# Folder -> what lies in it.
FOLDERS = {
    "pets": _TWO,
    "named": _NAMED,
    "hollow": _TWO,
    "archive/pets": _TWO,
    "beside": [*_TWO, *(f"train/{name}" for name in _TWO)],
    "alike": [f"{split}/{name}" for split in ("train", "more") for name in _TWO],
    "trains": [f"{split}/{name}" for split in ("train", "training", "val") for name in _TWO],
    "vals": [f"{split}/{name}" for split in ("train", "val", "dev") for name in _TWO],
    "outer": [f"{split}/{name}" for split in ("train", "val") for name in _TWO],
    "tests": [f"{split}/{name}" for split in ("val", "test") for name in _TWO],
    "inner": [f"{name}/{split}/{number}.jpg" for split in ("train", "test") for name in "ab" for number in (0, 1)],
    "files": [f"{split}/{name}" for split in ("train", "test") for name in _NAMED],
    "many": [f"{split}/{name}" for split in ("train", "training", "val") for name in _NAMED],
    "heldout": [f"{split}/{name}" for split in ("val", "test") for name in _NAMED],
    "numbers": [f"{number}.jpg" for number in range(4)],
    "mixed": [*_NAMED, "cow.1.jpg"],
    "oddly": [f"{name}.{number}.jpg" for name in ("train", "val") for number in range(4)],
}  # fmt: skip
IMAGES = "dataset=image_folder dataset.root="
NAMES = "dataset=dogcat dataset.root="
COCO = "dataset=coco dataset.root=pets dataset.annotations=coco.json"
SHARDS = "dataset=webdataset dataset.root=shards"
SHAPES = "dataset=shapes dataset.size=32 dataset.train_images=10 dataset.val_images=5"
ARRANGE = (
    "$ cd inner; for s in train test; do mkdir $s; for c in a b; do mv $c/$s $s/$c; done; done; rmdir a b"  # as it says
)
# What is typed, what is said, what is typed then; after a $, what is done in a shell.
ROWS = [
    (f"{IMAGES}gone", "give the images' folder", "dataset.root=pets"),
    (f"{IMAGES}pets/dog/0.jpg", "give the folder that holds the images", "dataset.root=pets"),
    (f"{IMAGES}empty", "give the images' folder", "dataset.root=pets"),
    (f"{IMAGES}named", "for names like cat.1.jpg use dataset=dogcat", "dataset=dogcat"),
    (f"{IMAGES}files", "for names like cat.1.jpg use dataset=dogcat", "dataset=dogcat"),
    (f"{IMAGES}hollow", "add some or remove it", "$ rmdir hollow/cow"),
    (f"{IMAGES}hollow", "add some or remove it", "$ cp pets/dog/0.jpg hollow/cow/1.jpg; cp pets/dog/1.jpg hollow/cow"),
    (f"{IMAGES}archive", "set dataset.root=archive/pets", "dataset.root=archive/pets"),
    (f"{IMAGES}beside", "set dataset.root=beside/train", "dataset.root=beside/train"),
    (f"{IMAGES}beside", "or move the one or the other elsewhere", "$ mv beside/train elsewhere"),
    (f"{IMAGES}alike", "set dataset.root=alike/train", "dataset.root=alike/train"),
    (f"{IMAGES}trains", "set dataset.root=trains/train", "dataset.root=trains/train"),
    (f"{IMAGES}vals", "set dataset.val_root=vals/dev", "dataset.val_root=vals/dev"),
    (f"{IMAGES}pets dataset.val_root=outer", "e.g. dataset.val_root=outer/val", "dataset.val_root=outer/val"),
    (f"{IMAGES}tests", "set dataset.root to the folder that holds the training images' classes", "dataset.root=pets"),
    (f"{IMAGES}inner", "arrange them as train/CLASS, val/CLASS and test/CLASS", ARRANGE),
    (f"{IMAGES}pets dataset.fold=0 dataset.folds=99", "take fewer", "dataset.folds=4"),
    (f"{IMAGES}pets dataset.exclude=gone.json", "give a bad_files.json", "dataset.exclude=one/bad_files.json"),
    (f"{IMAGES}pets dataset.exclude=list.json", 'names to reasons, e.g. {"cat/1.jpg": "the file is empty"}',
     """$ echo '{"cat/1.jpg": "the file is empty"}' > list.json"""),
    (f"{IMAGES}pets dataset.exclude=all.json", "shorten it", """$ echo '{"cat/1.jpg": ""}' > all.json"""),
    (f"{NAMES}many", "set dataset.root to the folder of the training images and dataset.val_root to that of the others",
     "dataset.root=many/training dataset.val_root=many/val"),
    (f"{NAMES}heldout", "set dataset.root to their folder", "dataset.root=named"),
    (f"{NAMES}numbers", "set dataset.root to the training images' folder", "dataset.root=named"),
    (f"{NAMES}named dataset.val_root=numbers", "leave dataset.val_root out", "-dataset.val_root"),
    (f"{NAMES}mixed", "dataset.classes=[cat,cow,dog]", "dataset.classes=[cat,cow,dog]"),
    (f"{NAMES}oddly dataset.classes=[train,val]", "set dataset.root to the folder of the training images alone",
     "dataset.root=named dataset.classes=[cat,dog]"),
    (f"{COCO} dataset.val_root=pets", "give both or neither", "-dataset.val_root"),
    (f"{COCO} dataset.val_root=pets", "give both or neither", "dataset.val_annotations=coco.json"),
    ("dataset=coco dataset.root=pets dataset.annotations=gone.json", "give an instances_*.json file",
     "dataset.annotations=coco.json"),
    ("dataset=coco dataset.root=pets dataset.annotations=list.json", "give an instances_*.json file",
     "dataset.annotations=coco.json"),
    (f"{COCO} dataset.label_noise=0.5", "set it to 0", "dataset.label_noise=0"),
    (f"{SHAPES} dataset.root=pets", "give another dataset.root", "dataset.root=drawn"),
    (f"{SHAPES} dataset.root=damaged", "remove the folder, and they are drawn again", "$ rm -r damaged"),
    (f"{SHARDS} dataset.shards=gone-*.tar", "give a pattern such as train-*.tar", "dataset.shards=train-*.tar"),
    (f"{SHARDS} dataset.shards=train-0.tar dataset.val_shards=train-*.tar", "name others to train on",
     "dataset.shards=train-1.tar dataset.val_shards=train-0.tar"),
    ("dataset=webdataset dataset.root=shards/aside", "of val or test; name some", "dataset.shards=val-*.tar"),
    ("dataset=webdataset dataset.root=packed", "unpack a compressed one",
     "$ cd packed; mv train-0.tar a.gz; gunzip a.gz; mv a train-0.tar"),
    ("dataset=webdataset dataset.root=unnamed", "write the class into it", "$ cp shards/train-0.tar unnamed"),
    ("dataset=lsun dataset.root=empty", "put LSUN's lmdb folders there", "$ cp -r lsun/* empty"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for number, path in enumerate(f"{place}/{name}" for place, names in FOLDERS.items() for name in names):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 36), 40 + number).convert("RGB").save(folder / path)
    for place in ("empty", "hollow/cow", "damaged", "one"):
        (folder / place).mkdir()
    (folder / "damaged/shapes.json").write_text("{")
    (folder / "one/bad_files.json").write_text('{"cat/1.jpg": "the file is empty"}')
    (folder / "list.json").write_text("[]")
    (folder / "all.json").write_text(json.dumps(dict.fromkeys(_TWO, "")))
    listed = [{"id": number, "file_name": name} for number, name in enumerate(_TWO)]
    labels = [{"image_id": number, "category_id": number // 4} for number in range(8)]
    names = [{"id": number, "name": name} for number, name in enumerate(("cat", "dog"))]
    (folder / "coco.json").write_text(json.dumps({"images": listed, "annotations": labels, "categories": names}))
    write_shards(folder)
    return folder


def write_shards(folder: Path) -> None:
    jpeg = (folder / "pets/cat/0.jpg").read_bytes()
    for path, mode, empty in (
        ("shards/train-0.tar", "w", ()), ("shards/train-1.tar", "w", ()), ("shards/aside/val-0.tar", "w", ()),
        ("packed/train-0.tar", "w:gz", ()), ("unnamed/train-0.tar", "w", (3,)),
    ):  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / path, mode) as shard:  # type: ignore[call-overload]
            for number in range(6):
                label = b"" if number in empty else b"%d" % (number % 2)
                for name, content in ((f"{number}.jpg", jpeg), (f"{number}.cls", label)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))


def write_lsun(folder: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    for scene in ("bridge", "church"):
        (folder / f"lsun/{scene}_train_lmdb").mkdir(parents=True)
        with lmdb.open(str(folder / f"lsun/{scene}_train_lmdb"), map_size=2**20) as base, base.begin(write=True) as to:
            for path in (folder / "pets/cat").iterdir():
                to.put(path.name.encode(), path.read_bytes())


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fault(words: list[str]) -> str:
    try:
        load(checked(words))
    except ConfigError as error:
        return "\n".join(error.faults)
    return ""


@pytest.mark.parametrize(("line", "said", "then"), ROWS)
def test_the_data_can_be_read_then(line: str, said: str, then: str, place: Path) -> None:
    if "lsun" in line:
        write_lsun(place)
    typed = shlex.split(line)
    message = fault(typed)
    assert said in message
    assert not fault(follow(typed, then, message, place))


# A file, how it is read, why it cannot be, and how it is read then; after a $, what is done with the file.
FILES = [
    ("deep.tiff", "dataset.deep_range=null", "give dataset.deep_range=[LOWEST,HIGHEST]", "dataset.deep_range=[0,9]"),
    ("deep.tiff", "dataset.deep_range=null", "or save it with 8 or 16 bits", ("L", "again.png")),
    ("eps.png", "", "save it as a PNG", ("RGB", "again.png")),
    ("large.png", "dataset.max_pixels=2000", "dataset.max_pixels=2000", "dataset.max_pixels=100000"),
]


@pytest.mark.parametrize(("name", "read", "said", "then"), FILES)
def test_the_file_can_be_read_then(name: str, read: str, said: str, then: str | tuple[str, str], place: Path) -> None:
    values = np.arange(48.0 * 48, dtype=np.float32).reshape(48, 48) / 300
    image = Image.fromarray(values if name == "deep.tiff" else values.astype(np.uint8))
    image.save(place / "pets/cat" / name, format="EPS" if name == "eps.png" else None)
    typed = ["dataset=image_folder", "dataset.root=pets", "dataset.val_fraction=0", *read.split()]
    (reason,) = reasons(typed)
    assert said in reason
    if isinstance(then, tuple):
        (place / "pets/cat" / name).unlink()
        Image.fromarray(values.astype(np.uint8)).convert(then[0]).save(place / "pets/cat" / then[1])
    else:
        typed = follow(typed, then, reason, place)
    assert not reasons(typed)


def reasons(typed: list[str]) -> list[str]:
    data, found = load(checked(typed)).train, []
    for index in range(len(data)):
        try:
            data.image(index)
        except BadImage as error:
            found.append(error.reason)
    return found


# How images are kept, what hinders it, what is said, what is typed then.
CACHES = [
    ("dataset.cache=memory", "memory", "use dataset.cache=disk", "dataset.cache=disk"),
    ("dataset.cache=disk", "disk", "or dataset.cache=none", "dataset.cache=none"),
    ("dataset.cache=disk", "while", "or dataset.cache=none", "dataset.cache=none"),
    ("dataset.cache=disk dataset.cache_dir=coco.json/cache", "", "give a folder that you may write to",
     "dataset.cache_dir=cache"),
    ("dataset.cache=disk dataset.cache_dir=kept", "damaged", "remove it", "$ rm -r kept/*"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "hindered", "said", "then"), CACHES)
def test_the_images_are_kept_then(line: str, hindered: str, said: str, then: str, place: Path) -> None:
    typed = ["dataset=image_folder", "dataset.root=pets", *shlex.split(line)]
    with pytest.MonkeyPatch.context() as patched:
        hinder(hindered, patched)
        with pytest.raises(ConfigError) as raised:
            keep(typed)
    message = str(raised.value)
    assert said in message
    with pytest.MonkeyPatch.context() as patched:
        if hindered != "damaged":  # what lacks room lacks it still
            hinder(hindered, patched)
        keep(follow(typed, then, message, place))


def keep(typed: list[str]) -> None:
    node = checked(typed)
    data, _ = cached(load(node).train, Chain(()), Cache(node["cache"], Path(node["cache_dir"])), "train")
    assert data.image(0).shape == (3, 36, 40)


def hinder(what: str, patched: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    if what == "memory":
        patched.setattr("expkit.data.cache._free_memory", lambda: 10)
    if what == "disk":
        patched.setattr("expkit.data.cache.shutil.disk_usage", lambda place: shutil._ntuple_diskusage(9, 9, 9))  # type: ignore[attr-defined]
    if what == "while":
        patched.setattr("expkit.data.cache._fill", full)
    if what == "damaged":
        patched.setattr("expkit.data.cache._read", lambda folder, count: None)
