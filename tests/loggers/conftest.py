"""One Visdom server for all tests that do not end it."""

from collections.abc import Iterator

import pytest

from tests.loggers.servers import free_port, visdom_server


@pytest.fixture(scope="session")
def visdom_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with visdom_server(tmp_path_factory.mktemp("visdom"), port):
        yield port
