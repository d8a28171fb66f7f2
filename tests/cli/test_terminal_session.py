"""The whole program in a real terminal: it notices that one is there, and keys reach it."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.contract_server import ContractServer

ROOT = Path(__file__).parents[2]


class Terminal:
    """A program that runs in a terminal of its own."""

    def __init__(self, home: Path, url: str, *arguments: str) -> None:
        self._keyboard, terminal = pty.openpty()
        self._seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ollama_jupyter", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            cwd=ROOT,
            env={
                "HOME": str(home),
                "OLLAMA_HOST": url,
                "PATH": os.environ["PATH"],
                "TERM": "xterm",
                "PROMPT_TOOLKIT_NO_CPR": "1",
            },
        )
        os.close(terminal)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._keyboard, keys.encode())

    def read_until(self, text: str) -> str:
        """What is shown up to that text, which must come within 20 s."""
        deadline = time.monotonic() + 20
        while text not in self._seen:
            ready, _, _ = select.select([self._keyboard], [], [], deadline - time.monotonic())
            assert ready, f"{text!r} did not come; shown: {self._seen!r}"
            self._seen += os.read(self._keyboard, 4096).decode("utf-8", "replace")
        before, _, self._seen = self._seen.partition(text)
        return before

    def close(self) -> None:
        """End the program and the terminal."""
        self.process.kill()
        self.process.wait(10)
        os.close(self._keyboard)


Open = Callable[..., Terminal]


@pytest.fixture
def open_terminal(server: ContractServer, tmp_path: Path) -> Iterator[Open]:
    """Run a command line in a terminal, and end it after the test."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str) -> Terminal:
        opened.append(Terminal(tmp_path, server.url, *arguments))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.close()


def test_run_holds_a_session_in_a_terminal(open_terminal: Open, server: ContractServer) -> None:
    terminal = open_terminal("run", "endless", "--verbose")
    terminal.read_until("Send a message (/? for help)")
    terminal.press("go\r")
    terminal.read_until("on on on")
    os.kill(terminal.process.pid, signal.SIGINT)
    server.wait_for(closed="/api/chat")
    terminal.read_until("Send a message (/? for help)")
    terminal.press("/bye\r")
    assert terminal.process.wait(20) == 0


def test_run_with_a_prompt_wraps_and_stops_at_an_interrupt(
    open_terminal: Open, server: ContractServer
) -> None:
    terminal = open_terminal("run", "endless", "go")
    terminal.read_until("on on \r\n")
    assert set(terminal.read_until("\r\n").split()) == {"on"}
    os.kill(terminal.process.pid, signal.SIGINT)
    server.wait_for(closed="/api/generate")
    assert terminal.process.wait(20) == 130
