"""Where a server listens, and whether it may."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_jupyter.config import Config, Host
from ollama_jupyter.server.listening import CannotListen, bind, required_key


def _config(**environ: str) -> Config:
    return Config.from_environment({"HOME": "/nonexistent", **environ})


# --- keys -----------------------------------------------------------------------------------


def test_a_private_machine_needs_no_key() -> None:
    assert required_key(_config()) is None


def test_a_key_that_is_set_counts() -> None:
    assert required_key(_config(OLLAMA_API_KEY="k", OLLAMA_HOST="0.0.0.0")) == "k"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5:80", ":11434", "[::]:1", "example.org"])
def test_an_open_address_without_a_key_is_refused(host: str) -> None:
    with pytest.raises(CannotListen, match="set OLLAMA_API_KEY"):
        required_key(_config(OLLAMA_HOST=host))


def test_an_open_address_without_a_key_can_be_insisted_on() -> None:
    assert required_key(_config(OLLAMA_HOST="0.0.0.0", OLLAMA_INSECURE_NO_KEY="1")) is None


def test_a_shared_machine_gets_a_new_key_each_time() -> None:
    first, second = (required_key(_config(OLLAMA_SHARED="1")) for _ in range(2))
    assert first is not None
    assert len(first) >= 43
    assert first != second


def test_a_socket_needs_no_key_on_a_shared_machine() -> None:
    assert required_key(_config(OLLAMA_SHARED="1", OLLAMA_HOST="unix:/run/x/sock")) is None


# --- sockets --------------------------------------------------------------------------------


@pytest.fixture
def holder() -> Iterator[int]:
    """A port that this process holds."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_bind_gives_the_real_port() -> None:
    sockets, host = bind(Host(port=0))
    try:
        (only,) = sockets
        assert only.getsockname() == ("127.0.0.1", host.port)
        assert host.port > 0
    finally:
        for each in sockets:
            each.close()


def test_bind_names_an_address_that_can_be_dialled() -> None:
    sockets, host = bind(Host(name="", port=0))
    for each in sockets:
        each.close()
    assert host.url == f"http://127.0.0.1:{host.port}"


def test_bind_names_the_holder_of_a_taken_port(holder: int) -> None:
    with pytest.raises(CannotListen) as caught:
        bind(Host(port=holder))
    assert str(holder) in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)


@pytest.mark.parametrize("name", ["192.0.2.1", "no.such.host.invalid"])
def test_bind_refuses_an_address_of_another_machine(name: str) -> None:
    with pytest.raises(CannotListen, match="set OLLAMA_HOST to an address of this machine"):
        bind(Host(name=name, port=0))


def test_bind_makes_a_socket_only_we_can_use(short_dir: Path) -> None:
    path = short_dir / "new" / "sock"
    (only,), host = bind(Host(scheme="unix", socket_path=path))
    only.close()
    assert host.url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_bind_replaces_a_dead_socket_and_respects_a_live_one(short_dir: Path) -> None:
    host = Host(scheme="unix", socket_path=short_dir / "sock")
    (dead,), _ = bind(host)
    dead.close()
    (live,), _ = bind(host)
    try:
        with pytest.raises(CannotListen, match="another server listens there"):
            bind(host)
    finally:
        live.close()


def test_bind_leaves_a_file_alone(short_dir: Path) -> None:
    path = short_dir / "sock"
    path.write_text("mine")
    with pytest.raises(CannotListen):
        bind(Host(scheme="unix", socket_path=path))
    assert path.read_text() == "mine"


def test_bind_tells_of_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="unix:"):
        bind(Host(scheme="unix", socket_path=tmp_path / ("x" * 120)))
