"""A server of the reference's kind in a process of its own, and a client on it."""

from collections.abc import Iterator

import pytest

from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Host
from tests.fakes.contract_server import ContractServer


@pytest.fixture(scope="package")
def shared_server() -> Iterator[ContractServer]:
    """One process for all tests here; `server` makes it as new."""
    with ContractServer() as server:
        yield server


@pytest.fixture
def server(shared_server: ContractServer) -> ContractServer:
    shared_server.reset()
    return shared_server


@pytest.fixture
def client(server: ContractServer) -> Client:
    return Client(Host.parse(server.url))
