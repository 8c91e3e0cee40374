"""Who may ask the Visdom server: programs, and the pages that it serves itself; no other page that a browser opens."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from expkit.cli.visdom_server import refusal
from tests.cli.test_visdom import served
from tests.loggers.servers import panes, post

OWN = {"host": "localhost:8097"}
NAVIGATION = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
ANSWERED: list[tuple[str, Mapping[str, str]]] = [
    ("POST", OWN),  # a program
    ("POST", {}),  # HTTP/1.0
    ("POST", OWN | {"origin": "http://localhost:8097", "sec-fetch-site": "same-origin"}),
    ("POST", OWN | {"origin": "http://LOCALHOST:8097"}),
    ("POST", {"host": "LocalHost:9000", "origin": "http://localhost:9000"}),  # forwarded by ssh -L
    ("POST", {"host": "127.0.0.1:8097", "origin": "http://127.0.0.1:8097"}),
    ("POST", {"host": "[::1]:8097", "origin": "http://[::1]:8097"}),
    ("POST", {"host": "10.0.0.7:8097"}),
    ("POST", {"host": "gpu1:8097", "origin": "http://gpu1:8097"}),  # given by --host
    ("POST", {"host": "GPU1.:8097"}),
    ("POST", OWN | {"origin": "https://gpu1"}),  # a proxy of this name
    ("GET", OWN | NAVIGATION),  # a link
    ("GET", OWN | {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}),
]
REFUSED: list[tuple[str, Mapping[str, str]]] = [
    *[
        ("POST", OWN | {"origin": origin})
        for origin in (
            "http://evil.example",
            "http://evil.example:8097",
            "http://localhost:3000",  # another server of this machine
            "http://localhost",
            "http://127.0.0.1:8097",
            "http://localhost:8097.evil.example",
            "http://localhost:8097@evil.example",
            "http://gpu1.evil.example",
            "null",  # a file, or a frame in a sandbox
            "",
            "http://localhost:8097, http://evil.example",
            "file://",
            "http://[evil",
        )
    ],
    *[
        ("GET", {"host": host})
        for host in ("evil.example", "evil.example:8097", "localhost.evil.example", "127.0.0.1.evil.example", "", "[")
    ],
    ("POST", OWN | NAVIGATION),  # a form
    ("GET", OWN | NAVIGATION | {"sec-fetch-dest": "iframe"}),
    ("GET", OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}),
    ("GET", OWN | {"sec-fetch-site": "same-site", "sec-fetch-mode": "websocket", "sec-fetch-dest": "websocket"}),
]


@pytest.mark.parametrize(("method", "headers"), ANSWERED, ids=str)
def test_is_answered(method: str, headers: Mapping[str, str]) -> None:
    assert refusal(method, headers, {"gpu1"}) == ""


@pytest.mark.parametrize(("method", "headers"), REFUSED, ids=str)
def test_is_refused(method: str, headers: Mapping[str, str]) -> None:
    assert refusal(method, headers, {"gpu1"})


def asked(port: int, method: str, path: str, headers: Mapping[str, str], body: str = "") -> tuple[int, str]:
    """Ask with headers as they are; returns (status, text)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, "" if answer.status == 101 else answer.read().decode()
    finally:
        connection.close()


def test_a_page_of_another_origin_reaches_nothing(tmp_path: Path) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    pane = json.dumps({"win": "a", "eid": "mine", "data": [{"type": "text", "content": "theirs"}], "opts": {}})
    with served(tmp_path, "--page", str(tmp_path / "page"), "--host", "plots.example.org", path="/nowhere") as (
        port,
        _,
    ):
        post(port, "events", json.loads(pane.replace("theirs", "ours")))
        foreign = ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"})
        for headers in foreign:
            for path in ("/events", "/update", "/close", "/save", "/delete_env", "/win_data", "/", "/nowhere"):
                status, text = asked(port, "POST", path, headers, pane)
                assert (status, text.split(":")[0]) == (403, "refused"), (path, headers)
            for path in ("/", "/env/mine", "/static/js/main.js", "/socket_wrap"):
                assert asked(port, "GET", path, headers)[0] == 403, (path, headers)
            for path in ("/socket", "/vis_socket"):
                assert asked(port, "GET", path, upgrade | headers)[0] == 403, (path, headers)
        assert asked(port, "GET", "/socket", upgrade | {"Origin": f"http://127.0.0.1:{port}"})[0] == 101
        assert "--host evil.example" in asked(port, "GET", "/", {"Host": "evil.example"})[1]
        assert asked(port, "GET", "/", {"Host": "plots.example.org"})[0] == 200
        assert panes(port, "mine")["a"]["content"] == "ours"
