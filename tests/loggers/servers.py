"""Real servers on loopback for the tests: Visdom's own, and ones that answer badly."""

import http.server
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_visdom(folder: Path, port: int, *more: str) -> subprocess.Popen[bytes]:
    """Start visdom's server without its page, and return when it answers."""
    slim = "from expkit.cli.visdom_server import without_slow_imports"
    program = f"{slim}\nwith without_slow_imports():\n    from visdom.server.run_server import main\nmain()"
    arguments = ["-port", str(port), "-env_path", str(folder), "-bind_local", *more]
    folder.mkdir(exist_ok=True)
    with open(folder / "server.log", "ab") as log:
        server = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=log, stderr=log)
    for _ in range(200):  # a bare connection would not do: one to a free port may meet itself
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
                return server
        except urllib.error.HTTPError:
            return server
        except OSError:
            time.sleep(0.1)
    server.kill()
    server.wait()
    raise TimeoutError("the Visdom server did not start")


@contextmanager
def visdom_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    server = start_visdom(folder, port)
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def post(port: int, endpoint: str, content: dict[str, Any]) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{endpoint}", json.dumps(content).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        read: bytes = answer.read()
    return read


def panes(port: int, env: str) -> dict[str, Any]:
    """Return the windows that a Visdom server holds of an environment."""
    found: dict[str, Any] = json.loads(post(port, "win_data", {"eid": env, "win": None}))
    return found


def panes_of(port: int, run: str, env: str | None = None) -> dict[str, Any]:
    """Return a run's windows in an environment, null for the one of its name, as the logger calls them."""
    found, mark = panes(port, env or run), f"{run}/"
    return {name.removeprefix(mark): held for name, held in found.items() if name.startswith(mark)}


@contextmanager
def bad_server(status: int, delay: float) -> Iterator[int]:
    """Answer every request with a status after a delay; yields the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(delay)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the client has gone meanwhile
                super().handle()

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def hung_server() -> Iterator[int]:
    """Accept connections and never answer; yields the port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(50)
        yield one.getsockname()[1]
