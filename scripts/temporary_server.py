"""A real server of its own on a free port over a temporary store.

For the demo, the tests and the benchmarks: whatever the caller's OLLAMA_* variables
say and whatever else runs on the machine.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
_FOREIGN: Final = ("OLLAMA_", "JUPYTERHUB_")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryServer:
    """A running server.

    Attributes:
        url: its base URL, without a slash at the end.
        home: its home folder; the store is `home/.ollama/models`.
        environ: variables with which a client finds it.
        process: the server itself.
        log: what it wrote.
    """

    url: str
    home: Path
    environ: dict[str, str]
    process: "subprocess.Popen[bytes]"
    log: Path


def free_port() -> int:
    """A TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, url: str, changes: Mapping[str, str]) -> dict[str, str]:
    """The caller's variables without what would lead to another server or store."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_FOREIGN)}
    own = {
        "HOME": str(home),
        "OLLAMA_HOST": url,
        "OLLAMA_JUPYTER_RUNTIME_DIR": str(home / "run"),
        "NO_PROXY": "127.0.0.1",
    }
    return kept | own | dict(changes)


def is_answering(url: str) -> bool:
    """Whether a server at the URL answers at once."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/", timeout=2) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def temporary_server(**changes: str) -> Iterator[TemporaryServer]:
    """Start a server, and end it and all it made when left; `changes` are further variables.

    Raises:
        RuntimeError: it ended or did not answer in time; the text holds its last log lines.
    """
    home = Path(tempfile.mkdtemp(prefix="oj-"))
    url = f"http://127.0.0.1:{free_port()}"
    environ = environment(home, url, changes)
    log = home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ollama_jupyter", "serve"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_answering(url):
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
            lines = log.read_text(errors="replace").splitlines()[-20:]
            raise RuntimeError("the server did not start:\n" + "\n".join(lines))
        yield TemporaryServer(url=url, home=home, environ=environ, process=process, log=log)
    finally:
        _end(process)
        shutil.rmtree(home, ignore_errors=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
