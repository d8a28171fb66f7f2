"""The command line run in this process, against a server of the reference's kind in another."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ollama_jupyter.cli.main import main
from tests.fakes.contract_server import ContractServer


class Outcome(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no setting of the user's."""
    for name in [name for name in os.environ if name.startswith(("OLLAMA", "JUPYTERHUB"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_JUPYTER_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


@pytest.fixture
def no_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens."""
    monkeypatch.setenv("OLLAMA_HOST", f"unix:{home}/none.sock")


@pytest.fixture
def run(
    home: Path,
    server: ContractServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command line against the server; `stdin` is what is piped in."""
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    return runner(monkeypatch, capsys)


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What runs a command line in this process."""

    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return run
