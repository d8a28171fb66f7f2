"""A shell in this process, and a server that plays the other side."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from ollama_jupyter.client.calls import Call
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Host
from ollama_jupyter.errors import ServerError
from tests.fakes.contract_server import ContractServer


@pytest.fixture(scope="session")
def contract_server() -> Iterator[ContractServer]:
    """A server that knows only the fields of the reference."""
    with ContractServer() as server:
        yield server


def requests_so_far(server: ContractServer) -> list[tuple[str, dict[str, Any]]]:
    """Path and body of every request the server has had and was not asked about, oldest first.

    Its events reach us by a pipe of their own, so a last request of ours marks where to stop.
    """
    marker = f"/marker-{uuid4().hex}"
    with contextlib.suppress(ServerError):
        Client(Host.parse(server.url)).request(Call(method="GET", path=marker))
    found = []
    while (event := server.next_event()).get("path") != marker:
        if "method" in event:
            found.append((event["path"], event["body"]))
    return found


class RecordingPublisher(CapturingDisplayPublisher):
    """Keeps what is published; an interrupt comes after the publication `interrupt_at` counts."""

    interrupt_at: int | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # IPython has no types

    def publish(self, *args: object, **kwargs: object) -> None:
        super().publish(*args, **kwargs)  # type: ignore[no-untyped-call]  # as above
        if len(self.outputs) == self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A shell with the magics loaded, and what its cells showed and printed."""

    shell: InteractiveShell
    publisher: RecordingPublisher
    capsys: pytest.CaptureFixture[str]

    def run(self, cell: str) -> ExecutionResult:
        """Run one cell; what it published starts anew."""
        self.publisher.outputs.clear()
        result: ExecutionResult = self.shell.run_cell(  # type: ignore[no-untyped-call]  # as above
            cell, store_history=False
        )
        return result

    def printed(self, cell: str) -> str:
        """What a cell that succeeds prints."""
        self.capsys.readouterr()
        result = self.run(cell)
        assert result.success
        return self.capsys.readouterr().out

    def failure(self, cell: str) -> str:
        """The one line that a cell shows when it fails."""
        self.capsys.readouterr()
        result = self.run(cell)
        assert not result.success
        lines = self.capsys.readouterr().out.splitlines()
        assert len(lines) == 1
        return lines[0]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What the last cell published, updates included, oldest first."""
        return list(self.publisher.outputs)

    @property
    def text(self) -> str:
        """The plain text the last cell's display ended with."""
        text: str = self.outputs[-1]["data"]["text/plain"]
        return text


@pytest.fixture(scope="session")
def shell() -> Iterator[InteractiveShell]:
    """One shell without history; IPython allows one a process."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config, colors="nocolor")
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def terminal(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    """A shell without a kernel, the magics loaded anew."""
    saved = shell.display_pub
    publisher = RecordingPublisher()
    shell.display_pub = publisher
    notebook = Notebook(shell=shell, publisher=publisher, capsys=capsys)
    assert notebook.run("%load_ext ollama_jupyter").success
    yield notebook
    assert notebook.run("%unload_ext ollama_jupyter").success
    shell.config.pop("OllamaMagics", None)
    shell.display_pub = saved


@pytest.fixture
def notebook(
    terminal: Notebook, contract_server: ContractServer, monkeypatch: pytest.MonkeyPatch
) -> Notebook:
    """The same as in a kernel, with a server that OLLAMA_HOST names."""
    monkeypatch.setattr(terminal.shell, "kernel", object(), raising=False)
    monkeypatch.setenv("OLLAMA_HOST", contract_server.url)
    requests_so_far(contract_server)
    return terminal
