"""The magics in a real kernel, where an interrupt is a signal and a display is a message."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from tests.fakes.contract_server import ContractServer
from tests.notebook.conftest import requests_so_far

Message = dict[str, Any]
LOAD_SECONDS = 0.3
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel and what it said."""

    manager: KernelManager
    client: BlockingKernelClient
    messages: list[Message] = field(default_factory=list)

    def start(self, cell: str) -> str:
        """Begin a cell; gives the id of its request."""
        self.messages.clear()
        return str(self.client.execute(cell))

    def read(self, request_id: str) -> Message:
        """The next message the cell causes."""
        while True:
            message: Message = self.client.get_iopub_msg(timeout=PATIENCE_SECONDS)
            if message["parent_header"].get("msg_id") == request_id:
                self.messages.append(message)
                return message

    def finish(self, request_id: str) -> Message:
        """Read until the cell is done; gives the content of its reply."""
        while self.read(request_id)["content"].get("execution_state") != "idle":
            pass
        reply: Message = self.client.get_shell_msg(timeout=PATIENCE_SECONDS)
        content: Message = reply["content"]
        return content

    def run(self, cell: str) -> Message:
        """Run a cell to its end; gives the content of its reply."""
        return self.finish(self.start(cell))

    def of_type(self, kind: str) -> list[Message]:
        """The contents of the last cell's messages of a type."""
        return [message["content"] for message in self.messages if message["msg_type"] == kind]

    @property
    def printed(self) -> str:
        """What the last cell wrote."""
        return "".join(content["text"] for content in self.of_type("stream"))


@pytest.fixture(scope="module")
def kernel(contract_server: ContractServer) -> Iterator[Kernel]:
    """A kernel whose OLLAMA_HOST names the contract server."""
    environ = {**os.environ, "OLLAMA_HOST": contract_server.url}
    manager, client = start_new_kernel(kernel_name="python3", env=environ)
    kernel = Kernel(manager=manager, client=client)
    try:
        kernel.run("%load_ext ollama_jupyter")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_the_extension_loads_quickly_and_without_network() -> None:
    environ = {**os.environ, "OLLAMA_HOST": "http://nowhere.invalid:9"}
    manager, client = start_new_kernel(kernel_name="python3", env=environ)
    kernel = Kernel(manager=manager, client=client)
    try:
        kernel.run(
            "import time, socket\n"
            "def forbidden(*_): raise RuntimeError('network')\n"
            "socket.socket.connect = forbidden\n"
            "start = time.perf_counter()\n"
            "%load_ext ollama_jupyter\n"
            "print(time.perf_counter() - start)"
        )
        assert float(kernel.printed) < LOAD_SECONDS
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_an_answer_is_one_display_that_is_updated(kernel: Kernel) -> None:
    assert kernel.run("%%chat echo\nhello **world**")["status"] == "ok"
    assert len(kernel.of_type("display_data")) == 1
    assert kernel.of_type("update_display_data")[-1]["data"]["text/plain"] == "hello **world** "
    assert not kernel.of_type("error")


def test_a_failure_is_an_error_of_one_line_and_the_cell_is_failed(kernel: Kernel) -> None:
    reply = kernel.run("%%chat nosuch\nx")
    assert reply["status"] == "error"
    (error,) = kernel.of_type("error")
    assert error["traceback"] == [
        "Error: model 'nosuch' is not installed; get it with: %ollama pull nosuch"
    ]


def test_an_interrupt_ends_a_flood_within_a_second_and_keeps_what_came(
    kernel: Kernel, contract_server: ContractServer
) -> None:
    requests_so_far(contract_server)
    request_id = kernel.start("%%chat endless\nx")
    updates = 0
    start = time.monotonic()
    while updates < 10:
        updates += kernel.read(request_id)["msg_type"] == "update_display_data"
    streamed_seconds = time.monotonic() - start
    kernel.manager.interrupt_kernel()
    interrupted = time.monotonic()
    assert kernel.finish(request_id)["status"] == "error"
    assert time.monotonic() - interrupted < 1.0
    contract_server.wait_for(closed="/api/chat")
    assert time.monotonic() - interrupted < 1.0

    last = kernel.of_type("update_display_data")[-1]
    assert last["data"]["text/plain"].startswith("on on ")
    assert kernel.of_type("error")[0]["traceback"] == ["Interrupted; what had come is kept."]
    assert len(kernel.of_type("display_data")) == 1
    # The first update may come at once; each of the others waits its turn.
    assert updates - 1 <= streamed_seconds * 20
    kernel.run("%%chat echo\nstill here")
    assert kernel.of_type("update_display_data")[-1]["data"]["text/plain"] == "still here "


def test_a_child_that_a_cell_forks_harms_nothing(kernel: Kernel) -> None:
    kernel.run("%%chat echo\nbefore")
    kernel.run(
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0)\n"
        "print(os.waitpid(child, 0)[1])"
    )
    assert kernel.printed.strip() == "0"
    assert kernel.run("%%chat echo\nafter")["status"] == "ok"
