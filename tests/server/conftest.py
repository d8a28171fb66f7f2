"""Servers for the tests of this room."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.rooms import fake_model
from tests.server.web import Web, running


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    """A server with one model, `test`."""
    async with running(tmp_path, fake_model()) as server:
        yield server


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Web]:
    """A server over an empty store."""
    async with running(tmp_path) as server:
        yield server
