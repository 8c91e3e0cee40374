"""Visdom's own server, behind a check of who asks: any web page that a user visits can send to a server on loopback."""

import atexit
import ipaddress
import logging
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class _Hidden(MetaPathFinder):
    """Has packages look as if they were not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in ("torch", "openTSNE"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


@contextmanager
def without_slow_imports() -> Iterator[None]:
    """Import visdom without torch and openTSNE, which it can do without: its client uses them, its server does not.

    None in sys.modules would not do: SciPy asks there whether torch is loaded, and takes None for it.
    """
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


def refusal(method: str, headers: Mapping[str, str], names: Collection[str]) -> str:
    """Return why a request is not answered, "" for one that is.

    headers: by lower-case name; names: of this server, beside localhost and addresses in digits. A page of another
    origin may link here, and nothing else: not write, not read through a name that it had point here (DNS rebinding),
    not show this page in a frame. Programs that are no browsers send none of Origin and Sec-Fetch-….
    """
    host = headers.get("host", "localhost")
    if not _is_own(_name_of(f"//{host}"), names):
        shown = _name_of(f"//{host}") or "NAME"
        return f"the host {host!r} is not known; start the server with: python -m expkit visdom --host {shown}"
    origin = headers.get("origin")
    if origin is not None and not (_place_of(origin) == host.lower() or _name_of(origin) in names):
        return f"the request comes from a page of another origin, {origin!r}"
    is_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
        is_link and headers.get("sec-fetch-dest") == "document"
    ):
        return "the request comes from a page of another origin"
    return ""


def _place_of(origin: str) -> str:
    return origin.partition("://")[2].lower()


def _name_of(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_own(name: str, names: Collection[str]) -> bool:
    if name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # no name, so nothing that another one can have point here


def own_names() -> set[str]:
    """Return what other machines may call this one."""
    return {socket.gethostname().lower(), socket.getfqdn().lower()}


def listen(port: int, address: str | None) -> list[socket.socket]:
    """Listen at an address, None for every one. Raises OSError where the port is taken.

    Visdom's own start would take another port then, and say so to a log alone.
    """
    from tornado import netutil

    return netutil.bind_sockets(port, address, socket.AF_INET if address else socket.AF_UNSPEC)


def serve(sockets: Sequence[socket.socket], folder: str, static: Path, names: Collection[str]) -> None:
    """Serve until Ctrl+C. folder: where environments are kept. Raises OSError where it may not be written to."""
    from tornado import httpserver, ioloop, web
    from visdom.server import app

    logging.getLogger("tornado.access").setLevel(logging.ERROR)

    class Refused(web.RequestHandler):
        def initialize(self, reason: str) -> None:
            self.reason = reason

        def prepare(self) -> None:
            self.set_status(403)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"refused: {self.reason}\n")

    application: Any = app.Application

    class Checked(application):  # type: ignore[misc]
        def find_handler(self, request: Any, **options: Any) -> Any:
            headers = {name.lower(): value for name, value in request.headers.items()}
            if reason := refusal(request.method, headers, names):
                return self.get_handler_delegate(request, Refused, {"reason": reason})
            return super().find_handler(request, **options)

    app.tornado_settings.update(static_path=str(static), template_path=str(static))
    port = sockets[0].getsockname()[1]
    made = Checked(port=port, base_url="", env_path=folder)
    if hasattr(made, "storage"):  # visdom 0.3 keeps what was not saved
        atexit.register(made.storage.save_all, made.state)
    server = httpserver.HTTPServer(made, max_buffer_size=1024**3)
    server.add_sockets(sockets)
    print(f"visdom: http://localhost:{port}  (Ctrl+C ends it)", flush=True)
    ioloop.IOLoop.current().start()
