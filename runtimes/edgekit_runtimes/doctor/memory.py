"""Memory and the disk space of the folder for temporary files."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass

from edgekit_runtimes.doctor.cgroup import memory_left, memory_limit
from edgekit_runtimes.doctor.host import Host, Problem

LOW_MEMORY = 200 << 20
"""Bytes; an engine with OpenCV takes about 100 MB before it has opened a model."""
LOW_DISK = 200 << 20


@dataclass(frozen=True)
class Memory:
    """Memory and temporary disk space, all in bytes.

    Attributes:
        total: Of the machine.
        available: Without swapping, inside the limit of the container.
        swap_total: Swap space.
        swap_free: Unused swap space.
        limit: What the container may use; ``None`` without a limit.
        temp_folder: Folder for temporary files.
        temp_free: Free space there.
    """

    total: int
    available: int
    swap_total: int
    swap_free: int
    limit: int | None
    temp_folder: str
    temp_free: int


def read_memory(host: Host) -> Memory:
    """Read ``/proc/meminfo``, the limits of the control groups and the space of the temporary folder."""
    text = host.text("/proc/meminfo") or ""
    found = {key: int(kilobytes) << 10 for key, kilobytes in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    left = memory_left(host)
    available = found.get("MemAvailable", found.get("MemFree", 0))
    folder = tempfile.gettempdir()
    return Memory(
        total=found.get("MemTotal", 0),
        available=available if left is None else min(available, left),
        swap_total=found.get("SwapTotal", 0),
        swap_free=found.get("SwapFree", 0),
        limit=memory_limit(host),
        temp_folder=folder,
        temp_free=shutil.disk_usage(folder).free,
    )


def memory_problems(memory: Memory) -> list[Problem]:
    """Name what is short."""
    problems = []
    if memory.total and memory.available < LOW_MEMORY:
        problems.append(
            Problem(
                "warning",
                f"{memory.available / 1e6:.0f} MB of memory are available",
                "an engine and a model may be killed by the system when they are opened",
                "close other programs (ps aux --sort=-rss | head), or add swap: sudo fallocate -l 1G /swapfile && "
                "sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile",
            )
        )
    if memory.temp_free < LOW_DISK:
        problems.append(
            Problem(
                "warning",
                f"{memory.temp_free / 1e6:.0f} MB of disk are free in {memory.temp_folder}",
                "results and recordings may not be written whole",
                f"remove files (du -xh {memory.temp_folder} | sort -h | tail), or export TMPDIR=FOLDER elsewhere",
            )
        )
    return problems
