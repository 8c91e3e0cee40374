"""Devices of several processes: multi_cpu, multi_gpu, multi_node."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from expkit.config.registry import devices
from expkit.config.signature import RESULT
from expkit.core.errors import ConfigError
from expkit.devices.device import MOST_PROCESSES

Sharing = Literal["ddp", "fsdp"]
Strategy = Literal["ddp", "fsdp", "data_parallel"]


@dataclass(frozen=True)
class Layout:
    """The processes of a run on this machine, one per device, and their strategy.

    devices: one for each local rank. nodes: number of machines, which meet at `endpoint` as `run_id`. sync_batchnorm:
    batch normalisation uses the statistics of the whole batch. timeout: seconds that a rank waits for others.
    """

    devices: tuple[torch.device, ...]
    strategy: Strategy = "ddp"
    sync_batchnorm: bool = True
    unused_parameters: bool = False
    timeout: float = 600.0
    max_restarts: int = 0
    nodes: int = 1
    endpoint: str = "localhost:0"
    run_id: str = ""

    @property
    def is_local(self) -> bool:
        """True if all processes of the run are on this machine."""
        return self.nodes == 1 or is_loopback(host_and_port(self.endpoint)[0])

    @property
    def starts_ranks(self) -> bool:
        """True if each device has its own process."""
        return self.strategy != "data_parallel"


@devices.register("multi_cpu")
def multi_cpu(
    count: int = 2,
    strategy: Sharing = "ddp",
    sync_batchnorm: Annotated[bool, RESULT] = True,
    unused_parameters: bool = False,
    timeout: float = 600.0,
    max_restarts: int = 0,
) -> Layout:
    """Several processes on this machine's CPU: like multi_gpu, but without GPUs.

    strategy: ddp or fsdp, as for multi_gpu.
    """
    _at_least_one(count=count)
    found = (torch.device("cpu"),) * count
    return Layout(found, strategy, sync_batchnorm, unused_parameters, timeout, max_restarts)


@devices.register("multi_gpu")
def multi_gpu(
    count: int | Literal["all"] = "all",
    indices: list[int] | None = None,
    strategy: Strategy = "ddp",
    sync_batchnorm: Annotated[bool, RESULT] = True,
    unused_parameters: bool = False,
    timeout: float = 600.0,
    max_restarts: int = 0,
) -> Layout:
    """The CUDA GPUs of this machine: all that are visible, the first `count`, or those of `indices`.

    strategy: ddp: one process per GPU; fsdp: the same with sharded weights, gradients and optimizer state, for large
    models (torch's fully_shard); data_parallel: one process that copies the model to all GPUs at each step (torch's
    nn.DataParallel; slower, and batch normalisation sees one GPU's part only).
    """
    found = _gpus(count, indices)
    return Layout(found, strategy, sync_batchnorm, unused_parameters, timeout, max_restarts)


@devices.register("multi_node")
def multi_node(
    nodes: int,
    endpoint: str,
    run_id: str = "expkit",
    count: int | Literal["all"] = "all",
    strategy: Sharing = "ddp",
    sync_batchnorm: Annotated[bool, RESULT] = True,
    unused_parameters: bool = False,
    timeout: float = 600.0,
    max_restarts: int = 0,
    trust_network: bool = False,
) -> Layout:
    """Several machines: run the same command on each; they meet at `endpoint` (HOST:PORT of one of them).

    nodes: number of machines. endpoint: where they meet. count: processes on each machine; "all": one per CUDA GPU, or
    one without GPUs. run_id: the same on all machines, different for each run that uses the endpoint at the same time.
    strategy: ddp or fsdp, as for multi_gpu. trust_network: accept that torch does not protect its ports: anyone who
    reaches them can disturb the run.
    """
    if nodes < 1:
        raise ConfigError(f"device.nodes: expected an integer from 1 up, got {nodes}")
    _check_endpoint(endpoint, is_trusted=trust_network or nodes == 1)
    if torch.cuda.is_available():
        found = _gpus(count, None, least=1)
    else:
        number = 1 if count == "all" else count
        _at_least_one(count=number)
        found = (torch.device("cpu"),) * number
    return Layout(found, strategy, sync_batchnorm, unused_parameters, timeout, max_restarts, nodes, endpoint, run_id)


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Return the parts of HOST:PORT; an IPv6 address is in brackets."""
    host, _, port = endpoint.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Return True if an address is loopback; names other than localhost are not resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_endpoint(endpoint: str, is_trusted: bool) -> None:
    host, _, port = endpoint.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ConfigError(f"device.endpoint: expected HOST:PORT of one machine, e.g. node1:29400, got {endpoint!r}")
    host, _ = host_and_port(endpoint)
    if host in ("0.0.0.0", "::", "*"):
        raise ConfigError(f"device.endpoint: {host} is not one machine; give HOST:PORT of the machine where they meet")
    if not (is_trusted or is_loopback(host)):
        raise ConfigError(
            f"device.endpoint: {endpoint} and the ports of the ranks have no password and are open to the network;"
            " if you trust it, set device.trust_network=true"
        )


def _gpus(count: int | Literal["all"], indices: list[int] | None, least: int = 2) -> tuple[torch.device, ...]:
    """Return the requested GPUs. Raises ConfigError if there are not enough."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if indices is not None and (not indices or len(set(indices)) < len(indices) or min(indices) < 0):
        raise ConfigError(f"device.indices: expected different numbers from 0 up, got {indices}")
    if count != "all":
        _at_least_one(count=count)
    wanted = max(indices) + 1 if indices else count if count != "all" else least
    if found < wanted:
        other = "device=gpu uses the one" if found == 1 else "device=multi_cpu runs the same way on the CPU"
        raise ConfigError(f"device.name: multi_gpu needs {wanted} CUDA devices, found {found}; {other}")
    numbers = indices or range(found if count == "all" else count)
    return tuple(torch.device("cuda", number) for number in numbers)


def _at_least_one(**values: int) -> None:
    for name, value in values.items():
        if not 1 <= value <= MOST_PROCESSES:
            raise ConfigError(f"device.{name}: expected an integer from 1 to {MOST_PROCESSES:,}, got {value}")
