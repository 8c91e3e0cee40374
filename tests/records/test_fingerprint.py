import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from expkit.data.dataset import Splits
from expkit.data.datasets import load
from expkit.records import compatibility
from expkit.records.environment import data_facts
from expkit.records.fingerprint import LIST_NAME, file_digests, list_bytes
from expkit.records.shared_record import Shared


def old_enough() -> None:
    time.sleep(2.1)  # a younger file might change within its time stamp, and is read again


def test_a_file_that_is_known_is_not_read_again(tmp_path: Path, cache: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    old_enough()
    method, first = file_digests([str(path) for path in paths])
    assert method == "contents"
    (store,) = cache.rglob("*.npz")
    kept = dict(np.load(store))
    kept["digests"] = np.frombuffer(b"told by the cache\0" * 2 + b"told by the cache", dtype=np.uint8)
    np.savez(store, **kept)
    assert file_digests([str(path) for path in paths])[1] == ["told by the cache"] * 3
    paths[1].write_bytes(b"9.jpg")  # of the same size
    assert file_digests([str(path) for path in paths])[1][1] not in ("told by the cache", first[1])
    store.write_bytes(b"no cache at all")
    assert file_digests([str(paths[0])])[1] == first[:1]


def test_a_young_file_is_read_again(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    file_digests([str(tmp_path / "a.jpg")])
    assert not list(cache.rglob("*.npz"))


def test_a_file_that_is_gone_has_no_digest(tmp_path: Path) -> None:
    assert file_digests([str(tmp_path / "none.jpg")])[1] == ["-"]


def test_two_splits_of_one_folder_share_the_cache(tmp_path: Path, cache: Path) -> None:
    paths = [str(tmp_path / f"{number}.jpg") for number in range(4)]
    for path in paths:
        Path(path).write_bytes(b"x")
    old_enough()
    file_digests(paths[::2])
    file_digests(paths[1::2])
    (store,) = cache.rglob("*.npz")
    assert len(np.load(store)["times"]) == 4


@pytest.fixture
def pets(image_files: Callable[..., Path]) -> tuple[Path, Shared]:
    """A folder of images, and the record of a run with it."""
    root = image_files("pets", *(f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(10)))
    facts, lines = data_facts(splits_of(root))
    return root, Shared(root, {}, data=facts, data_files=list_bytes(lines))


def splits_of(root: Path) -> Splits:
    return load({"name": "image_folder", "root": str(root)})


def test_changed_added_and_removed_files_are_named(pets: tuple[Path, Shared]) -> None:
    root, record = pets
    assert compatibility.data_mismatches(record, *data_facts(splits_of(root))) == []
    for name in ("cat/1.jpg", "dog/5.jpg"):
        data = bytearray((root / name).read_bytes())
        data[-10] ^= 1
        (root / name).write_bytes(data)
    (root / "cat/3.jpg").rename(root / "cat/33.jpg")
    told = " ".join(one.here for one in compatibility.data_mismatches(record, *data_facts(splits_of(root))))
    assert "cat/1.jpg" in told
    assert "dog/5.jpg" in told
    assert "1 added (cat/33.jpg)" in told
    assert "1 removed (cat/3.jpg)" in told


def test_data_in_memory_have_their_pixels_hashed() -> None:
    from expkit.data.datasets.in_memory import ImageArrays

    pixels = np.zeros((4, 8, 8), dtype=np.uint8)
    one, other = (ImageArrays(some, [0, 1, 0, 1], ["a", "b"], "train") for some in (pixels, pixels + 1))
    first, second = (data_facts(Splits(data, data))[0]["train"] for data in (one, other))
    assert first["method"] == "pixels"
    assert first["fingerprint"] == second["fingerprint"]
    assert first["content"] != second["content"]


def test_the_list_is_short_and_always_the_same() -> None:
    lines = {"train": ["aa cat/1.jpg"], "val": ["bb dog/1.jpg"]}
    assert list_bytes(lines) == list_bytes(lines)
    assert gzip.decompress(list_bytes(lines)) == b"train aa cat/1.jpg\nval bb dog/1.jpg\n"
    assert LIST_NAME.endswith(".gz")
