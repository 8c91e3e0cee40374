"""Visdom's own client, so that it never waits without end, sends nothing twice, and raises what went wrong."""

import logging
from typing import Any

ANSWER_SECONDS = 8.0  # a server that is slow by some seconds is waited for, a hung one is not
REFUSED = "the server asks for a login, or refuses this one"
LOST = "the server has lost this run's panes"


def connect(server: str, port: int, env: str, login: tuple[str, str] | None) -> Any:
    """Return a client of an environment. login: name and password. Raises ConnectionError, PermissionError."""
    log: Any = logging.getLogger("visdom")
    log.setLevel(logging.CRITICAL)  # it warns of the socket that is left out on purpose
    log.warn = log.warning  # which it calls by a name that Python has deprecated: an error under `python -W error`
    username, password = login or (None, None)
    return _client_class()(
        server=server, port=port, env=env, username=username, password=password,
        use_incoming_socket=False, raise_exceptions=True,
    )  # fmt: skip


def _client_class() -> Any:
    from visdom import Visdom  # 1.7 s, in the thread of this logger

    untyped: Any = Visdom

    class Client(untyped):  # type: ignore[misc]
        _session: Any = None

        @property
        def session(self) -> Any:
            if self._session is None:
                self._session = _session()
                if self.username:
                    data = {"username": self.username, "password": self.password}
                    self._session.post(f"{self.server}:{self.port}{self.base_url}", json=data)
            return self._session

        def _handle_post(self, url: str, data: Any = None) -> str:
            """Send once: visdom 0.3 sends again what a server took and did not answer in time."""
            return str(self.session.post(url, data=data or {}).text)

        def _start_session_reaper(self) -> None:
            """Start no thread: the one by which visdom 0.3 closes sessions would never end."""

        def win_exists(self, win: str, env: str | None = None) -> bool:
            """Asked before points are appended; where the client itself would begin a new pane with these alone."""
            if self._win_exists_wrap(win, env) != "true":
                raise ConnectionError(LOST)
            return True

    return Client


def _session() -> Any:
    """Return a session whose requests end in time, and raise for an answer that is an error."""
    import requests

    class Session(requests.Session):
        def request(self, *arguments: Any, **options: Any) -> Any:
            answer = super().request(*arguments, **options | {"timeout": ANSWER_SECONDS})
            if answer.status_code in (400, 401):  # which it says to whoever is not logged in
                raise PermissionError(REFUSED)
            if answer.status_code == 403:
                raise ConnectionError(answer.text.strip()[:300])
            if "/env/" not in str(arguments[1:] or options.get("url")):  # to which visdom 0.2.4 always answers 500
                answer.raise_for_status()
            if answer.text == "win does not exist":
                raise ConnectionError(LOST)
            return answer

    return Session()
