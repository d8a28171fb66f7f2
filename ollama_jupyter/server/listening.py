"""Where a server listens, and whether it may: sockets, the key it needs, the holder of a port."""

import errno
import os
import secrets
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final

from ollama_jupyter import runtime
from ollama_jupyter.config import Config, Host
from ollama_jupyter.errors import OllamaError

_KEY_BYTES: Final = 32
_BACKLOG: Final = 128


class CannotListen(OllamaError):
    """The address is taken, is none of this machine's, or would be open to strangers."""


def required_key(config: Config) -> str | None:
    """The key that requests must carry: the one set, or a new one on a machine others use.

    Raises:
        CannotListen: other machines could reach the server, and no key was set.
    """
    if config.api_key is not None:
        return config.api_key
    if not config.host.is_loopback and not config.insecure_no_key:
        raise CannotListen(
            f"OLLAMA_HOST={config.host.url} lets other machines reach this server, so requests"
            " must carry a key: set OLLAMA_API_KEY, or OLLAMA_INSECURE_NO_KEY=1 to let anyone in"
        )
    # A socket's folder already keeps the other users of the machine out.
    if config.shared and config.host.socket_path is None:
        return secrets.token_urlsafe(_KEY_BYTES)
    return None


def bind(host: Host) -> tuple[list[socket.socket], Host]:
    """Listening sockets, and the address with its real port under which clients reach them.

    Raises:
        CannotListen: the address cannot be had; the message names who holds it, when known.
    """
    if host.socket_path is not None:
        return [_bind_unix(host.socket_path)], host
    try:
        sockets = _bind_tcp(host)
    except (OSError, UnicodeError) as error:
        raise CannotListen(_reason(host, error)) from error
    port = int(sockets[0].getsockname()[1])
    return sockets, replace(host, name=host.dial_name, port=port)


def _bind_tcp(host: Host) -> list[socket.socket]:
    """A socket for each address of a name, all on one port."""
    found = socket.getaddrinfo(
        host.name or None, host.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    port = host.port
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            made = _listening_socket(family, (address[0], port, *address[2:]))
            if made is not None:
                sockets.append(made)
                port = port or made.getsockname()[1]
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "no address of it can be listened on")
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _listening_socket(
    family: socket.AddressFamily, address: tuple[str | int, ...]
) -> socket.socket | None:
    """A socket that listens there; None where the machine has no addresses of the family."""
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        made.setblocking(False)
        if os.name != "nt":  # there it would let two servers have one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return made


def _reason(host: Host, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        holder = runtime.find_listener(host.port)
        by = f" by {holder}" if holder is not None else ""
        return (
            f"cannot listen on {host.url}: the port is taken{by};"
            " end that, or set OLLAMA_HOST to another address"
        )
    text = getattr(error, "strerror", None) or str(error)
    return f"cannot listen on {host.url}: {text}; set OLLAMA_HOST to an address of this machine"


def _bind_unix(path: Path) -> socket.socket:
    """A socket that only this user may connect to; a dead one in its place is replaced."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_answered(path):
            raise CannotListen(f"cannot listen on unix:{path}: another server listens there")
        if path.is_socket():
            path.unlink()
        made.setblocking(False)
        # A chmod would come too late: the file is there as soon as bind returns.
        mask = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(mask)
        made.listen(_BACKLOG)
    except (OSError, CannotListen) as error:
        made.close()
        if isinstance(error, CannotListen):
            raise
        raise CannotListen(f"cannot listen on unix:{path}: {error}") from error
    return made


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
