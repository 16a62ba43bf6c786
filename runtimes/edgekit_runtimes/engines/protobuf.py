"""Fields of a protocol buffer, read without its library: an ``.onnx`` file is one."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""

_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


class Damaged(ValueError):
    """Not a protocol buffer."""


def extents(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the value of each field of a message begins and ends. Raises Damaged.

    Args:
        data: Holds the message.
        start: Where it begins.
        end: Where it ends.
    """
    at = start
    while at < end:
        key, at = varint(data, at, end)
        wire = key & 7
        if wire == VARINT:
            size = varint(data, at, end)[1] - at
        elif wire == BYTES:
            size, at = varint(data, at, end)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise Damaged(f"wire type {wire}")
        if at + size > end:
            raise Damaged("a field reaches past the end")
        yield key >> 3, wire, at, at + size
        at += size


def varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends. Raises Damaged."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Damaged("a number does not end")
