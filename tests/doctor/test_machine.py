"""The machine: every check with numbers of other machines, and each remedy tried on the same check."""

from dataclasses import replace

import pytest

from expkit.doctor.machine import (
    GIB,
    Gpu,
    Machine,
    Needs,
    judge_cores,
    judge_disk,
    judge_gpus,
    judge_machine,
    judge_open_files,
    judge_shared_memory,
)  # fmt: skip

BATCH = 32 * 3 * 224 * 224
NEEDS = Needs(workers=4, batch_size=32, batch_bytes=BATCH, checkpoint_bytes=100 << 20, output_dir="outputs")
MACHINE = Machine(
    cores=8, open_files=1024, open_files_most=4096, disk_free=50 * GIB, shared_free=8 * GIB, shared_total=8 * GIB
)


def test_a_good_machine_gives_no_finding() -> None:
    assert judge_machine(NEEDS, MACHINE) == []


def test_every_lack_is_found() -> None:
    bad = Machine(cores=1, open_files=64, open_files_most=64, disk_free=0, shared_free=1 << 20, shared_total=64 << 20)
    held = (Gpu(0, "A", free=GIB, total=80 * GIB),)
    assert len(judge_machine(NEEDS, replace(bad, gpus=held))) == 5


def test_docker_s_default_shared_memory_is_too_small_for_many_workers() -> None:
    docker = 64 << 20
    assert judge_shared_memory(NEEDS, None, None) == []
    (found,) = judge_shared_memory(NEEDS, docker, docker)
    assert found.level == "problem"
    assert "64.0 MiB free of 64.0 MiB" in found.sentence
    assert found.remedy.startswith("dataset.num_workers=3 or batch_size=27, or a container")
    assert judge_shared_memory(replace(NEEDS, workers=3), docker, docker) == []
    assert judge_shared_memory(replace(NEEDS, batch_bytes=BATCH * 27 // 32), docker, docker) == []


@pytest.mark.parametrize(
    ("workers", "cores", "level"), [(4, 4, None), (5, 4, "note"), (9, 4, "problem"), (0, 4, "note"), (0, 1, None)]
)
def test_workers_fit_the_cores(workers: int, cores: int, level: str | None) -> None:
    found = judge_cores(replace(NEEDS, workers=workers), cores)
    assert [(one.level, one.remedy) for one in found] == ([(level, f"dataset.num_workers={cores}")] if level else [])


def test_data_in_memory_wants_no_workers() -> None:
    assert judge_cores(replace(NEEDS, workers=0, reads_files=False), 8) == []


def test_open_files_count_what_workers_hold() -> None:
    assert judge_open_files(replace(NEEDS, workers=16), 1024, 1024) == []
    (found,) = judge_open_files(replace(NEEDS, workers=64), 1024, 4096)
    assert found.remedy == "dataset.num_workers=34 or ulimit -n 1736"
    assert judge_open_files(replace(NEEDS, workers=34), 1024, 4096) == []
    assert judge_open_files(replace(NEEDS, workers=64), 1736, 4096) == []
    (found,) = judge_open_files(replace(NEEDS, workers=64), 1024, 1024)
    assert "administrator" in found.remedy


def test_three_checkpoints_must_fit_on_the_disk() -> None:
    (found,) = judge_disk(NEEDS, GIB + (299 << 20))
    assert "'outputs' has 1.3 GiB free, and a run may write 1.3 GiB" in found.sentence
    assert "checkpoint=none" in found.remedy
    assert judge_disk(NEEDS, GIB + (300 << 20)) == []
    assert judge_disk(replace(NEEDS, checkpoint_bytes=0), GIB) == []


def test_memory_that_another_process_holds_is_found_and_a_free_gpu_named() -> None:
    busy = Gpu(0, "A", free=20 * GIB, total=80 * GIB, own=GIB)
    half, free = (Gpu(index, "A", free=room * GIB, total=80 * GIB, chosen=False) for index, room in ((1, 40), (2, 80)))
    assert judge_gpus(()) == judge_gpus((replace(busy, free=79 * GIB),)) == judge_gpus((replace(half, index=3),)) == []
    (found,) = judge_gpus((busy, half, free))
    assert "holds 59.0 GiB of 80.0 GiB of GPU 0 (A)" in found.sentence
    assert found.remedy == "device=gpu device.index=2"
    (found,) = judge_gpus((busy, half))
    assert "device=cpu" in found.remedy
