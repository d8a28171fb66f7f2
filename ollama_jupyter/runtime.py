"""The record and the start lock of running servers: how one process finds another's server.

A server writes one JSON file when it listens, `server-<port>.json`, into a folder that only its
user can enter, and removes it when it ends. Whoever looks for a server reads the folder, and
believes a record only while the very process that wrote it lives: same machine, same boot, same
pid and same start time of that pid. A record nobody stands behind any more is removed on sight.

Rules that must not break: nothing here follows a symbolic link; a file gets its name only once it
is whole, and its mode (0600) before that; no process is signalled on the word of a pid alone.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from ollama_jupyter.config import Host
from ollama_jupyter.errors import StoreError
from ollama_jupyter.version import __version__

# The folder is per user and local; a record is a few hundred bytes.
_RECORD_LIMIT_BYTES: Final = 64 * 1024
_LOCK_NAME: Final = "start.lock"
_LOCK_POLL_SECONDS: Final = 0.02
_NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_NO_BLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A running server, as it describes itself to other processes of its user.

    Attributes:
        url: where it listens, `http://127.0.0.1:11434` or `unix:/path`; never a wildcard address.
        pid: its process.
        process_start: when that process began, in the system's own unit; told apart from a later
            process of the same pid by it.
        host_name: the machine it runs on.
        boot_id: the boot it belongs to; "" where the system has none.
        version: of this package.
        interpreter: path of its Python; tells one environment from another.
        api_key: the key requests must carry; None when there is none.
        auto_started: whether a client started it, so that it ends by itself when unused.
    """

    url: str
    pid: int
    process_start: int
    host_name: str
    boot_id: str
    version: str
    interpreter: str
    api_key: str | None = None
    auto_started: bool = False

    @classmethod
    def of_this_process(cls, *, host: Host, api_key: str | None, auto_started: bool) -> Self:
        """What this process, listening at `host` (with its real port), is to write."""
        return cls(
            url=host.connectable.url,
            pid=os.getpid(),
            process_start=process_start(os.getpid()) or 0,
            host_name=socket.gethostname(),
            boot_id=boot_id(),
            version=__version__,
            interpreter=sys.executable,
            api_key=api_key,
            auto_started=auto_started,
        )

    def __repr__(self) -> str:
        """Without the key: records end up in messages and logs."""
        return f"Record(url={self.url!r}, pid={self.pid}, version={self.version!r})"

    @property
    def host(self) -> Host:
        """The address, parsed."""
        return Host.parse(self.url)

    @property
    def file_name(self) -> str:
        """The record's name in the folder: by port, or by a short hash of a socket's path."""
        host = self.host
        if host.socket_path is None:
            return f"server-{host.port}.json"
        digest = hashlib.sha256(os.fsencode(host.socket_path)).hexdigest()
        return f"server-unix-{digest[:12]}.json"

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote it still runs, here and now."""
        return (
            self.host_name == socket.gethostname()
            and self.boot_id == boot_id()
            and self.process_start == process_start(self.pid)
        )


# --- the folder -----------------------------------------------------------------------------


def open_folder(folder: Path) -> Path:
    """The folder itself, made if need be: a real folder of ours, closed to everyone else.

    Raises:
        StoreError: it cannot be made, is a link or no folder, or belongs to someone else.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if sys.platform == "win32":
            return folder
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.getuid():
                raise StoreError(
                    f"runtime folder {str(folder)!r} belongs to user {status.st_uid}, not to us;"
                    " name another in OLLAMA_JUPYTER_RUNTIME_DIR"
                )
            if stat.S_IMODE(status.st_mode) != 0o700:
                os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"runtime folder {str(folder)!r} cannot be used: {error.strerror};"
            " name another in OLLAMA_JUPYTER_RUNTIME_DIR"
        ) from error
    return folder


def write_record(folder: Path, record: Record) -> Path:
    """Write the record under its own name and give back its path; readers see all of it or none.

    Raises:
        StoreError: the folder is not ours, or the disk refused.
    """
    path = open_folder(folder) / record.file_name
    partial = folder / f".{record.file_name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW
    try:
        descriptor = os.open(partial, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(record))
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror}") from error
    return path


def read_records(folder: Path) -> list[Record]:
    """The servers of this user that run on this machine, youngest first.

    A record that is damaged, or that no living process stands behind, is removed. A folder that
    does not exist holds none.

    Raises:
        StoreError: the folder exists and is not ours alone.
    """
    if not os.path.lexists(folder):
        return []
    records = []
    for path in sorted(open_folder(folder).glob("server-*.json")):
        record = _read_record(path)
        if record is not None and record.is_alive:
            records.append(record)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return sorted(records, key=lambda record: record.process_start, reverse=True)


def remove_record(folder: Path, record: Record) -> None:
    """Remove the record, unless another server has taken its name meanwhile; never raises."""
    path = folder / record.file_name
    written = _read_record(path)
    if written is None or (written.pid, written.process_start) == (
        record.pid,
        record.process_start,
    ):
        with contextlib.suppress(OSError):
            path.unlink()


def _read_record(path: Path) -> Record | None:
    """The record in a plain file of ours; None for anything else that may lie there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_BLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _RECORD_LIMIT_BYTES:
            return None
        if sys.platform != "win32" and status.st_uid != os.getuid():
            return None
        try:
            return msgspec.json.decode(file.read(_RECORD_LIMIT_BYTES), type=Record)
        except msgspec.DecodeError:
            return None


@contextlib.contextmanager
def start_lock(folder: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Hold the right to start a server; others wait, and then find the one that was started.

    The lock goes with the process that holds it, so none is ever left over.

    Raises:
        StoreError: someone else held it for longer than `timeout_seconds`, or it is a link.
    """
    path = open_folder(folder) / _LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW | _NO_BLOCK, 0o600)
    except OSError as error:
        raise StoreError(f"cannot lock {str(path)!r}: {error.strerror}; remove it") from error
    try:
        deadline = time.monotonic() + timeout_seconds
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"another process has been starting a server for {timeout_seconds:.0f} s"
                    f" (lock {str(path)!r}); see `ollama_jupyter doctor`"
                )
            time.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def _unlock(descriptor: int) -> None:
    """Let go explicitly: a child forked meanwhile may still have the file open."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- processes ------------------------------------------------------------------------------


@functools.cache
def boot_id() -> str:
    """What tells this boot of the machine from another; "" where the system says nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def process_start(pid: int) -> int | None:
    """When a process began (clock ticks since boot on Linux); None when none of that pid runs.

    A zombie runs no more.
    """
    if not sys.platform.startswith("linux"):
        return _process_start_elsewhere(pid)
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in brackets, which may itself hold brackets.
    fields = text.rpartition(b")")[2].split()
    return None if len(fields) < 20 or fields[0] in (b"Z", b"X") else int(fields[19])


def _process_start_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time() * 1000)
    except psutil.Error:
        return None


# --- who listens ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who listens on a TCP port of this machine.

    Attributes:
        uid: the user it belongs to.
        inode: of the socket, by which its process can be found; "" when unknown.
    """

    uid: int
    inode: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether our own user holds the port."""
        return sys.platform != "win32" and self.uid == os.getuid()

    def find_pid(self) -> int | None:
        """The process, looked for among all there are; None when it is another user's."""
        return _holder_pid(f"socket:[{self.inode}]") if self.inode else None

    def __str__(self) -> str:
        pid = self.find_pid()
        if pid is None:
            return f"a process of user {self.uid}"
        return f"{_program(pid) or 'process'} (pid {pid})"


def find_listener(port: int) -> Listener | None:
    """Who listens on that port at a loopback or wildcard address; None when nobody or unknown.

    When several do, a stranger is reported rather than ourselves. Linux only: elsewhere None.
    """
    found: Listener | None = None
    for name in ("tcp", "tcp6"):
        for listener in _listening_sockets(Path("/proc/self/net") / name, port):
            if found is None or not listener.is_ours:
                found = listener
    return found


def _listening_sockets(table: Path, port: int) -> Iterator[Listener]:
    """Who has each listening socket in one of the kernel's tables (man 5 proc)."""
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        address, _, port_hex = fields[1].partition(":")
        if fields[3] == "0A" and int(port_hex, 16) == port and _reaches_loopback(address):
            yield Listener(uid=int(fields[7]), inode=fields[9])


def _reaches_loopback(address_hex: str) -> bool:
    """Whether a socket bound to that address answers on the loopback; words are little-endian."""
    words = [bytes.fromhex(address_hex[i : i + 8])[::-1] for i in range(0, len(address_hex), 8)]
    raw = b"".join(words)
    if raw.startswith(bytes(10) + b"\xff\xff"):
        raw = raw[12:]
    return not any(raw) or (len(raw) == 4 and raw[0] == 127) or raw == bytes(15) + b"\x01"


def _holder_pid(link: str) -> int | None:
    """The process that has the socket open, among those we may look into."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == link:
                        return int(folder.name)
    return None


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""
