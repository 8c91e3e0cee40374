"""Whether the machine has what a run will ask of it; every check takes numbers and measures nothing."""

from dataclasses import dataclass

from expkit.core.formatting import count_noun
from expkit.doctor.finding import Finding, Level

GIB = 1 << 30
PREFETCH = 2  # batches that each worker holds ready
LOADERS = 2  # those of training and of validation, whose workers live side by side
DISK_FLOOR = GIB  # bytes for logs and the like
GPU_ALLOWANCE = GIB  # bytes that this process's own context and the driver may take
_FILES_PER_BATCH = 3  # images, targets and indices are a shared file each
_FILES_PER_WORKER = 6  # pipes and the like
_FILES_OF_RUN = 200  # libraries, logs, the pipes of the process itself
_CHECKPOINTS = 3  # the last, the best, and the one that is being written


@dataclass(frozen=True)
class Needs:
    """What a run will ask for.

    workers: processes of each loader; batch_bytes: of a batch of uint8 images; checkpoint_bytes: of one checkpoint, 0
    where none is kept; output_dir: where they go; reads_files: whether reading an image costs anything;
    eval_batch_size: where it is larger, batch_bytes are those of its batches.
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
    """A GPU as a run would find it; free, total, own: bytes, own being this process's; chosen: by the config."""

    index: int
    name: str
    free: int
    total: int
    own: int = 0
    chosen: bool = True


@dataclass(frozen=True)
class Machine:
    """What there is.

    cores: that this process may use; shared_free, shared_total: bytes of /dev/shm, None where the system has none;
    open_files, open_files_most: what this process may have open, and what it may raise that to; disk_free: bytes.
    """

    cores: int
    open_files: int
    open_files_most: int
    disk_free: int
    shared_free: int | None = None
    shared_total: int | None = None
    gpus: tuple[Gpu, ...] = ()


def judge_machine(needs: Needs, machine: Machine) -> list[Finding]:
    """Return what the machine lacks, with the override that asks for less."""
    return [
        *judge_shared_memory(needs, machine.shared_free, machine.shared_total),
        *judge_cores(needs, machine.cores),
        *judge_open_files(needs, machine.open_files, machine.open_files_most),
        *judge_disk(needs, machine.disk_free),
        *judge_gpus(machine.gpus),
    ]


def judge_shared_memory(needs: Needs, free: int | None, total: int | None) -> list[Finding]:
    """Workers hand their batches over in /dev/shm: the prefetched ones of both loaders must fit."""
    per_worker = LOADERS * PREFETCH * needs.batch_bytes
    if free is None or total is None or needs.workers * per_worker <= free:
        return []
    says = (
        f"/dev/shm has {size(free)} free of {size(total)}, and {count_noun(needs.workers, 'worker')} per loader hold up"
        f" to {size(needs.workers * per_worker)} of batches there"
    )
    sizes = {"batch_size": needs.batch_size, "eval_batch_size": needs.eval_batch_size}
    fewer, smaller = free // per_worker, int(max(sizes.values()) * free / (needs.workers * per_worker))
    less = " ".join(f"{key}={smaller}" for key, count in sizes.items() if count > smaller)
    ways = [f"dataset.num_workers={fewer}"] + ([less] if smaller else [])
    return [Finding("problem", "machine", says, " or ".join(ways) + ", or a container with a larger --shm-size")]


def judge_cores(needs: Needs, cores: int) -> list[Finding]:
    """More workers than cores get in each other's way; none at all leaves cores idle while files are read."""
    remedy = f"dataset.num_workers={cores}"
    if needs.workers > cores:
        level: Level = "problem" if needs.workers > 2 * cores else "note"
        says = f"{count_noun(needs.workers, 'worker')} for {count_noun(cores, 'core')}: they wait for each other"
        return [Finding(level, "machine", says, remedy)]
    if needs.workers == 0 and needs.reads_files and cores > 1:
        says = f"no workers: training waits while each image is read, and {count_noun(cores, 'core')} could share that"
        return [Finding("note", "machine", says, remedy)]
    return []


def judge_open_files(needs: Needs, limit: int, most: int) -> list[Finding]:
    """Every prefetched batch holds shared files open, every worker some pipes."""
    per_worker = LOADERS * (PREFETCH * _FILES_PER_BATCH + _FILES_PER_WORKER)
    wanted = _FILES_OF_RUN + needs.workers * per_worker
    if wanted <= limit:
        return []
    says = f"a process may open {limit:,} files, and {count_noun(needs.workers, 'worker')} want about {wanted:,}"
    raising = f"ulimit -n {wanted}" if wanted <= most else "a higher limit from the administrator (ulimit -Hn)"
    fewer = max((limit - _FILES_OF_RUN) // per_worker, 0)
    return [Finding("problem", "machine", says, f"dataset.num_workers={fewer} or {raising}")]


def judge_disk(needs: Needs, free: int) -> list[Finding]:
    """The checkpoints of a run, and some room beside them, must fit on the disk."""
    wanted = _CHECKPOINTS * needs.checkpoint_bytes + DISK_FLOOR
    if wanted <= free:
        return []
    says = f"the disk of '{needs.output_dir}' has {size(free)} free, and a run may write {size(wanted)}"
    without = ", or checkpoint=none" * (bool(needs.checkpoint_bytes) and free >= DISK_FLOOR)
    return [Finding("problem", "machine", says, f"output_dir=FOLDER on a larger disk{without}")]


def judge_gpus(gpus: tuple[Gpu, ...]) -> list[Finding]:
    """Memory of the chosen GPU that another process holds is not there for the run."""
    return [finding for gpu in gpus if gpu.chosen for finding in _judge_gpu(gpu, gpus)]


def _judge_gpu(gpu: Gpu, gpus: tuple[Gpu, ...]) -> list[Finding]:
    held = gpu.total - gpu.free - gpu.own
    if held <= GPU_ALLOWANCE:
        return []
    says = f"another process holds {size(held)} of {size(gpu.total)} of GPU {gpu.index} ({gpu.name})"
    others = [other for other in gpus if not other.chosen and other.total - other.free - other.own <= GPU_ALLOWANCE]
    free = max(others, key=lambda other: other.free, default=None)
    remedy = (
        f"device=gpu device.index={free.index}" if free else "end that process (nvidia-smi names it), or device=cpu"
    )
    return [Finding("problem", "machine", says, remedy)]


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
