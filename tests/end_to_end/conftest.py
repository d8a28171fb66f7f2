"""Servers for the tests with a real model."""

from collections.abc import Iterator

import pytest

from scripts.temporary_server import TemporaryServer, temporary_server
from tests.end_to_end.rest import Rest


@pytest.fixture(scope="session")
def shared_server() -> Iterator[TemporaryServer]:
    """One server for the tests that leave it as it was."""
    with temporary_server() as server:
        yield server


@pytest.fixture
def rest(shared_server: TemporaryServer) -> Rest:
    """Requests to the shared server."""
    return Rest(shared_server.url)
