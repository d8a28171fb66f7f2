"""Finds the server to talk to, and starts ours when there is none.

    asked for (argument or trait) → OLLAMA_HOST → our record → an Ollama of ours on the default
    port → start one and wait

`find` never starts anything. Three starters at once start one server: whoever gets the start lock
looks again before it starts. An address where a stranger listens is never talked to as if it were
ours, and no key is sent to a port that another user holds.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ollama_jupyter import runtime
from ollama_jupyter.client import calls
from ollama_jupyter.client.launch import START_TIMEOUT_SECONDS, launch
from ollama_jupyter.client.sync import Client
from ollama_jupyter.config import Config, Host
from ollama_jupyter.errors import OllamaError, ServerError, ServerUnreachable
from ollama_jupyter.runtime import Record
from ollama_jupyter.version import __version__

_PROBE_SECONDS: Final = 2.0
# A server of ours whose process lives will answer, however busy the machine is.
_RECORD_PROBE_SECONDS: Final = 10.0
_BANNER: Final = "Ollama is running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server that answered.

    Attributes:
        client: talks to it, with its key.
        record: what it wrote about itself; None for a server that is not ours.
        was_started: whether it was started for this very call.
        warnings: lines a user should see once.
    """

    client: Client
    record: Record | None = None
    was_started: bool = False
    warnings: tuple[str, ...] = ()


# --- finding --------------------------------------------------------------------------------


def find(config: Config, *, host: Host | None = None) -> Connection | None:
    """The server to talk to, or None when there is none; starts nothing.

    Args:
        config: OLLAMA_HOST, the key, the runtime folder.
        host: an address asked for in another way, which then goes before OLLAMA_HOST.

    Raises:
        ServerUnreachable: nothing answers at the address asked for, and we could not serve there.
        StoreError: the runtime folder is not ours.
    """
    asked = host or (config.host if config.is_host_set else None)
    records = _records(config)
    if asked is None:
        return _recorded(records) or _on_default_port(config)
    asked = asked.connectable
    if speaks_ollama(asked):
        return _attach(config, asked, records)
    if not asked.is_loopback or asked.scheme not in ("http", "unix"):
        raise ServerUnreachable(
            f"no Ollama server answers at {asked.url}; start one there, or unset OLLAMA_HOST to"
            " use one on this machine"
        )
    if _stranger(asked) is None:
        return None
    # Our servers move to a free port when a stranger has theirs.
    found = _recorded(tuple(record for record in records if record.auto_started))
    return found and replace(found, warnings=(*found.warnings, _moved(asked, found.client.host)))


def speaks_ollama(host: Host, *, timeout_seconds: float | None = None) -> bool:
    """Whether what answers at an address behaves like an Ollama server; sends no key.

    Args:
        host: the address.
        timeout_seconds: how long each of two requests may take; None for what suits a stranger.
    """
    timeout_seconds = timeout_seconds or _PROBE_SECONDS
    client = Client(
        host, connect_timeout_seconds=timeout_seconds, read_timeout_seconds=timeout_seconds
    )
    try:
        version = client.request(calls.version())
        if isinstance(version, dict) and isinstance(version.get("version"), str):
            return True
    except ServerError:
        pass  # it wants a key, or is no Ollama at all; the next call tells
    except ServerUnreachable:
        return False
    try:
        banner = client.request(calls.root())
    except OllamaError:
        return False
    return isinstance(banner, str) and banner.startswith(_BANNER)


def _records(config: Config) -> tuple[Record, ...]:
    """Records of running servers, those someone started by hand first."""
    found = runtime.read_records(config.runtime_dir)
    return tuple(sorted(found, key=lambda record: record.auto_started))


def _recorded(records: tuple[Record, ...]) -> Connection | None:
    for record in records:
        if not _is_strangers(record.host) and speaks_ollama(
            record.host, timeout_seconds=_RECORD_PROBE_SECONDS
        ):
            return Connection(client=Client(record.host, api_key=record.api_key), record=record)
    return None


def _attach(config: Config, host: Host, records: tuple[Record, ...]) -> Connection:
    """A connection to an address asked for; a server of ours is known by its record."""
    for record in records:
        # By name, the same port may be two servers: the record says which one is ours.
        is_alias = host.name.lower() == "localhost" and record.host.port == host.port
        if (record.url == host.url or is_alias) and not _is_strangers(record.host):
            client = Client(record.host, api_key=record.api_key or config.api_key)
            return Connection(client=client, record=record)
    return Connection(client=Client(host, api_key=config.api_key))


def _on_default_port(config: Config) -> Connection | None:
    """An Ollama of our own user where one is by default; never looked for on a shared machine."""
    if config.shared:
        return None
    listener = runtime.find_listener(config.host.port)
    if listener is None or not listener.is_ours or not speaks_ollama(config.host):
        return None
    return Connection(client=Client(config.host, api_key=config.api_key))


def _is_strangers(host: Host) -> bool:
    """Whether another user holds the port a record names; then it is not what the record means."""
    if host.socket_path is not None:
        return False
    listener = runtime.find_listener(host.port)
    return listener is not None and not listener.is_ours


def _stranger(host: Host) -> str | None:
    """Who listens at an address of this machine, in words; None when nobody does."""
    if host.socket_path is not None:
        return None
    listener = runtime.find_listener(host.port)
    if listener is not None:
        return str(listener)
    if sys.platform != "linux":
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.dial_name, host.port), timeout=_PROBE_SECONDS),
        ):
            return "another program"
    return None


def _moved(wanted: Host, used: Host) -> str:
    return (
        f"{wanted.url} is held by {_stranger(wanted)}, which is no server of ours; ours is at"
        f" {used.url}"
    )


# --- starting -------------------------------------------------------------------------------


def find_or_start(
    config: Config, *, host: Host | None = None, environ: Mapping[str, str] | None = None
) -> Connection:
    """The server to talk to; starts ours when there is none, and waits until it answers.

    Args:
        config: OLLAMA_HOST, the key, the runtime folder.
        host: an address asked for in another way, which then goes before OLLAMA_HOST.
        environ: the environment of a server that is started; None for this process's own.

    Raises:
        ServerUnreachable: another machine was asked for and does not answer, or the server we
            started died; the message holds its last words.
        StoreError: the runtime folder is not ours, or another process hangs in starting one.
    """
    connection = find(config, host=host)
    if connection is not None and not _mismatch(connection.record):
        return connection
    with runtime.start_lock(config.runtime_dir, timeout_seconds=2 * START_TIMEOUT_SECONDS):
        connection = find(config, host=host)
        if connection is not None:
            mismatch = _mismatch(connection.record)
            if not mismatch:
                return connection
            if not _may_replace(connection):
                return replace(connection, warnings=(*connection.warnings, mismatch))
            assert connection.record is not None  # only a record can mismatch
            shutdown(connection.record)
        return _start(config, host or config.host, environ if environ is not None else os.environ)


def _start(config: Config, wanted: Host, environ: Mapping[str, str]) -> Connection:
    warnings: tuple[str, ...] = ()
    target = wanted
    if config.shared and not config.is_host_set and wanted == config.host:
        # Any user of the machine could connect to a port; a socket is closed to them.
        target = Host(scheme="unix", socket_path=config.runtime_dir / "server.sock")
    elif _stranger(wanted) is not None:
        target = replace(wanted, port=0)
    record = launch(config, target, environ)
    if target.port != wanted.port:
        warnings = (_moved(wanted.connectable, record.host),)
    return Connection(
        client=Client(record.host, api_key=record.api_key),
        record=record,
        was_started=True,
        warnings=warnings,
    )


def _mismatch(record: Record | None) -> str:
    """How a server of ours differs from this very package and Python; "" when it does not."""
    if record is None:
        return ""
    if record.version != __version__:
        return (
            f"the server at {record.url} is version {record.version}, this is {__version__};"
            " `ollama_jupyter shutdown` ends it, and the next use starts this version"
        )
    if record.interpreter != sys.executable:
        return (
            f"the server at {record.url} runs in another environment ({record.interpreter});"
            " `ollama_jupyter shutdown` ends it, and the next use starts one in this"
        )
    return ""


def _may_replace(connection: Connection) -> bool:
    """Whether nobody would miss the server: a client started it, and no model is loaded."""
    if connection.record is None or not connection.record.auto_started:
        return False
    try:
        loaded = connection.client.request(calls.ps())
    except OllamaError:
        return False
    return isinstance(loaded, dict) and not loaded.get("models")


# --- ending ---------------------------------------------------------------------------------


def shutdown(record: Record, *, timeout_seconds: float = 15.0) -> None:
    """Ask a server of ours to end, and wait until it has.

    A process is signalled only while it is the one that wrote the record.

    Raises:
        ServerUnreachable: it still runs after `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    if sys.platform == "linux":
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(record.pid)
            try:
                # The pid may have been taken anew until we held it; now it cannot be.
                if record.is_alive:
                    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                    select.select([descriptor], [], [], timeout_seconds)
            finally:
                os.close(descriptor)
    elif record.is_alive:
        os.kill(record.pid, signal.SIGTERM)
        while record.is_alive and time.monotonic() < deadline:
            time.sleep(0.05)
    if record.is_alive:
        raise ServerUnreachable(
            f"the server (pid {record.pid}) did not end within {timeout_seconds:.0f} s"
        )
