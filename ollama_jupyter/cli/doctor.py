"""`doctor`: what is installed, what runs, and what is wrong; changes nothing, starts nothing.

Whatever may crash (the engine's native library) is asked in a child process. Each section is a
function from what it measures to rows; a row that reports something wrong is marked with `!`.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from ollama_jupyter import runtime
from ollama_jupyter.cli.connect import read_config
from ollama_jupyter.cli.models import listed
from ollama_jupyter.cli.terminal import inert
from ollama_jupyter.client import calls
from ollama_jupyter.client.daemon import find
from ollama_jupyter.client.launch import LogTail, log_path
from ollama_jupyter.config import Config
from ollama_jupyter.errors import OllamaError
from ollama_jupyter.quantities import human_bytes, human_bytes_binary
from ollama_jupyter.version import __version__

_PACKAGES: Final = ("llama-cpp-python", "llguidance", "tornado", "msgspec", "ipython", "jupyterlab")
_CPU_FLAGS: Final = [
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "asimd",
    "sve",
]
_LOG_LINES: Final = 10
_ENGINE_SECONDS: Final = 60
# Run in a child: loading native code may end the process that does it.
_ENGINE_PROBE: Final = """
import llama_cpp
print(llama_cpp.llama_print_system_info().decode().strip())
print("yes" if llama_cpp.llama_supports_gpu_offload() else "no")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report."""

    name: str
    value: str
    is_wrong: bool = False


def print_report() -> None:
    """Print every section to standard output."""
    config = read_config()
    sections = {
        "Software": software(),
        "Processor": processor(),
        "Engine": engine(),
        "Memory": memory(config),
        "Store": store(config),
        "Settings": settings(config),
        "Server": server(config),
    }
    for title, rows in sections.items():
        click.echo(render(title, rows))
    tail = LogTail(path=log_path(config)).lines(_LOG_LINES)
    click.echo(f"Last lines of {log_path(config)}")
    for line in tail or ["(none)"]:
        click.echo(f"    {inert(line)}")


def render(title: str, rows: Iterable[Row]) -> str:
    """A section: its title, and its rows aligned below it."""
    lines = [title]
    for row in rows:
        mark = "!" if row.is_wrong else " "
        lines.append(f"  {mark} {row.name:<18}{inert(row.value)}".rstrip())
    return "\n".join(lines) + "\n"


def software() -> list[Row]:
    """Versions of this package, of Python and of what the package stands on."""
    rows = [
        Row(name="ollama_jupyter", value=__version__),
        Row(name="python", value=f"{platform.python_version()} ({sys.executable})"),
        Row(name="system", value=platform.platform()),
    ]
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            is_needed = package != "jupyterlab"
            rows.append(Row(name=package, value="not installed", is_wrong=is_needed))
        else:
            rows.append(Row(name=package, value=version))
    return rows


def processor() -> list[Row]:
    """Cores this process may use, and the instructions that matter to the engine."""
    from ollama_jupyter.scheduler.devices import Devices

    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        text = ""
    fields = {
        name.strip(): value.strip()
        for name, colon, value in (line.partition(":") for line in text.splitlines())
        if colon
    }
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    usable = [flag for flag in _CPU_FLAGS if flag in flags]
    return [
        Row(name="model", value=fields.get("model name") or platform.processor() or "unknown"),
        Row(name="cores", value=f"{Devices().cores()} of {os.cpu_count()}"),
        Row(name="instructions", value=" ".join(usable) or "unknown"),
        Row(name="GPUs", value=str(Devices().gpus())),
    ]


def engine() -> list[Row]:
    """How llama.cpp was built, as its library says in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ENGINE_PROBE],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_ENGINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [Row(name="build", value=f"no answer in {_ENGINE_SECONDS} s", is_wrong=True)]
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode != 0 or len(lines) < 2:
        errors = done.stderr.decode("utf-8", "replace").strip().splitlines()
        last = errors[-1] if errors else f"exit code {done.returncode}"
        return [Row(name="build", value=f"cannot be loaded: {last}", is_wrong=True)]
    return [Row(name="build", value=lines[-2]), Row(name="uses GPUs", value=lines[-1])]


def memory(config: Config) -> list[Row]:
    """What models may use: the tightest limit on the way up counts."""
    from ollama_jupyter.scheduler.devices import Devices

    measured = Devices(limit_bytes=config.memory_limit_bytes).memory()
    available = human_bytes_binary(measured.available_bytes)
    return [
        Row(name="total", value=human_bytes_binary(measured.total_bytes)),
        Row(name="available", value=available),
    ]


def store(config: Config) -> list[Row]:
    """Where models lie, and how much room is left there."""
    from ollama_jupyter.store.layout import Layout

    root = config.models
    rows = [Row(name="folder", value=str(root))]
    if not root.is_dir():
        return [*rows, Row(name="state", value="not made yet; the server makes it")]
    if not os.access(root, os.W_OK | os.X_OK):
        rows.append(Row(name="state", value="cannot be written", is_wrong=True))
    try:
        sizes = [entry.stat().st_size for entry in Layout(root).blobs.iterdir()]
    except OSError:
        sizes = []
    rows.append(Row(name="blobs", value=f"{len(sizes)}, {human_bytes(sum(sizes))}"))
    free_bytes = shutil.disk_usage(root).free
    rows.append(Row(name="free", value=human_bytes(free_bytes), is_wrong=free_bytes < 10**9))
    return rows


def settings(config: Config) -> list[Row]:
    """The settings that decide where everything is, and those that make no sense."""
    host = config.host.url if config.is_host_set else f"not set ({config.host.url})"
    return [
        Row(name="OLLAMA_HOST", value=host),
        Row(name="API key", value="set" if config.api_key else "not set"),
        Row(name="shared machine", value="yes" if config.shared else "no"),
        Row(name="runtime folder", value=str(config.runtime_dir)),
        *(Row(name="warning", value=warning, is_wrong=True) for warning in config.warnings),
    ]


def server(config: Config) -> list[Row]:
    """The server that commands would use."""
    try:
        connection = find(config)
        if connection is None:
            return _no_server(config)
        version = connection.client.request(calls.version())
        loaded = listed(connection.client.request(calls.ps()))
    except OllamaError as error:
        return [Row(name="state", value=str(error), is_wrong=True)]
    number = version.get("version") if isinstance(version, dict) else None
    names = ", ".join(str(model.get("name")) for model in loaded)
    rows = [
        Row(name="address", value=connection.client.host.url),
        Row(name="version", value=str(number or "unknown")),
        Row(name="loaded", value=names or "no model"),
    ]
    record = connection.record
    if record is None:
        rows.append(Row(name="kind", value="not started by this package"))
    else:
        how = "by a client" if record.auto_started else "by hand"
        rows.append(Row(name="process", value=f"{record.pid}, started {how}"))
        rows.append(
            Row(
                name="environment",
                value=record.interpreter,
                is_wrong=record.interpreter != sys.executable,
            )
        )
    warnings = [Row(name="warning", value=text, is_wrong=True) for text in connection.warnings]
    return rows + warnings


def _no_server(config: Config) -> list[Row]:
    rows = [Row(name="state", value="not running; the next use starts one")]
    if config.host.socket_path is None:
        holder = runtime.find_listener(config.host.port)
        if holder is not None:
            text = f"{config.host.port} is held by {holder}"
            rows.append(Row(name="port", value=text, is_wrong=True))
    return rows
