"""Whether the machine meets a run's needs; the checks take numbers and measure nothing."""

from dataclasses import dataclass

from expkit.core.formatting import count_noun
from expkit.doctor.finding import Finding, Level

GIB = 1 << 30
PREFETCH = 2  # batches that each worker holds ready
LOADERS = 2  # training and validation, whose workers exist at the same time
DISK_FLOOR = GIB  # bytes for logs and the like
GPU_ALLOWANCE = GIB  # bytes for the CUDA context of this process and the driver
_FILES_PER_BATCH = 3  # images, targets and indices are a shared file each
_FILES_PER_WORKER = 6  # pipes and the like
_FILES_OF_RUN = 200  # libraries, logs, the pipes of the process itself
_CHECKPOINTS = 3  # the last, the best, and the one that is being written


@dataclass(frozen=True)
class Needs:
    """The needs of a run.

    workers: processes of each loader; batch_bytes: of the largest batch of uint8 images, of training or evaluation;
    checkpoint_bytes: 0 without checkpoints; reads_files: False for images in memory.
    """

    workers: int
    batch_size: int
    batch_bytes: int
    checkpoint_bytes: int
    output_dir: str
    reads_files: bool = True
    eval_batch_size: int = 0


@dataclass(frozen=True)
class Gpu:
    """A GPU. free, total, own: bytes, own of this process; chosen: by the config."""

    index: int
    name: str
    free: int
    total: int
    own: int = 0
    chosen: bool = True


@dataclass(frozen=True)
class Machine:
    """The resources of a machine.

    cores: that this process may use; open_files, open_files_most: soft and hard limit; shared_free, shared_total: bytes
    of /dev/shm, None without one.
    """

    cores: int
    open_files: int
    open_files_most: int
    disk_free: int
    shared_free: int | None = None
    shared_total: int | None = None
    gpus: tuple[Gpu, ...] = ()


def judge_machine(needs: Needs, machine: Machine) -> list[Finding]:
    """Return what the machine lacks, with overrides that need less."""
    return [
        *judge_shared_memory(needs, machine.shared_free, machine.shared_total),
        *judge_cores(needs, machine.cores),
        *judge_open_files(needs, machine.open_files, machine.open_files_most),
        *judge_disk(needs, machine.disk_free),
        *judge_gpus(machine.gpus),
    ]


def judge_shared_memory(needs: Needs, free: int | None, total: int | None) -> list[Finding]:
    """Return a problem if the prefetched batches of both loaders do not fit into /dev/shm."""
    per_worker = LOADERS * PREFETCH * needs.batch_bytes
    if free is None or total is None or needs.workers * per_worker <= free:
        return []
    says = (
        f"/dev/shm has {size(free)} free of {size(total)}; {count_noun(needs.workers, 'worker')} per loader need up to"
        f" {size(needs.workers * per_worker)} for batches"
    )
    sizes = {"batch_size": needs.batch_size, "eval_batch_size": needs.eval_batch_size}
    fewer, smaller = free // per_worker, int(max(sizes.values()) * free / (needs.workers * per_worker))
    less = " ".join(f"{key}={smaller}" for key, count in sizes.items() if count > smaller)
    ways = [f"dataset.num_workers={fewer}"] + ([less] if smaller else [])
    return [Finding("problem", "machine", says, " or ".join(ways) + ", or a container with a larger --shm-size")]


def judge_cores(needs: Needs, cores: int) -> list[Finding]:
    """Return a finding if there are more workers than cores, or none to read files."""
    remedy = f"dataset.num_workers={cores}"
    if needs.workers > cores:
        level: Level = "problem" if needs.workers > 2 * cores else "note"
        says = f"{count_noun(needs.workers, 'worker')} for {count_noun(cores, 'core')}: they slow each other down"
        return [Finding(level, "machine", says, remedy)]
    if needs.workers == 0 and needs.reads_files and cores > 1:
        says = f"no workers: training waits for each image, and {count_noun(cores, 'core')} could read in parallel"
        return [Finding("note", "machine", says, remedy)]
    return []


def judge_open_files(needs: Needs, limit: int, most: int) -> list[Finding]:
    """Return a problem if batches in shared memory and pipes of workers exceed the limit of open files."""
    per_worker = LOADERS * (PREFETCH * _FILES_PER_BATCH + _FILES_PER_WORKER)
    wanted = _FILES_OF_RUN + needs.workers * per_worker
    if wanted <= limit:
        return []
    says = f"a process may open {limit:,} files, and {count_noun(needs.workers, 'worker')} need about {wanted:,}"
    raising = f"ulimit -n {wanted}" if wanted <= most else "a higher limit from the administrator (ulimit -Hn)"
    fewer = max((limit - _FILES_OF_RUN) // per_worker, 0)
    return [Finding("problem", "machine", says, f"dataset.num_workers={fewer} or {raising}")]


def judge_disk(needs: Needs, free: int) -> list[Finding]:
    """Return a problem if the checkpoints of a run, and some logs, do not fit on the disk."""
    wanted = _CHECKPOINTS * needs.checkpoint_bytes + DISK_FLOOR
    if wanted <= free:
        return []
    says = f"the disk of '{needs.output_dir}' has {size(free)} free, and a run may write {size(wanted)}"
    without = ", or checkpoint=none" * (bool(needs.checkpoint_bytes) and free >= DISK_FLOOR)
    return [Finding("problem", "machine", says, f"output_dir=FOLDER on a larger disk{without}")]


def judge_gpus(gpus: tuple[Gpu, ...]) -> list[Finding]:
    """Return a problem for each chosen GPU whose memory another process holds."""
    held = {gpu: gpu.total - gpu.free - gpu.own for gpu in gpus}
    others = [gpu for gpu in gpus if not gpu.chosen and held[gpu] <= GPU_ALLOWANCE]
    spare = max(others, key=lambda gpu: gpu.free, default=None)
    remedy = (
        f"device=gpu device.index={spare.index}" if spare else "end that process (nvidia-smi names it), or device=cpu"
    )
    return [
        Finding(
            "problem", "machine",
            f"another process holds {size(held[gpu])} of {size(gpu.total)} of GPU {gpu.index} ({gpu.name})", remedy,
        )
        for gpu in gpus if gpu.chosen and held[gpu] > GPU_ALLOWANCE
    ]  # fmt: skip


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
