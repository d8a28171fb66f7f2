"""Memory and cores this process may use: the cgroup's where there is one, else the machine's.

A container sees the whole machine in /proc/meminfo and is killed at its own limit, so every limit
on the way up from our cgroup counts (cgroup-v2.rst "memory.max", "cpu.max"; cgroup-v1/memory.rst).
Pages of files count as free: the kernel gives them back on demand.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from ollama_jupyter.scheduler.placement import Memory

# What version 1 says for "no limit" is the largest page-aligned int64.
_NO_LIMIT_BYTES: Final = 1 << 60


class Devices:
    """Measures on demand; every call reads the kernel's files again."""

    def __init__(self, *, limit_bytes: int | None = None, root: Path = Path("/")) -> None:
        """Measure this machine.

        Args:
            limit_bytes: lowers the total; None leaves it.
            root: where /proc and /sys lie.
        """
        self._limit_bytes = limit_bytes
        self._root = root

    def memory(self) -> Memory:
        """Bytes free and in all, the tightest limit counting."""
        host = psutil.virtual_memory()
        total_bytes, available_bytes = host.total, host.available
        for limit_bytes, free_bytes in self._memory_limits():
            total_bytes = min(total_bytes, limit_bytes)
            available_bytes = min(available_bytes, free_bytes)
        if self._limit_bytes is not None:
            total_bytes = min(total_bytes, self._limit_bytes)
        return Memory(
            available_bytes=max(min(available_bytes, total_bytes), 0), total_bytes=total_bytes
        )

    def cores(self) -> int:
        """Processor cores that may be used at once, at least one."""
        cores = float(_affinity())
        for folder in self._folders("cpu"):
            with suppress(OSError, ValueError, ZeroDivisionError):
                cores = min(cores, _quota(folder))
        return max(int(cores), 1)

    def gpus(self) -> int:
        """GPUs whose driver lists them (NVIDIA on Linux); 0 where none does."""
        try:
            return len(list((self._root / "proc/driver/nvidia/gpus").iterdir()))
        except OSError:
            return 0

    def _memory_limits(self) -> list[tuple[int, int]]:
        """Limit and free bytes of each cgroup on the way up that has a limit."""
        limits = []
        for folder in self._folders("memory"):
            with suppress(OSError, ValueError, KeyError):
                limit_bytes, used_bytes = _usage(folder)
                if limit_bytes < _NO_LIMIT_BYTES:
                    free_bytes = limit_bytes - used_bytes + _file_bytes(folder)
                    limits.append((limit_bytes, free_bytes))
        return limits

    def _folders(self, controller: str) -> list[Path]:
        """Folders of our cgroup and of those above it, for one controller."""
        try:
            lines = (self._root / "proc/self/cgroup").read_text().splitlines()
        except OSError:
            return []
        base = self._root / "sys/fs/cgroup"
        folders: list[Path] = []
        for line in lines:
            _, _, rest = line.partition(":")
            controllers, colon, path = rest.partition(":")
            if not colon:
                continue
            if controllers and controller not in controllers.split(","):
                continue
            top = base / controllers if controllers else base
            if controllers and not top.exists():
                top = base / controller
            here = top / path.strip("/")
            while here != top:
                folders.append(here)
                here = here.parent
            # Inside a container the top is our own cgroup, whatever the path says.
            folders.append(top)
        return folders


def _usage(folder: Path) -> tuple[int, int]:
    """Limit and use of a cgroup of either version; no limit reads as a huge one."""
    new = folder / "memory.max"
    if new.exists():
        text = new.read_text().strip()
        limit_bytes = _NO_LIMIT_BYTES if text == "max" else int(text)
        return limit_bytes, int((folder / "memory.current").read_text())
    limit_bytes = int((folder / "memory.limit_in_bytes").read_text())
    return limit_bytes, int((folder / "memory.usage_in_bytes").read_text())


def _file_bytes(folder: Path) -> int:
    """Memory of a cgroup that holds pages of files."""
    figures = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    prefix = "total_" if "total_inactive_file" in figures else ""
    return int(figures[f"{prefix}inactive_file"]) + int(figures[f"{prefix}active_file"])


def _quota(folder: Path) -> float:
    """Cores a cgroup of either version grants; raises ValueError for no limit."""
    new = folder / "cpu.max"
    if new.exists():
        quota, period = new.read_text().split()
        return int(quota) / int(period)
    quota_us = int((folder / "cpu.cfs_quota_us").read_text())
    if quota_us <= 0:
        raise ValueError("no quota")
    return quota_us / int((folder / "cpu.cfs_period_us").read_text())


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells
        return os.cpu_count() or 1
