"""WebDataset shards, written by the library itself."""

import io
import tarfile
from pathlib import Path

import pytest
from torch import Tensor

import expkit
from expkit.config.registry import datasets
from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.data.datasets.webdataset import Unread, read_index
from expkit.data.decode import decode_file


def shard(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    """Write a tar file as webdataset's TarWriter does: a sample's files stand together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def images(small_run: expkit.Run) -> list[Path]:
    return sorted(next((small_run.folder.parents[1] / "shapes").rglob("val")).rglob("*.jpg"))


def write(folder: Path, images: list[Path], label: str = "number") -> None:
    words = sorted({path.parent.name for path in images})
    for part in range(2):
        files: dict[str, bytes] = {}
        for path in images[part::2]:
            key = f"{path.parent.name}/{path.stem}"
            named = path.parent.name if label == "word" else str(words.index(path.parent.name))
            files |= {f"{key}.seg.png": b"", f"{key}.cls": named.encode(), f"{key}.jpg": path.read_bytes()}
            files |= {f"{key}.json": b"{}"}
            del files[f"{key}.seg.png"]
        shard(folder / f"train-{part:03}.tar", files)


def same(image: Tensor, path: Path) -> bool:
    return bool((image == decode_file(path)).all())


@pytest.mark.parametrize("label", ["number", "word"])
def test_every_image_has_its_pixels_and_its_class(tmp_path: Path, images: list[Path], label: str) -> None:
    write(tmp_path, images, label)
    data = datasets.build({"name": "webdataset", "root": str(tmp_path)}).train
    assert len(data) == 40
    by_name = {data.sample_name(index): index for index in range(40)}
    words = sorted({path.parent.name for path in images})
    for place, path in enumerate(images):
        index = by_name[f"train-{place % 2:03}.tar/{path.parent.name}/{path.stem}"]
        assert same(data.image(index), path)
        assert data.targets[index] == words.index(path.parent.name)
    assert list(data.class_names) == (words if label == "word" else ["0", "1", "2", "3", "4"])


def test_classes_are_named_and_a_split_is_held_out_or_given(tmp_path: Path, images: list[Path]) -> None:
    write(tmp_path, images)
    node = {"name": "webdataset", "root": str(tmp_path), "classes": ["c", "x", "q", "s", "t"]}
    held_out = load(node)
    assert held_out.val is not None
    assert (len(held_out.train), len(held_out.val)) == (30, 10)
    given = load(node | {"val_shards": "*1.tar"})
    assert given.val is not None
    assert (len(given.train), len(given.val)) == (20, 20)
    assert given.train.class_names == ("c", "x", "q", "s", "t")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its file open
def test_the_library_reads_the_same(tmp_path: Path, images: list[Path]) -> None:
    library = pytest.importorskip("webdataset")
    path = tmp_path / "a.tar"
    with library.TarWriter(str(path)) as writer:
        for number, image in enumerate(images[:5]):
            writer.write({"__key__": f"{number:04}", "jpg": image.read_bytes(), "cls": number % 3})
    expected = [
        (sample["__key__"], sample["cls"].decode()) for sample in library.WebDataset(str(path), shardshuffle=False)
    ]
    assert [(sample.key, sample.label) for sample in read_index(path, Unread())] == expected


def test_what_is_no_sample_is_counted(tmp_path: Path, images: list[Path]) -> None:
    files = {f"{n}.{ending}": data for n in range(6)
             for ending, data in (("jpg", images[n].read_bytes()), ("cls", b"%d" % (n % 2)))}  # fmt: skip
    more = {
        "._1.jpg": b"x",
        "__MACOSX/._1.cls": b"9",
        "@eaDir/1.jpg": b"x",
        "7.jpg": b"x",
        "8.heic": b"x",
        "8.cls": b"1",
    }
    shard(tmp_path / "a.tar", files | more)
    whole = shard(tmp_path / "b.tar", files).read_bytes()
    shard(tmp_path / "empty.tar", {})
    (tmp_path / "b.tar").write_bytes(whole[: whole.index(b"4.jpg")])
    splits = load({"name": "webdataset", "root": str(tmp_path), "val_fraction": 0.0})
    notes = "\n".join(splits.notes)
    assert len(splits.train) == 10
    for said in ("passed over 3 leftovers", "1 image without a .cls file", "1 .cls file without an image",
                 f"warning: 1 shard without a tar file's end, perhaps cut off in a copy: {tmp_path}/b"):  # fmt: skip
        assert said in notes


def test_a_run_trains_on_shards(tmp_path: Path, images: list[Path]) -> None:
    write(tmp_path / "shards", images, "word")
    words = ["dataset=webdataset", f"dataset.root={tmp_path}/shards", "epochs=1", "model.width=4", "logger=none"]
    run = expkit.train([*words, f"output_dir={tmp_path}/outputs", "dataset.num_workers=2"])
    assert run.load().classes == ("circle", "cross", "square", "star", "triangle")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shards": "x-*.tar"}, "dataset.shards: no shard"),
        ({"val_shards": "*.tar"}, "name others to train on"),
        ({"classes": ["a", "b"]}, "dataset.classes: a .cls file says"),
        ({"shards": "/*.tar"}, "dataset.shards: no shard"),
    ],
    ids=str,
)
def test_a_mistake_is_told(tmp_path: Path, images: list[Path], change: dict[str, object], says: str) -> None:
    write(tmp_path, images)
    with pytest.raises(ConfigError, match=says):
        datasets.build({"name": "webdataset", "root": str(tmp_path), **change})


def test_a_compressed_shard_is_refused(tmp_path: Path, images: list[Path]) -> None:
    shard(tmp_path / "a.tar", {"a.jpg": b"x", "a.cls": b"0"}, "w:gz")
    with pytest.raises(ConfigError, match="is no plain tar file"):
        datasets.build({"name": "webdataset", "root": str(tmp_path)})
