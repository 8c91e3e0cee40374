"""The devices auto, cpu, gpu and mps, and what the trainer needs: placement, copies, precision, seeding."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from expkit.config.registry import devices
from expkit.config.signature import RESULT
from expkit.core.errors import ConfigError
from expkit.core.formatting import count_noun

MicroBatch = int | Literal["auto"] | None
Precision = Literal["fp32", "tf32", "bf16", "fp16", "auto"]
MOST_PROCESSES = 1024
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@devices.share
@dataclass(frozen=True)
class DeviceOptions:
    """Options of every device.

    precision: fp32; tf32 (float32 with faster matrix products on NVIDIA GPUs); bf16 and fp16 (mixed: weights stay
    float32; fp16 scales the loss and skips steps whose gradients overflow); auto: bf16 if the hardware supports it,
    else fp32. Results differ between them, so the default is fp32.
    channels_last: memory layout that convolutions prefer. threads: CPU threads of torch, "auto": OMP_NUM_THREADS, else
    all cores; results depend on it, so the record holds it. keep_memory: keep freed memory instead of returning it to
    the system after each step, which would cost a CPU run a third of its time (glibc only).
    compile: torch.compile, true or one of its modes; if it fails, the run reports why and continues without it.
    deterministic: refuse operations that are not bit-for-bit repeatable.
    micro_batch: the largest number of images per forward pass; gradients are accumulated over the batch; null: the
    whole batch (or a rank's part of it); auto: halved whenever memory runs out, for models whose result does not depend
    on it. With a number, batch normalisation and dropout see that many images.
    """

    precision: Annotated[Precision, RESULT] = "fp32"
    channels_last: Annotated[bool, RESULT] = True
    threads: Annotated[int | Literal["auto"], RESULT] = "auto"
    keep_memory: bool = True
    compile: bool | Literal["reduce-overhead", "max-autotune"] = False
    deterministic: Annotated[bool, RESULT] = False
    micro_batch: Annotated[MicroBatch, RESULT] = None

    def __post_init__(self) -> None:
        if isinstance(self.micro_batch, int) and self.micro_batch < 1:
            raise ConfigError(
                f"device.micro_batch: expected an integer from 1 up, auto or null, got {self.micro_batch}"
            )
        if self.threads != "auto" and not 1 <= self.threads <= MOST_PROCESSES:
            expected = f"expected an integer from 1 to {MOST_PROCESSES:,} or auto"
            raise ConfigError(f"device.threads: {expected}, got {self.threads}")


@devices.register("auto")
def auto() -> torch.device:
    """The best device there is: the first CUDA GPU, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@devices.register("cpu")
def cpu() -> torch.device:
    """The processor."""
    return torch.device("cpu")


@devices.register("mps")
def mps() -> torch.device:
    """Apple's GPU."""
    if not torch.backends.mps.is_available():
        reason = "this machine has none" if torch.backends.mps.is_built() else "this torch is built without it"
        raise ConfigError(f"device.name: mps needs Apple's GPU, and {reason}; device=cpu runs the same")
    return torch.device("mps")


@devices.register("gpu")
def gpu(index: int = 0) -> torch.device:
    """One CUDA GPU, by index among those that CUDA_VISIBLE_DEVICES leaves visible."""
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or count == 0:
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise ConfigError(
            f"device.name: gpu needs a CUDA device, found 0 (this torch is built with {build});"
            " device=cpu runs the same on the processor"
        )
    if not 0 <= index < count:
        names = ", ".join(f"{number}: {torch.cuda.get_device_name(number)}" for number in range(count))
        raise ConfigError(f"device.index: there is no CUDA device {index}; there is {names}")
    return torch.device("cuda", index)


class Device:
    """A torch device with the run's precision and memory layout.

    sharing: processes of this run on this machine, which divide its cores.
    """

    def __init__(self, torch_device: torch.device, options: DeviceOptions, sharing: int = 1) -> None:
        self.torch_device = torch_device
        self.options = options
        self.threads = chosen_threads(sharing) if options.threads == "auto" else options.threads
        self.precision = resolve_precision(options.precision, torch_device)
        self.non_blocking = torch_device.type == "cuda"
        if self.precision == "bf16" and torch_device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ConfigError("device.precision: this GPU has no bf16; use device.precision=fp16, tf32 or fp32")
        self.channels_last = options.channels_last
        self._generator = self._default_generator()

    def activate(self) -> None:
        """Set torch's process-wide settings: threads, determinism and float32 precision."""
        torch.set_num_threads(self.threads)
        if self.options.keep_memory and self.torch_device.type == "cpu":
            _keep_freed_memory()
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
        if self.options.deterministic and self.torch_device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required for a deterministic cuBLAS
        torch.use_deterministic_algorithms(self.options.deterministic)
        if self.torch_device.type == "cuda":
            torch.cuda.set_device(self.torch_device)
            torch.backends.cudnn.allow_tf32 = self.precision == "tf32"

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, in channels_last layout if set."""
        module = module.to(self.torch_device)
        if self.channels_last and self.torch_device.type == "cpu" and any(map(_corrupts_memory, module.modules())):
            self.channels_last = False
        return module.to(memory_format=torch.channels_last) if self.channels_last else module

    def images(self, images: Tensor) -> Tensor:
        """Copy a batch of images to the device in the model's memory layout."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.to(self.torch_device, non_blocking=self.non_blocking, memory_format=layout)

    def targets(self, targets: Tensor) -> Tensor:
        return targets.to(self.torch_device, non_blocking=self.non_blocking)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context for a forward pass and its loss."""
        if self.precision in _HALVES:
            return torch.autocast(self.torch_device.type, _HALVES[self.precision])
        return nullcontext()

    def scaler(self) -> torch.amp.GradScaler | None:
        """Return a gradient scaler for fp16, None for other precisions."""
        return torch.amp.GradScaler(self.torch_device.type) if self.precision == "fp16" else None

    def seed(self, key: int) -> None:
        """Seed the default generators of the CPU and of this device, which dropout draws from."""
        torch.default_generator.manual_seed(key)
        if self._generator is not torch.default_generator:
            self._generator.manual_seed(key)

    def _default_generator(self) -> torch.Generator:
        if self.torch_device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            return torch.cuda.default_generators[self.torch_device.index]
        if self.torch_device.type == "mps":
            return torch.mps._get_default_mps_generator()
        return torch.default_generator

    def describe(self) -> str:
        """Return a one-line description, e.g. `cpu (2 threads), bf16, channels_last`."""
        kind = str(self.torch_device)
        if self.torch_device.type == "cuda":
            kind += f" ({torch.cuda.get_device_name(self.torch_device)})"
        if self.torch_device.type == "cpu":
            kind += f" ({count_noun(self.threads, 'thread')})"
        precision = self.precision + " (auto)" * (self.options.precision == "auto")
        return ", ".join([kind, precision] + ["channels_last"] * self.channels_last)


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision, with "auto" resolved for the device."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    if device.type == "cpu":  # without these instructions bf16 is emulated, and slower than fp32
        cpu: Any = torch.cpu
        return "bf16" if cpu._is_amx_tile_supported() or cpu._is_avx512_bf16_supported() else "fp32"
    return "fp32"


def _corrupts_memory(layer: nn.Module) -> bool:
    """Return True if torch 2.15 must not compute the layer's gradient in channels_last on a CPU.

    A strided 1x1 convolution with fewer channels than a oneDNN block (8 with AVX2, 16 with AVX-512) writes past the end
    of its memory: oneDNN issue 6035.
    """
    if not isinstance(layer, nn.Conv2d):
        return False
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.in_channels < 16


def _keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory: new pages for each activation cost more than using it."""
    if sys.platform != "linux" or not hasattr(library := ctypes.CDLL(None), "mallopt"):
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of <malloc.h>
    library.mallopt(mmap_threshold, 1 << 30)
    library.mallopt(trim_threshold, (1 << 31) - 1)


def chosen_threads(sharing: int = 1) -> int:
    """Return the threads for device.threads=auto. sharing: processes of this run that share the cores."""
    variable = os.environ.get("OMP_NUM_THREADS", "")
    # Launchers such as torchrun set it for their ranks.
    return int(variable) if variable.isdigit() and int(variable) else max(available_cores() // sharing, 1)


_share: int | None = None  # cores of this process, if several runs share the machine


def share_cores(count: int) -> None:
    """Limit this process to `count` cores and leave the others to its siblings."""
    global _share
    _share = count


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _share or cores)
