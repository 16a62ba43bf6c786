"""What a container or a service is allowed: the limits of its control groups, version 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from edgekit_runtimes.doctor.host import Host

_MOUNT = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 60
"""Version 1 writes "no limit" as the largest multiple of the page size."""


def cpu_quota(host: Host) -> float | None:
    """Return the processor time allowed, in cores; ``None`` without a limit."""
    quotas = []
    for folder in _folders(host, ""):
        words = (host.text(f"{folder}/cpu.max") or "max").split()
        if words[0] != "max":
            quotas.append(int(words[0]) / int(words[1]))
    for folder in _folders(host, "cpu"):
        quota, period = (host.number(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit(host: Host) -> int | None:
    """Return the memory allowed in bytes; ``None`` without a limit."""
    return min((limit for limit, _ in _memory(host)), default=None)


def memory_left(host: Host) -> int | None:
    """Return how many bytes are left below the tightest limit; ``None`` without a limit."""
    return min((max(limit - used, 0) for limit, used in _memory(host)), default=None)


def _memory(host: Host) -> Iterator[tuple[int, int]]:
    """Yield limit and use of every group that has a limit."""
    for controller, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        for folder in _folders(host, controller):
            bytes_ = host.number(f"{folder}/{limit}")
            if bytes_ is not None and bytes_ < _NO_LIMIT:
                yield bytes_, _used(host, folder, used)


def _used(host: Host, folder: str, name: str) -> int:
    """Bytes that a group holds, without file pages, which the kernel gives back when they are needed."""
    used = host.number(f"{folder}/{name}") or 0
    for line in (host.text(f"{folder}/memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key in ("inactive_file", "total_inactive_file") and value.isdigit():
            return max(used - int(value), 0)
    return used


def _folders(host: Host, controller: str) -> Iterator[str]:
    """Yield the folders of this process's group and of those around it, the innermost first.

    Args:
        host: The machine.
        controller: Of version 1; empty for version 2.
    """
    for line in (host.text("/proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controller in controllers.split(","):
            mount = f"{_MOUNT}/{controllers}" if controller else _MOUNT
            mount = mount if host.path(mount).is_dir() else f"{_MOUNT}/{controller}"
            inner = PurePosixPath(group.lstrip("/"))
            for part in (inner, *inner.parents):
                yield f"{mount}/{part}" if part.parts else mount
