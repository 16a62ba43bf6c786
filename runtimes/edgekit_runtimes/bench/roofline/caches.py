"""The caches of the processors, as the kernel lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
_HOLDS_DATA = ("Data", "Unified")


@dataclass(frozen=True)
class Cache:
    """One level of cache.

    Attributes:
        level: 1 is the closest to a processor.
        bytes: Size of one.
        shared_by: Processors that share it.
    """

    level: int
    bytes: int
    shared_by: int = 1

    def capacity(self, threads: int) -> int:
        """What this level holds for threads on processors of their own."""
        return self.bytes * -(-threads // self.shared_by)


def read_caches(root: Path = Path("/")) -> tuple[Cache, ...]:
    """Read the sizes below ``/sys``, the closest level first; where processors differ, the largest of each level.

    Returns:
        Nothing where the kernel does not list them.
    """
    found: dict[int, Cache] = {}
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        cache = _read(folder)
        if cache is not None and (cache.level not in found or found[cache.level].bytes < cache.bytes):
            found[cache.level] = cache
    return tuple(found[level] for level in sorted(found))


def _read(folder: Path) -> Cache | None:
    with suppress(OSError, ValueError):
        kind, size, level, shared = (
            (folder / name).read_text(encoding="ascii").strip() for name in ("type", "size", "level", "shared_cpu_list")
        )
        match = re.fullmatch(r"(\d+)([KM]?)", size)
        if kind in _HOLDS_DATA and match and int(match[1]):
            return Cache(int(level), int(match[1]) * _UNITS[match[2]], max(1, _count(shared.split(","))))
    return None


def _count(ranges: Sequence[str]) -> int:
    """How many processors a list such as ``0-3`` or ``0,4`` names."""
    ends = [part.partition("-") for part in ranges if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in ends)
