"""The rendezvous of a run's launchers and ranks: no network store on one machine, and no unpickling.

torch's own c10d rendezvous listens on every address and unpickles the contents of its store, so that anyone who reaches
the port can execute code.
"""

import json
import os
import socket
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from torch._C._distributed_c10d import HashStore, PrefixStore, TCPStore
from torch.distributed import DistError
from torch.distributed.elastic.rendezvous import RendezvousClosedError, RendezvousHandler, RendezvousTimeoutError
from torch.distributed.elastic.rendezvous.api import RendezvousInfo, RendezvousParameters, RendezvousStoreInfo

from expkit.devices.process_group import ROUND
from expkit.devices.topology import host_and_port, is_loopback

NAME = "expkit"
_INTERVAL = 0.1  # seconds between checks for the others


class Rendezvous(RendezvousHandler):
    """The rendezvous of `nodes` launchers, one round for each start of their ranks.

    store: shared by all of them; address: its (host, port) for the ranks. timeout: seconds to wait for the others.
    """

    def __init__(self, store: Any, address: tuple[str, int], is_host: bool, parameters: RendezvousParameters) -> None:
        self.store = PrefixStore(f"expkit/{parameters.run_id}", store)
        self.address, self.is_host, self.run_id, self.nodes = address, is_host, parameters.run_id, parameters.min_nodes
        self.timeout = float(parameters.get("timeout"))
        self._round = -1

    def get_backend(self) -> str:
        return NAME

    def get_run_id(self) -> str:
        return self.run_id

    @property
    def use_agent_store(self) -> bool:
        return self.nodes > 1

    def next_rendezvous(self) -> RendezvousInfo:
        """Wait for the other machines. Raises RendezvousTimeoutError, RendezvousClosedError."""
        # The machine of the store sorts first, so that it leaves last.
        own = json.dumps([not self.is_host, socket.gethostname(), os.getpid()])
        until = time.monotonic() + self.timeout
        slot = self._take_slot(own, until)
        try:
            while not all(members := self._slots(self._round)):
                self._pause(until)
        except BaseException:
            self.store.compare_set(slot, own, "")  # free the slot for a replacement
            raise
        self.store.set(f"full_{self._round}", "")
        os.environ[ROUND] = str(self._round)  # the ranks inherit it
        store = PrefixStore(f"round_{self._round}", self.store)
        return RendezvousInfo(store, sorted(members).index(own), self.nodes, RendezvousStoreInfo(*self.address))

    def _take_slot(self, own: str, until: float) -> str:
        """Take a free slot in the next round and return its key.

        A new launcher waits until others do: it cannot join a complete run.
        """
        number, is_new = self._round + 1, self._round < 0
        while True:
            while self.store.check([f"full_{number}"]):
                number += 1
            if not (is_new and number) or any(self._slots(number)):
                for key in self._keys(number):
                    if self.store.compare_set(key, "", own).decode() == own:
                        self._round = number
                        return key
            self._pause(until)

    def _keys(self, number: int) -> list[str]:
        return [f"slot_{number}_{place}" for place in range(self.nodes)]

    def _slots(self, number: int) -> list[str]:
        """Return the owners of a round's slots, "" for a free slot."""
        return [self.store.get(key).decode() if self.store.check([key]) else "" for key in self._keys(number)]

    def _pause(self, until: float) -> None:
        if self.is_closed():
            raise RendezvousClosedError("the run has ended on another machine")
        if time.monotonic() > until:
            raise RendezvousTimeoutError(f"the other machines did not come within {self.timeout:g} seconds")
        time.sleep(_INTERVAL)

    def num_nodes_waiting(self) -> int:
        """Return the number of machines that wait for the next round after losing ranks."""
        with suppress(DistError):  # the machine of the store is gone; the ranks will notice
            return sum(map(bool, self._slots(self._round + 1))) if self.nodes > 1 else 0
        return 0

    def is_closed(self) -> bool:
        return bool(self.store.check(["closed"]))

    def set_closed(self) -> None:
        self.store.set("closed", "")

    def shutdown(self) -> bool:
        with suppress(DistError):
            self.set_closed()
        return True


def create(parameters: RendezvousParameters) -> Rendezvous:
    """Return the rendezvous of a run; on one machine it stays within this process."""
    if parameters.min_nodes == 1:
        return Rendezvous(HashStore(), ("127.0.0.1", 0), True, parameters)
    host, port = host_and_port(parameters.endpoint)
    timeout = timedelta(seconds=parameters.get("timeout"))
    if listening := _listen(host, port):
        own: Any = {"is_master": True, "wait_for_workers": False, "master_listen_fd": listening.detach()}
    else:
        _wait_until_open(host, port, parameters.get("timeout"))
        own = {"is_master": False}
    store = TCPStore(host, port, timeout=timeout, **own)
    return Rendezvous(store, (host, port), listening is not None, parameters)


def _listen(host: str, port: int) -> socket.socket | None:
    """Listen at this address only, if it belongs to this machine and is free; else return None."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [(family, str(address[0])) for family, _, _, _, address in found]
    if not is_loopback(host) and all(is_loopback(address) for _, address in addresses):
        # /etc/hosts may map a machine's own name to 127.0.1.1: the others know it by another address.
        addresses = [(socket.AF_INET, "")] if host == socket.gethostname() else []
    for family, address in addresses:
        listener = socket.socket(family)
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(128)
            return listener
        listener.close()
    return None


def _wait_until_open(host: str, port: int, timeout: float) -> None:
    """Wait for the machine of the store, like torch, but without blocking signals."""
    until = time.monotonic() + timeout
    while True:
        with suppress(OSError), socket.create_connection((host, port), timeout=5):
            return
        if time.monotonic() > until:
            raise RendezvousTimeoutError(f"nothing listens at {host}:{port} within {timeout:g} seconds")
        time.sleep(_INTERVAL)
