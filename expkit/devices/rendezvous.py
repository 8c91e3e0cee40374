"""Where the launchers of a run meet, and its ranks: on one machine no network store, and nothing is ever unpickled.

torch's own c10d rendezvous listens on every address and unpickles what it finds in its store, so that whoever reaches
the port can run code.
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
_LOOK = 0.1  # seconds between two looks for the others


class Rendezvous(RendezvousHandler):
    """Meets the launchers of `nodes` machines, once for each start of their ranks (a round).

    store: what all of them see; address: (host, port) of it for the ranks. timeout: seconds to wait for the others.
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
        # The store's machine is the first of them: it leaves last.
        own = json.dumps([not self.is_host, socket.gethostname(), os.getpid()])
        until = time.monotonic() + self.timeout
        slot = self._take_slot(own, until)
        try:
            while not all(found := self._slots(self._round)):
                self._pause(until)
        except BaseException:
            self.store.compare_set(slot, own, "")  # one that is started in this one's place may take it
            raise
        self.store.set(f"full_{self._round}", "")
        os.environ[ROUND] = str(self._round)  # the ranks inherit it
        store = PrefixStore(f"round_{self._round}", self.store)
        return RendezvousInfo(store, sorted(found).index(own), self.nodes, RendezvousStoreInfo(*self.address))

    def _take_slot(self, own: str, until: float) -> str:
        """Take a free place in the next round, and return its key.

        A launcher that is new waits until others do: of a run that is complete it is no part.
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
        """Return who has the places of a round, "" for a free one."""
        return [self.store.get(key).decode() if self.store.check([key]) else "" for key in self._keys(number)]

    def _pause(self, until: float) -> None:
        if self.is_closed():
            raise RendezvousClosedError("the run has ended on another machine")
        if time.monotonic() > until:
            raise RendezvousTimeoutError(f"the other machines did not come within {self.timeout:g} seconds")
        time.sleep(_LOOK)

    def num_nodes_waiting(self) -> int:
        """Return how many machines wait in the next round: their ranks were lost."""
        with suppress(DistError):  # the store's machine is gone, as this one's ranks will notice
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
    """Return the rendezvous of a run; for one machine it is in this process alone."""
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
    """Listen at an address, and at no other, if it is this machine's and free; else another launcher does."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [(family, str(address[0])) for family, _, _, _, address in found]
    if not is_loopback(host) and all(is_loopback(address) for _, address in addresses):
        # A machine whose own name is 127.0.1.1 in /etc/hosts: the others know it by an address that it does not.
        addresses = [(socket.AF_INET, "")] if host == socket.gethostname() else []
    for family, address in addresses:
        one = socket.socket(family)
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, port))
            one.listen(128)
            return one
        one.close()
    return None


def _wait_until_open(host: str, port: int, timeout: float) -> None:
    """Wait for the store's machine, as torch would, but so that signals are heard meanwhile."""
    until = time.monotonic() + timeout
    while True:
        with suppress(OSError), socket.create_connection((host, port), timeout=5):
            return
        if time.monotonic() > until:
            raise RendezvousTimeoutError(f"nothing listens at {host}:{port} within {timeout:g} seconds")
        time.sleep(_LOOK)
