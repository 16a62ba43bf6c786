"""JPEG pictures of a stream: cut out of it, and decoded."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

START, END = b"\xff\xd8\xff", b"\xff\xd9"
MAX_PART = 32 << 20
"""Largest JPEG accepted in a stream, in bytes."""

_MAX_PIXELS = 1 << 26
_START_MARKER, _END_MARKER = 0xD8, 0xD9
_WITHOUT_LENGTH = frozenset((0x00, 0x01, 0xFF, *range(0xD0, 0xD8)))


def decoded(data: bytes) -> NDArray[np.uint8] | None:
    """Decode to ``(height, width, 3)`` uint8, RGB; ``None`` where it is damaged or has more than 64 million pixels."""
    from edgekit.image_headers import HeaderError, read_header

    try:
        header = read_header(data)
    except HeaderError:
        return None
    if header.kind != "JPEG" or not 0 < header.width * header.height <= _MAX_PIXELS:
        return None
    import cv2

    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if picture is None:
        return None
    rgb: NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)
    return rgb


class Splitter:
    """Cuts a stream of bytes into JPEGs.

    A part ends where its ``Content-Length`` says, at the next boundary, or, in a stream without boundaries, at the
    JPEG's end marker. What is no whole JPEG is skipped.

    Args:
        boundary: What stands between parts, with its leading dashes; ``None`` for JPEGs one after the other.
        limit: Largest part in bytes; a larger one is skipped.

    Attributes:
        skipped: Parts that were no whole JPEG.
    """

    def __init__(self, boundary: bytes | None = None, limit: int = MAX_PART) -> None:
        self.skipped = 0
        self._boundary = boundary
        self._limit = limit
        self._buffer = bytearray()
        self._seen = 0  # how much of the buffer was already searched for an end

    def feed(self, data: bytes) -> list[bytes]:
        """Take some bytes and return the JPEGs that are complete now."""
        self._buffer += data
        cut = self._cut_bare if self._boundary is None else self._cut_part
        found = []
        while (part := cut()) is not None:
            if part:
                found.append(part)
        if len(self._buffer) > self._limit:
            self._forget()
        return found

    def _forget(self) -> None:
        """Drop a part that has grown too large, but not the start of what may follow it."""
        keep = 256
        self.skipped += 1
        del self._buffer[:-keep]
        self._seen = 0

    def _cut_part(self) -> bytes | None:
        """Cut the part before the next boundary: empty where it is no JPEG, ``None`` where it is not complete."""
        boundary = self._boundary or b""
        at = self._buffer.find(boundary, max(0, self._seen - len(boundary)))
        if at < 0:
            return self._cut_by_length()
        part = bytes(self._buffer[:at])
        del self._buffer[: at + len(boundary)]
        self._seen = 0
        return self._judged(part)

    def _cut_by_length(self) -> bytes | None:
        """Give a part as soon as it is whole: the next boundary comes only with the next picture."""
        self._seen = len(self._buffer)
        head = self._buffer.find(b"\r\n\r\n", 0, 4096)
        if head < 0:
            return None
        length = re.search(rb"content-length:\s*(\d{1,9})\s*\r\n", self._buffer[: head + 2], re.IGNORECASE)
        if length is None or len(self._buffer) < head + 4 + int(length[1]):
            return None
        part = bytes(self._buffer[: head + 4 + int(length[1])])
        if not part.endswith(END):
            return None  # a wrong length: the boundary decides
        del self._buffer[: len(part)]
        self._seen = 0
        return self._judged(part)

    def _judged(self, part: bytes) -> bytes:
        start, end = part.find(START), part.rfind(END)
        whole = part[start : end + 2] if 0 <= start < end else b""
        if not whole and part.strip(b"\r\n-"):
            self.skipped += 1
        return whole

    def _cut_bare(self) -> bytes | None:
        start = self._buffer.find(START)
        if start < 0:
            del self._buffer[:-2]
            return None
        if start:
            del self._buffer[:start]
            self._seen = 0
        at, whole = jpeg_end(self._buffer, self._seen)
        self._seen = 0 if whole is not None else at
        if whole is None:
            return None
        part = bytes(self._buffer[:at]) if whole else b""
        self.skipped += not whole
        del self._buffer[:at]
        return part


def jpeg_end(data: bytes | bytearray, scan: int = 0) -> tuple[int, bool | None]:
    """Find the end of the JPEG at the start of the data, going by its segments: an EXIF thumbnail has an end too.

    Args:
        data: Starts with a JPEG's start marker.
        scan: What an earlier call with fewer data returned, to go on from there.

    Returns:
        Position, and whether a whole JPEG ends there: false where it is damaged and something else starts there,
        ``None`` where more data are needed (the position is then what to pass as ``scan``).
    """
    at = scan or 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:  # within compressed data: go to the next marker
            following = data.find(b"\xff", at)
            if following < 0:
                return len(data), None
            at = following
            continue
        marker = data[at + 1]
        if marker == _END_MARKER:
            return at + 2, True
        if marker == _START_MARKER:
            return at, False
        if marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if at + 4 > len(data):
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            return at + 2, False
        if at + 2 + length > len(data):
            break
        at += 2 + length
    return at, None
