"""Memory that a process can still take."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import psutil

from splatlearn.core.errors import InputError

CGROUP = Path("/sys/fs/cgroup")
UNITS = ("bytes", "kB", "MB", "GB", "TB")
FACTORS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}
"""Factors of units in which sizes are given, in small letters."""


def available_memory() -> int:
    """Return the bytes that can be had without swapping, within the limit of a container where there is one."""
    free = int(psutil.virtual_memory().available)
    # Version 2 of control groups, then version 1.
    for limit, used, parts, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            left = int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())
        except (OSError, ValueError):  # no such group, or "max"
            continue
        # Files that were read count as used until somebody needs their memory.
        free = min(free, max(0, left + _entry(CGROUP / parts, cached)))
    return free


def peak_memory() -> int:
    """Return the largest number of bytes of memory that this process has had."""
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)  # pyright: ignore[reportAttributeAccessIssue]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Everywhere but on macOS in units of 1024 bytes.
    return peak if sys.platform == "darwin" else 1024 * peak


def _entry(table: Path, name: str) -> int:
    """The number of a name in a table of names and numbers, 0 without it."""
    try:
        return next((int(number) for key, number in map(str.split, table.read_text().splitlines()) if key == name), 0)
    except (OSError, ValueError):
        return 0


def return_freed_memory() -> None:
    """Give pages that the C library's allocator holds free back to the system, where it can do so (glibc)."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(ctypes.c_size_t(0))


def shown_bytes(count: float) -> str:
    """Return a number of bytes for people, as in "5.2 GB"."""
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {UNITS[-1]}"


def bytes_in(size: int | str, name: str = "budget") -> int:
    """Return the number of bytes of a size such as 2000000, "2MB" or "1.5 kB".

    `name`: of the argument, for the InputError that another text raises, and a size below one byte.
    """
    if isinstance(size, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", size)
        if found is None or found[2].lower() not in FACTORS:
            raise InputError(f"{name}: expected bytes, such as 2000000, 2MB or 500kB, got {size!r}")
        size = round(float(found[1]) * FACTORS[found[2].lower()])
    if size < 1:
        raise InputError(f"{name}: expected at least one byte, got {size}")
    return size
