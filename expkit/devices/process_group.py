"""The process group of a run: the rank of this process, and collective operations other than gradients."""

import io
import os
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import FileStore, PrefixStore
from torch.distributed.rendezvous import rendezvous

from expkit.core.errors import ConfigError

Value = TypeVar("Value")
STORE = "EXPKIT_STORE"  # environment variable: private folder for the store of ranks on one machine
ROUND = "EXPKIT_ROUND"  # environment variable: number of earlier starts of the ranks


class LostPeer(Exception):
    """Another rank has died; its own error is the cause."""


class Ranks:
    """The rank of this process among `size`; local: its rank on this machine.

    Messages go through gloo on the CPU, so that nothing waits for a GPU; they are plain values and tensors, and
    received data cannot execute code. timeout: seconds to wait for the others before treating them as lost.
    """

    def __init__(self, rank: int, size: int, local: int, local_size: int, timeout: float = 600.0) -> None:
        self.rank, self.size, self.local, self.local_size, self.timeout = rank, size, local, local_size, timeout
        self._group: Any = None
        self._flag: tuple[Tensor, Any] | None = None

    @property
    def is_first(self) -> bool:
        """True for rank 0, which writes the run folder and the console."""
        return self.rank == 0

    def join(self, backend: str) -> None:
        """Join the process group. backend: for the gradients, gloo or nccl."""
        if self.size == self.local_size:
            listen_on_loopback()
        wait = timedelta(seconds=self.timeout)
        store = self._store(wait)
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=wait)
        self._group = dist.group.WORLD if backend == "gloo" else dist.new_group(backend="gloo", timeout=wait)

    def _store(self, wait: timedelta) -> Any:
        """Return the store for exchanging addresses: a file on one machine, else the launcher's store.

        Both outlive a restart, as would the addresses of dead ranks: the key names the restart.
        """
        start = os.environ.get(ROUND, os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        if folder := os.environ.get(STORE):
            store: Any = FileStore(os.path.join(folder, f"store_{start}"), self.size)
            store.set_timeout(wait)
            return store
        results: Any = rendezvous("env://", self.rank, self.size, timeout=wait)
        store, _, _ = next(results)
        return PrefixStore(f"expkit_{os.environ.get('TORCHELASTIC_RUN_ID', '')}_{start}", store)

    def wait(self) -> None:
        """Wait for all ranks (a barrier)."""
        dist.barrier(group=self._group)

    def gather(self, values: Tensor) -> Tensor:
        """Return the tensors of all ranks, (size, ...), in rank order on the CPU; their shapes and types must agree."""
        own = values.detach().cpu().contiguous()
        tensors = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(tensors, own, group=self._group)
        return torch.stack(tensors)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum in rank order, bit-identical on all ranks, on the tensor's device."""
        return self.gather(values).sum(0, dtype=values.dtype).to(values.device)

    def collect(self, value: Value) -> list[Value]:
        """Return the values of all ranks in rank order: plain values and tensors."""
        own = _packed(value)
        sizes = self.gather(torch.tensor(len(own)))
        padded = torch.zeros(int(sizes.max()), dtype=torch.uint8)
        padded[: len(own)] = own
        return [_unpacked(row[:size]) for row, size in zip(self.gather(padded), sizes.tolist(), strict=True)]

    def from_first(self, value: Value | None = None) -> Value:
        """Return rank 0's value on every rank: plain values and tensors."""
        own = _packed(value) if self.is_first else torch.empty(0, dtype=torch.uint8)
        size = torch.tensor(len(own))
        dist.broadcast(size, 0, group=self._group)
        content = own if self.is_first else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self._group)
        return _unpacked(content)  # type: ignore[no-any-return]

    def decided_by_first(self, decide: Callable[[], Value]) -> Value:
        """Return rank 0's result on every rank. Raises its ConfigError on every rank."""
        faults: tuple[str, ...] = ()
        value: Any = None
        if self.is_first:
            try:
                value = decide()
            except ConfigError as error:
                faults = tuple(error.faults)
        value, faults = self.from_first((value, faults))
        if faults:
            raise ConfigError(*faults)
        return value  # type: ignore[no-any-return]

    def first_before_others(self, function: Callable[[], Value]) -> Value:
        """Call a function on rank 0 first, then on the others: it may write what they then read."""
        if self.is_first:
            result = function()
            self.wait()
            return result
        self.wait()
        return function()

    def agree(self, number: int) -> int:
        """Return the maximum over the ranks at the *previous* call; 0 at the first call.

        All ranks get the same answer at the same step without waiting: the all-reduce runs during a step.
        """
        answer = 0
        if self._flag is not None:
            maximum, work = self._flag
            work.wait()
            answer = int(maximum)
        maximum = torch.tensor(number)
        self._flag = maximum, dist.all_reduce(maximum, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return answer


def _packed(value: Any) -> Tensor:
    file = io.BytesIO()
    torch.save(value, file)
    return torch.frombuffer(file.getbuffer(), dtype=torch.uint8)


def _unpacked(content: Tensor) -> Any:
    """Return a value that another rank packed. Raises UnpicklingError for anything but plain values and tensors."""
    return torch.load(io.BytesIO(content.numpy().tobytes()), weights_only=True)


def listen_on_loopback() -> None:
    """Make gloo and NCCL of this process listen on the loopback interface only."""
    names = {name for _, name in socket.if_nameindex()}
    if loopback := next((name for name in ("lo", "lo0") if name in names), None):
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = loopback


def given_ranks(timeout: float = 600.0) -> Ranks | None:
    """Return the rank of this process if a launcher (ours, torchrun) started it, else None."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")
    if any(name not in os.environ for name in names):
        return None
    rank, size, local, local_size = (int(os.environ[name]) for name in names[:4])
    return Ranks(rank, size, local, local_size, timeout)


def is_lost_peer(error: BaseException) -> bool:
    """Return True if an error only means that another rank has died."""
    if isinstance(error, LostPeer | dist.DistNetworkError | dist.DistBackendError):
        return True
    messages = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
    return isinstance(error, RuntimeError) and any(message in str(error) for message in messages)
