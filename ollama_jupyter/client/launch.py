"""Starts our server in the background and waits until it answers or dies.

The child is a program of its own: in its own session (an interrupt of the kernel does not reach
it), with no file of ours open, its output in `~/.ollama/logs/server.log`.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ollama_jupyter import runtime
from ollama_jupyter.config import Config, Host
from ollama_jupyter.errors import ServerUnreachable, StoreError
from ollama_jupyter.runtime import Record

START_TIMEOUT_SECONDS: Final = 30.0
SERVE_ARGUMENTS: Final = ("-m", "ollama_jupyter", "serve", "--auto-started")
_POLL_SECONDS: Final = 0.02
_TAIL_BYTES: Final = 16 * 1024
# Keys to Jupyter itself; a model server has no use for them.
_SECRETS: Final = ("JPY_API_TOKEN", "JUPYTERHUB_API_TOKEN", "JUPYTER_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The end of a log file from `offset` on; what one run of a server wrote."""

    path: Path
    offset: int = 0

    def lines(self, count: int) -> list[str]:
        """Its last lines, oldest first; none when there is no such file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return []
        with os.fdopen(descriptor, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = self.offset if self.offset <= size else 0
            file.seek(max(start, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
        return [line for line in text.splitlines() if line.strip()][-count:]


def log_path(config: Config) -> Path:
    """Where a server in the background writes its log."""
    return config.user_dir / "logs" / "server.log"


def launch(config: Config, host: Host, environ: Mapping[str, str]) -> Record:
    """Start a server that listens at `host`, and give back its record once it answers.

    The caller holds the start lock. Port 0 lets the system choose a free one.

    Args:
        config: names the runtime folder and the folder of the log.
        host: where it is to listen.
        environ: what the child's environment is made from.

    Raises:
        ServerUnreachable: it ended, or did not answer in time; the message holds its last words.
        StoreError: its log cannot be written.
    """
    with _open_log(log_path(config)) as (descriptor, tail):
        child = subprocess.Popen(
            [sys.executable, *SERVE_ARGUMENTS],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=_child_environment(environ, host),
            cwd=Path(sys.executable).anchor,
            start_new_session=True,
        )
    try:
        record = _wait_for_record(child, config, tail)
    except BaseException:
        child.kill()
        child.wait()
        raise
    # Somebody must collect the child when it ends, or it stays a zombie of a long-lived kernel.
    threading.Thread(target=child.wait, name="ollama-server-reaper", daemon=True).start()
    return record


def _wait_for_record(child: "subprocess.Popen[bytes]", config: Config, tail: LogTail) -> Record:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        exit_code = child.poll()
        for record in runtime.read_records(config.runtime_dir):
            if record.pid == child.pid:
                return record
        if exit_code is not None:
            raise ServerUnreachable(
                f"the server ended at its start with {_exit_text(exit_code)}{_last_words(tail)}"
            )
        if time.monotonic() >= deadline:
            raise ServerUnreachable(
                f"the server did not answer within {START_TIMEOUT_SECONDS:.0f} s of its start"
                f"{_last_words(tail)}"
            )
        time.sleep(_POLL_SECONDS)


def _exit_text(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"


def _last_words(tail: LogTail) -> str:
    lines = tail.lines(8)
    if not lines:
        return f"; it wrote nothing to {tail.path}"
    return f"; its last words in {tail.path}:\n" + "\n".join(f"  {line}" for line in lines)


def _child_environment(environ: Mapping[str, str], host: Host) -> dict[str, str]:
    """The caller's environment with the address set, without Jupyter's keys."""
    child = {name: value for name, value in environ.items() if name not in _SECRETS}
    child["OLLAMA_HOST"] = host.url
    package_root = Path(__file__).resolve().parents[2]
    if package_root.name not in ("site-packages", "dist-packages"):
        # Run from a checkout: the child starts elsewhere and would not find the package.
        paths = [str(package_root), *filter(None, [child.get("PYTHONPATH")])]
        child["PYTHONPATH"] = os.pathsep.join(paths)
    return child


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[tuple[int, LogTail]]:
    """The log opened for appending, 0600 in a folder only we enter; the server itself rotates it.

    It holds what the server says before its own logging stands, and after it fell.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StoreError(f"cannot write the log {str(path)!r}: {error.strerror}") from error
    try:
        yield descriptor, LogTail(path=path, offset=os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
