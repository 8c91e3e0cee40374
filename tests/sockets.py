"""Which addresses a process, and all below it, listen at, and whoever reaches them may write to."""

import ipaddress
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.devices.starting import family

_LISTENING = "0A"


def listening(process: int) -> set[tuple[str, int]]:
    """Return (address, port) of every TCP socket at which a process, or one below it, listens."""
    if sys.platform != "linux":
        pytest.skip("sockets are read from Linux's /proc")
    held = set()
    for one in family(process):
        with suppress(OSError):  # it has ended meanwhile
            for link in Path(f"/proc/{one}/fd").iterdir():
                with suppress(OSError):
                    held.add(link.readlink().name)
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENING and f"socket:[{rest[5]}]" in held:
                found.add(_address(*local.split(":")))
    return found


def _address(host: str, port: str) -> tuple[str, int]:
    words = bytes.fromhex(host)
    turned = b"".join(struct.pack("=I", *struct.unpack(">I", words[at : at + 4])) for at in range(0, len(words), 4))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, turned), int(port, 16)


def open_to_others(process: int) -> set[tuple[str, int]]:
    """Return where a process, or one below it, listens beyond loopback."""
    addresses = {(ipaddress.ip_address(host), port) for host, port in listening(process)}
    mapped = {(getattr(host, "ipv4_mapped", None) or host, port) for host, port in addresses}
    return {(str(host), port) for host, port in mapped if not host.is_loopback}
