"""What systems and programs leave among images is passed over in every data set and command, and counted."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from expkit.core.errors import ConfigError
from expkit.data.datasets import load
from expkit.data.datasets.leftovers import is_leftover
from expkit.doctor.duplicates import find_groups
from expkit.doctor.exclude_lists import write_lists
from expkit.doctor.scan import Collection, scan
from expkit.inference import collect_images
from tests.forks import Forks

FOLDERS = ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".Trash-1000",
           "lost+found", "#recycle", ".git", "__pycache__", ".AppleDouble", ".thumbnails",
           "LOST.DIR", "FOUND.001", "$WINDOWS.~BT", "~snapshot", "@SynoResource"]  # fmt: skip
FILES = ["._1.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", ".hidden.png", "~$1.jpg"]


def strew(folder: Path) -> None:
    """Put every kind of leftover into a folder, those that are folders with something like an image within."""
    for name in FOLDERS:
        (folder / name).mkdir()
        (folder / name / "1-checkpoint.jpg").write_bytes(b"\0\5\26\7")
    for name in FILES:
        (folder / name).write_bytes(b"\0\5\26\7")


def count_noun(notes: "list[str] | tuple[str, ...]") -> str:
    return next(note for note in notes if "leftover" in note)


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_leftovers_are_known_by_name(name: str) -> None:
    assert is_leftover(name)


@pytest.mark.parametrize("name", ["cat", "1.jpg", "MACOSX", "found", "a.b.jpg", "_x.jpg", "@home", "#1"])
def test_names_of_a_person_are_none(name: str) -> None:
    assert not is_leftover(name)


@pytest.mark.parametrize("inside", [[""], ["cat"], ["", "cat", "dog/sub"]])
def test_folders_of_classes(image_files: Callable[..., Path], inside: list[str]) -> None:
    root = image_files("data", *(f"{c}/{n}.jpg" for c in ("cat", "dog") for n in range(5)), "dog/sub/5.jpg")
    for place in inside:
        strew(root / place)
    splits = load({"name": "image_folder", "root": str(root)})
    assert splits.val is not None
    assert (splits.train.class_names, len(splits.train) + len(splits.val)) == (("cat", "dog"), 11)
    assert f"passed over {len(inside) * (len(FOLDERS) + len(FILES))} leftovers of other programs" in count_noun(
        [*splits.notes]
    )


def test_beside_folders_of_splits(image_files: Callable[..., Path]) -> None:
    root = image_files("data", *(f"{s}/{c}/{n}.jpg" for s in ("train", "val") for c in ("cat", "dog") for n in "12"))
    strew(root)
    splits = load({"name": "image_folder", "root": str(root)})
    assert splits.train.class_names == ("cat", "dog")
    assert count_noun([*splits.notes]).startswith(f"passed over {len(FOLDERS) + len(FILES)} leftovers")


def test_names_with_classes(image_files: Callable[..., Path]) -> None:
    root = image_files("data", *(f"{c}.{n}.jpg" for c in ("cat", "dog") for n in range(5)))
    strew(root)
    splits = load({"name": "dogcat", "root": str(root)})
    assert splits.val is not None
    assert len(splits.train) + len(splits.val) == 10
    assert count_noun([*splits.notes])


@pytest.mark.parametrize("word", ["data", "data/*", "data/**/*", "data/cat/*"])
def test_images_to_predict(image_files: Callable[..., Path], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = image_files("data", "cat/1.jpg", "cat/2.jpg")
    strew(root / "cat")
    (root / "cat/notes.txt").write_text("x")
    monkeypatch.chdir(root.parent)
    said: list[str] = []
    assert collect_images([word], report=said.append) == ["data/cat/1.jpg", "data/cat/2.jpg"]
    assert any("(.txt 1)" in note for note in said)
    assert collect_images(["data/cat/notes.txt"]) == ["data/cat/notes.txt"]  # asked for by name
    assert collect_images(["data/cat/*.txt"]) == ["data/cat/notes.txt"]


def test_files_of_other_kinds_are_counted(image_files: Callable[..., Path]) -> None:
    root = image_files("data", *(f"{c}/{n}.jpg" for c in ("cat", "dog") for n in range(5)), "1.jpg")
    for name in ("cat/a.heic", "cat/b.HEIC", "dog/c.xml", "readme.txt", "cat/noending"):
        (root / name).write_bytes(b"x")
    notes = load({"name": "image_folder", "root": str(root)}).notes
    assert "passed over 5 files (.heic 2, .txt 1, .xml 1, no ending 1)" in notes
    assert "passed over 1 image in no class folder (1.jpg)" in notes


def test_a_folder_without_images_says_what_lies_there(tmp_path: Path) -> None:
    for name in ("cat/1.heic", "cat/2.heic", "dog/1.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"no image in the class folder cat, dog .*\(there are 3 \.heic\)"):
        load({"name": "image_folder", "root": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"there are 3 \.heic"):
        load({"name": "dogcat", "root": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"there are 3 \.heic"):
        collect_images([str(tmp_path)])


@pytest.mark.parametrize(("ending", "kind"), [(".jfif", "JPEG"), (".jpe", "JPEG"), (".JFIF", "JPEG"),
                                              (".avif", "AVIF"), (".gif", "GIF")])  # fmt: skip
def test_more_endings_are_read(tmp_path: Path, ending: str, kind: str) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(2):
            file = io.BytesIO()
            Image.effect_noise((20, 16), 90).convert("RGB").save(file, kind)
            (tmp_path / name / f"{number}{ending}").write_bytes(file.getvalue())
    splits = load({"name": "image_folder", "root": str(tmp_path)})
    assert len(splits.train) == 2
    assert splits.train.image(0).shape == (3, 16, 20)
    assert len(collect_images([str(tmp_path)])) == 4


def test_the_doctor_gives_no_remedy_that_a_run_refuses(tmp_path: Path, image_files: Callable[..., Path]) -> None:
    root = image_files("data", *(f"{c}/{n}.jpg" for c in ("cat", "dog", "eel") for n in range(4)))
    (tmp_path / "out").mkdir()
    for path in (root / "eel").glob("*.jpg"):
        path.write_bytes(b"")
    found = scan(Collection(load({"name": "image_folder", "root": str(root)})), 1, 30)
    assert write_lists(tmp_path / "out", found, find_groups(found.collection, found.readings), None).best == ""
    Image.effect_noise((40, 36), 70).convert("RGB").save(root / "eel/0.jpg")
    Image.effect_noise((40, 36), 70).convert("RGB").save(root / "eel/1.jpg")
    found = scan(Collection(load({"name": "image_folder", "root": str(root)})), 1, 30)
    fixes = write_lists(tmp_path / "out", found, find_groups(found.collection, found.readings), None)
    load({"name": "image_folder", "root": str(root), "exclude": fixes.best.partition("=")[2]})


def test_the_doctor_s_last_line_works(tmp_path: Path, image_files: Callable[..., Path], commands: Forks) -> None:
    root = image_files("data", *(f"{c}/{n}.jpg" for c in ("cat", "dog") for n in range(4)))
    (root / "cat/0.jpg").write_bytes(b"")
    Image.new("RGB", (30_000, 1)).save(root / "dog/thin.png")
    strew(root)
    words = ["dataset=image_folder", f"dataset.root={root}", "model.width=4", "transforms=tutorial", "epochs=1"]
    done = commands.run(tmp_path, *words, module="expkit.cli.doctor")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("then ")]
    assert "leftovers of other programs" in done.stdout
    assert "problem  images: 1 image too thin for the transforms: dog/thin.png" in done.stdout
    again = commands.run(tmp_path, *line.split("expkit.run ")[1].split(), "logger=none", "transforms.image_size=32")
    assert again.returncode == 0, again.stderr


@pytest.fixture
def imagenet(image_files: Callable[..., Path]) -> Path:
    names = {"n01440764": ("tench", "Tinca tinca"), "n01443537": ("goldfish",), "n02012849": ("crane",)}
    root = image_files("imagenet", *(f"{s}/{c}/{n}.JPEG" for s in ("train", "val") for c in names for n in "12"))
    torch.save((names, []), root / "meta.bin")
    return root


def test_imagenet(imagenet: Path) -> None:
    for place in ("train", "train/n01443537", "val"):
        strew(imagenet / place)
    (imagenet / "train/n01440764/notes.txt").touch()
    splits = load({"name": "imagenet", "root": str(imagenet)})
    assert splits.val is not None
    assert splits.train.class_names == ("tench", "goldfish", "crane")
    assert [splits.train.sample_name(index) for index in range(3)] == [
        f"train/{one}.JPEG" for one in ("n01440764/1", "n01440764/2", "n01443537/1")
    ]
    assert splits.train.targets.tolist() == splits.val.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert f"passed over {3 * (len(FOLDERS) + len(FILES))} leftovers of other programs" in count_noun([*splits.notes])
    assert "passed over 1 file (.txt 1)" in splits.notes


def test_a_folder_of_imagenet_that_is_no_class(imagenet: Path) -> None:
    (imagenet / "train/mine").mkdir()
    with pytest.raises(ConfigError, match="'mine', which is no class"):
        load({"name": "imagenet", "root": str(imagenet)})


def test_lsun(image_files: Callable[..., Path]) -> None:
    lmdb = pytest.importorskip("lmdb")
    root = image_files("lsun", "x/1.jpg")
    for scene in ("church", "tower"):
        with lmdb.open(str(root / f"{scene}_train_lmdb"), map_size=2**20) as database, database.begin(write=True) as to:
            for number in range(4):
                to.put(f"{number}".encode(), (root / "x/1.jpg").read_bytes())
    strew(root)
    (root / "church_train_lmdb.zip").touch()
    splits = load({"name": "lsun", "root": str(root)})
    assert splits.train.class_names == ("church", "tower")
    assert f"passed over {len(FOLDERS) + len(FILES)} leftovers of other programs" in count_noun([*splits.notes])
    assert "passed over 1 file (.zip 1)" in splits.notes
