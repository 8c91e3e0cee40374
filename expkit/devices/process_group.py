"""The processes that do one run together: who this one is, and what they tell each other beside gradients."""

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

Told = TypeVar("Told")
STORE = "EXPKIT_STORE"  # the variable with the private folder in which ranks of one machine meet
ROUND = "EXPKIT_ROUND"  # the variable with the number of starts of the ranks before this one


class LostPeer(Exception):
    """Another rank is gone: what it died of is the cause, and this is only how the others notice."""


class Ranks:
    """This process's number among `size`, from 0 up; local: its number on this machine.

    What is exchanged here goes through gloo on the CPU, so that no GPU is waited for; it is plain values and tensors,
    and nothing that is received can execute. timeout: seconds that a rank waits for the others before it takes them for
    lost.
    """

    def __init__(self, rank: int, size: int, local: int, local_size: int, timeout: float = 600.0) -> None:
        self.rank, self.size, self.local, self.local_size, self.timeout = rank, size, local, local_size, timeout
        self._group: Any = None
        self._flag: tuple[Tensor, Any] | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes the run folder and speaks to the user."""
        return self.rank == 0

    def join(self, backend: str) -> None:
        """Meet the others where the launcher said. backend: of the gradients, gloo or nccl."""
        if self.size == self.local_size:
            listen_on_loopback()
        wait = timedelta(seconds=self.timeout)
        store = self._store(wait)
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=wait)
        self._group = dist.group.WORLD if backend == "gloo" else dist.new_group(backend="gloo", timeout=wait)

    def _store(self, wait: timedelta) -> Any:
        """Return where addresses are exchanged: a file on one machine, else the launcher's store.

        Both outlive a restart, and with it the addresses of ranks that are gone.
        """
        start = os.environ.get(ROUND, os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        if folder := os.environ.get(STORE):
            store: Any = FileStore(os.path.join(folder, f"store_{start}"), self.size)
            store.set_timeout(wait)
            return store
        found: Any = rendezvous("env://", self.rank, self.size, timeout=wait)
        store, _, _ = next(found)
        return PrefixStore(f"expkit_{os.environ.get('TORCHELASTIC_RUN_ID', '')}_{start}", store)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        dist.barrier(group=self._group)

    def gather(self, values: Tensor) -> Tensor:
        """Return (size, ...) the tensors of all ranks, of one shape and type, on the CPU in the order of the ranks."""
        own = values.detach().cpu().contiguous()
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own, group=self._group)
        return torch.stack(found)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks, added in their order: the same bits on each, on the tensor's own device."""
        return self.gather(values).sum(0, dtype=values.dtype).to(values.device)

    def collect(self, value: Told) -> list[Told]:
        """Return what every rank has, in their order: plain values and tensors."""
        own = _packed(value)
        sizes = self.gather(torch.tensor(len(own)))
        padded = torch.zeros(int(sizes.max()), dtype=torch.uint8)
        padded[: len(own)] = own
        return [_unpacked(row[:size]) for row, size in zip(self.gather(padded), sizes.tolist(), strict=True)]

    def from_first(self, value: Told | None = None) -> Told:
        """Return rank 0's value on every rank: plain values and tensors."""
        own = _packed(value) if self.is_first else torch.empty(0, dtype=torch.uint8)
        size = torch.tensor(len(own))
        dist.broadcast(size, 0, group=self._group)
        content = own if self.is_first else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self._group)
        return _unpacked(content)  # type: ignore[no-any-return]

    def decided_by_first(self, decide: Callable[[], Told]) -> Told:
        """Return what rank 0 decides, on every rank. Raises its ConfigError on every rank."""
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

    def first_before_others(self, act: Callable[[], Told]) -> Told:
        """Do something on rank 0, and then on the others: it may write what they then only read."""
        if self.is_first:
            done = act()
            self.wait()
            return done
        self.wait()
        return act()

    def agree(self, number: int) -> int:
        """Return the highest number that a rank gave at the call *before* this one; 0 at the first call.

        All ranks get one answer at one place of the run, and none waits for it: it travels while a step is computed.
        """
        answer = 0
        if self._flag is not None:
            told, work = self._flag
            work.wait()
            answer = int(told)
        told = torch.tensor(number)
        self._flag = told, dist.all_reduce(told, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return answer


def _packed(value: Any) -> Tensor:
    file = io.BytesIO()
    torch.save(value, file)
    return torch.frombuffer(file.getbuffer(), dtype=torch.uint8)


def _unpacked(content: Tensor) -> Any:
    """Return a value that another rank packed. Raises UnpicklingError for anything but plain values and tensors."""
    return torch.load(io.BytesIO(content.numpy().tobytes()), weights_only=True)


def listen_on_loopback() -> None:
    """Have gloo and NCCL of this process, which listen for the other ranks, be reached from this machine only."""
    names = {name for _, name in socket.if_nameindex()}
    if found := next((name for name in ("lo", "lo0") if name in names), None):
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = found


def given_ranks(timeout: float = 600.0) -> Ranks | None:
    """Return who this process is if a launcher (ours, torchrun) started it as one of several; else None."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")
    if any(name not in os.environ for name in names):
        return None
    rank, size, local, local_size = (int(os.environ[name]) for name in names[:4])
    return Ranks(rank, size, local, local_size, timeout)


def is_lost_peer(error: BaseException) -> bool:
    """Say whether an error only tells that another rank is gone."""
    if isinstance(error, LostPeer | dist.DistNetworkError | dist.DistBackendError):
        return True
    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
