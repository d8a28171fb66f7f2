"""Every environment variable this project reads, each once and here.

`Config.from_environment` turns a mapping into checked values; nothing else in the package looks
at the environment for a setting. A text that makes no sense leaves the default in place and adds
a line to `Config.warnings`, because a client must not fail over a setting only the server reads.

    variable                      meaning (default)
    OLLAMA_HOST                   address to serve on or talk to; `unix:/path` (http://127.0.0.1:11434)
    OLLAMA_MODELS                 folder of the store (~/.ollama/models)
    OLLAMA_KEEP_ALIVE             how long an idle model stays loaded (5m)
    OLLAMA_LOAD_TIMEOUT           how long a load may stall; 0 or less: for ever (5m)
    OLLAMA_MAX_LOADED_MODELS      models loaded at once; 0: automatic (0)
    OLLAMA_NUM_PARALLEL           requests one model serves at once; 0: from free memory (0)
    OLLAMA_MAX_QUEUE              requests that may wait (512)
    OLLAMA_CONTEXT_LENGTH         num_ctx where nothing else sets it; 0: automatic (0)
    OLLAMA_FLASH_ATTENTION        force it on or off (automatic)
    OLLAMA_KV_CACHE_TYPE          type of K and V cells ("": f16)
    OLLAMA_GO_TEMPLATE            always or never a model's Go template (automatic)
    OLLAMA_NOPRUNE                keep blobs nobody uses (false)
    OLLAMA_NOHISTORY              keep no history of the interactive prompt (false)
    OLLAMA_ORIGINS                browser origins allowed besides this machine's own ("")
    OLLAMA_ALLOWED_HOSTS          names a Host header may carry besides our addresses ("")
    OLLAMA_API_KEY                the key that requests must carry, and that clients send (none)
    OLLAMA_INSECURE_NO_KEY        serve beyond this machine without a key (false)
    OLLAMA_SHARED                 others use this machine, so require a key (true under JupyterHub)
    OLLAMA_OFFERED_MODELS         list the models that installed packages bring (true)
    OLLAMA_DEBUG                  log level: 1 debug, 2 trace, -1 warnings, -2 errors (info)
    OLLAMA_JUPYTER_RUNTIME_DIR    folder of sockets and of the record of a running server
    OLLAMA_JUPYTER_MEMORY_LIMIT   lowers the measured memory, like 8GiB (none)
    OLLAMA_JUPYTER_PREFIX_SHARING evaluate a prompt prefix that requests share only once (true)
    OLLAMA_JUPYTER_IDLE_EXIT      an auto-started server ends after this long unused; 0: never (30m)
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import quote

from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import (
    FOREVER_NS,
    MINUTE_NS,
    duration_from_setting,
    parse_bool,
    parse_byte_size,
    parse_int,
)

DEFAULT_PORT: Final = 11434
LogLevel = Literal["trace", "debug", "info", "warn", "error"]

# A page served by this machine itself. Files, extensions and desktop shells are other programs'
# content: they are let in only by name.
_LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")
_EXTENSION_SCHEMES: Final = (
    "chrome-extension://",
    "moz-extension://",
    "safari-extension://",
    "ms-browser-extension://",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where a server listens.

    Attributes:
        scheme: "http" or another the variable named; "unix" for a socket.
        name: host name or address without brackets; "" means every interface.
        port: TCP port; 0 lets the system choose one.
        path: prefix of every request path, without slashes around it; "" for none.
        socket_path: the Unix socket, when that is where; name and port then mean nothing.
    """

    scheme: str = "http"
    name: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str = ""
    socket_path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address an OLLAMA_HOST text means; never fails, a bad port becomes the default."""
        text = text.strip()  # blanks may be left inside quotes
        if text.startswith("unix:"):
            return cls(scheme="unix", socket_path=Path("/" + text[5:].lstrip("/")))
        scheme, separator, rest = text.partition("://")
        default_port = DEFAULT_PORT
        if not separator:
            scheme, rest = "http", text
            if text == "ollama.com":
                scheme, rest = "https", "ollama.com:443"
        else:
            default_port = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
        authority, _, path = rest.partition("/")
        name, port_text = _split_authority(authority)
        port = parse_int(port_text)
        if port is None or not 0 <= port <= 65535:
            port = default_port
        return cls(scheme=scheme, name=name, port=port, path=path.strip("/"))

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        if self.socket_path is not None:
            return f"unix:{self.socket_path}"
        name = f"[{self.name}]" if ":" in self.name else self.name
        prefix = f"/{quote(self.path, safe='/:@!$&()*+,;=~')}" if self.path else ""
        return f"{self.scheme}://{name}:{self.port}{prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing outside this machine can reach it."""
        if self.socket_path is not None or self.name.lower() == "localhost":
            return True
        address = _address(self.name)
        return address is not None and address.is_loopback

    @property
    def connectable(self) -> "Host":
        """The same with an unspecified address replaced by the loopback one, for a client."""
        address = _address(self.name)
        if address is None or not address.is_unspecified:
            return self
        return replace(self, name="127.0.0.1" if address.version == 4 else "::1")

    @property
    def dial_name(self) -> str:
        """What a client connects to: as `connectable`, and the loopback when the name is empty."""
        return self.connectable.name or "127.0.0.1"


def _split_authority(authority: str) -> tuple[str, str]:
    """Host and port texts (Go net.SplitHostPort, and what the reference does when it fails)."""
    if authority.startswith("["):
        inside, bracket, after = authority[1:].partition("]")
        if bracket and after.startswith(":") and ":" not in after[1:] and "[" not in inside:
            return inside, after[1:]
    elif authority.count(":") == 1 and "[" not in authority and "]" not in authority:
        name, _, port = authority.partition(":")
        return name, port
    address = _address(authority.strip("[]"))
    if address is not None:
        return str(address), ""
    return authority or "127.0.0.1", ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one process; the module's table says what each means.

    Attributes:
        user_dir: `~/.ollama`, where keys, history, logs and sessions lie.
        flash_attention: None when the runner is to decide.
        go_template: None when the model's own templates decide.
        api_key: None when no key is set.
        memory_limit_bytes: None when what was measured stands.
        warnings: one line for each variable whose text made no sense.
    """

    host: Host
    is_host_set: bool
    user_dir: Path
    models: Path
    runtime_dir: Path
    keep_alive_ns: int
    load_timeout_ns: int
    idle_exit_ns: int
    max_loaded_models: int
    num_parallel: int
    max_queue: int
    context_length: int
    flash_attention: bool | None
    kv_cache_type: str
    go_template: bool | None
    noprune: bool
    nohistory: bool
    offered_models: bool
    prefix_sharing: bool
    shared: bool
    insecure_no_key: bool
    api_key: str | None
    origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    log_level: LogLevel
    memory_limit_bytes: int | None
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings that a mapping of environment variables spells."""
        read = _Reader(environ)
        user_dir = _home(environ) / ".ollama"
        models = read.text("OLLAMA_MODELS")
        is_hub = any(name.startswith("JUPYTERHUB_") for name in environ)
        return cls(
            host=Host.parse(read.text("OLLAMA_HOST")),
            is_host_set=bool(read.text("OLLAMA_HOST")),
            user_dir=user_dir,
            models=_expand(models, environ) if models else user_dir / "models",
            runtime_dir=_runtime_dir(environ),
            keep_alive_ns=keep_alive_setting(read.text("OLLAMA_KEEP_ALIVE")),
            load_timeout_ns=load_timeout_setting(read.text("OLLAMA_LOAD_TIMEOUT")),
            idle_exit_ns=read.duration("OLLAMA_JUPYTER_IDLE_EXIT", 30 * MINUTE_NS),
            max_loaded_models=read.count("OLLAMA_MAX_LOADED_MODELS", 0),
            num_parallel=read.count("OLLAMA_NUM_PARALLEL", 0),
            max_queue=read.count("OLLAMA_MAX_QUEUE", 512),
            context_length=read.count("OLLAMA_CONTEXT_LENGTH", 0),
            flash_attention=bool_setting(read.text("OLLAMA_FLASH_ATTENTION")),
            kv_cache_type=read.text("OLLAMA_KV_CACHE_TYPE").lower(),
            go_template=bool_setting(read.text("OLLAMA_GO_TEMPLATE")),
            noprune=bool_setting(read.text("OLLAMA_NOPRUNE")) or False,
            nohistory=bool_setting(read.text("OLLAMA_NOHISTORY")) or False,
            offered_models=bool_setting(read.text("OLLAMA_OFFERED_MODELS")) is not False,
            prefix_sharing=bool_setting(read.text("OLLAMA_JUPYTER_PREFIX_SHARING")) is not False,
            shared=read.flag("OLLAMA_SHARED", default=is_hub),
            insecure_no_key=bool_setting(read.text("OLLAMA_INSECURE_NO_KEY")) or False,
            api_key=read.text("OLLAMA_API_KEY") or None,
            origins=allowed_origins(read.text("OLLAMA_ORIGINS")),
            allowed_hosts=_entries(read.text("OLLAMA_ALLOWED_HOSTS").lower()),
            log_level=log_level_setting(read.text("OLLAMA_DEBUG")),
            memory_limit_bytes=read.size("OLLAMA_JUPYTER_MEMORY_LIMIT"),
            warnings=tuple(read.warnings),
        )


class _Reader:
    """Reads variables of one mapping and notes which of them made no sense."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        return strip_setting(self._environ.get(name, ""))

    def flag(self, name: str, *, default: bool) -> bool:
        value = bool_setting(self.text(name))
        return default if value is None else value

    def count(self, name: str, default: int) -> int:
        text = self.text(name)
        value = uint_setting(text, default)
        if text and value == default and text.lstrip("0") != str(default).lstrip("0"):
            self._warn(name, text, str(default))
        return value

    def duration(self, name: str, default_ns: int) -> int:
        text = self.text(name)
        value = duration_from_setting(text)
        if value is None:
            if text:
                self._warn(name, text, f"{default_ns // MINUTE_NS}m")
            return default_ns
        return max(value, 0)

    def size(self, name: str) -> int | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return parse_byte_size(text)
        except BadRequest:
            self._warn(name, text, "no limit")
            return None

    def _warn(self, name: str, text: str, default: str) -> None:
        self.warnings.append(f"{name}={text!r} makes no sense, using {default}")


def strip_setting(text: str) -> str:
    """A variable's text without blanks around it, then without quotes around that."""
    return text.strip().strip("\"'")


def bool_setting(text: str) -> bool | None:
    """The truth of a stripped text: what spells no truth value is true; None when empty."""
    if not text:
        return None
    return parse_bool(text) is not False


def uint_setting(text: str, default: int) -> int:
    """The unsigned decimal number of a stripped text, else the default."""
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdigit()) or len(digits) > 20:
        return default
    value = int(digits or "0")
    return value if value < 2**64 else default


def keep_alive_setting(text: str) -> int:
    """Nanoseconds of OLLAMA_KEEP_ALIVE: negative means forever, junk five minutes."""
    ns = duration_from_setting(text)
    if ns is None:
        return 5 * MINUTE_NS
    return FOREVER_NS if ns < 0 else ns


def load_timeout_setting(text: str) -> int:
    """Nanoseconds of OLLAMA_LOAD_TIMEOUT: 0 or less means forever, junk five minutes."""
    ns = duration_from_setting(text)
    if ns is None:
        return 5 * MINUTE_NS
    return FOREVER_NS if ns <= 0 else ns


def log_level_setting(text: str) -> LogLevel:
    """The level OLLAMA_DEBUG asks for."""
    if parse_bool(text):
        return "debug"
    steps = parse_int(text) or 0
    if steps >= 2:
        return "trace"
    if steps <= -2:
        return "error"
    return "warn" if steps == -1 else "info"


def allowed_origins(text: str) -> tuple[str, ...]:
    """The origins OLLAMA_ORIGINS names, then those of pages this machine itself serves.

    The reference also lets in `file://*` and the pages of desktop shells. Any downloaded file or
    installed extension could then drive the server, so here they must be named.
    """
    patterns = list(_entries(text))
    for host in _LOCAL_HOSTS:
        patterns += [f"http://{host}", f"https://{host}", f"http://{host}:*", f"https://{host}:*"]
    return tuple(patterns)


def check_origins(origins: tuple[str, ...]) -> None:
    """Refuse origin patterns that could never match or match too much; a server does so at start.

    Raises:
        BadRequest: an entry has two wildcards, or none and no scheme that browsers send.
    """
    for origin in origins:
        is_known = origin.startswith(("http://", "https://", *_EXTENSION_SCHEMES))
        if origin.count("*") > 1 or not (is_known or "*" in origin):
            raise BadRequest(
                f"OLLAMA_ORIGINS: {origin!r} is no origin; it starts with http://, https:// or a"
                " browser extension's scheme, or holds one *"
            )


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("USERPROFILE" if os.name == "nt" else "HOME")
    return Path(home) if home else Path.home()


def _expand(text: str, environ: Mapping[str, str]) -> Path:
    """A folder from a setting; a shell leaves `~` alone inside quotes."""
    if text == "~" or text.startswith("~/"):
        return _home(environ) / text[2:]
    return Path(text)


def _runtime_dir(environ: Mapping[str, str]) -> Path:
    """A folder for this user's sockets, the same for every process of the user.

    It must not depend on Jupyter's variables, and short paths matter: a Unix socket's path may
    have 107 bytes.
    """
    chosen = strip_setting(environ.get("OLLAMA_JUPYTER_RUNTIME_DIR", ""))
    if chosen:
        return _expand(chosen, environ)
    session = environ.get("XDG_RUNTIME_DIR", "")
    if session:
        return Path(session) / "ollama_jupyter"
    temporary = environ.get("TMPDIR") or environ.get("TEMP") or "/tmp"
    user = str(os.getuid()) if hasattr(os, "getuid") else environ.get("USERNAME", "user")
    return Path(temporary) / f"ollama_jupyter-{user}"
