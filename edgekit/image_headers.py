"""Sizes of pictures from their headers, before a single pixel is decoded.

A decoder allocates what a header promises, and some decoders fill what a truncated file lacks with grey. Both are
told from the first bytes and the end markers of the file, which is what this module reads: JPEG (ITU-T T.81),
PNG (ISO/IEC 15948), WebP (RFC 9649), BMP, GIF (89a) and TIFF 6.0 with BigTIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_END = b"\xff\xd9"
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_EXTRA_SAMPLES = 256, 257, 338
_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}


class HeaderError(ValueError):
    """The header cannot be read, or the file ends before its data does."""


@dataclass(frozen=True)
class Header:
    """What a picture's header says.

    Attributes:
        kind: ``JPEG``, ``PNG``, ``WebP``, ``BMP``, ``GIF`` or ``TIFF``.
        width: Pixels, before any EXIF rotation.
        height: Pixels, before any EXIF rotation.
        extra_samples: For TIFF, where in the file the two-byte kind of the alpha channel stands and its byte
            order (``<`` or ``>``); ``None`` without one.
    """

    kind: str
    width: int
    height: int
    extra_samples: tuple[int, str] | None = None


def kind_of(start: bytes) -> str | None:
    """Return the kind of picture that a file's first 16 bytes announce, ``None`` for anything else."""
    for signature, kind in (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"BM", "BMP"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"II+\0", "TIFF"),
        (b"MM\0+", "TIFF"),
    ):
        if start.startswith(signature):
            return kind
    return "WebP" if start[:4] == b"RIFF" and start[8:12] == b"WEBP" else None


def read_header(data: bytes) -> Header:
    """Read the size and check that the file is whole, where its format tells.

    Args:
        data: The whole file.

    Raises:
        HeaderError: Not a picture of a known kind, a damaged header, or a truncated file.
    """
    kind = kind_of(data[:16])
    if kind is None:
        raise HeaderError("not a JPEG, PNG, WebP, BMP, GIF or TIFF picture")
    try:
        return _READERS[kind](data)
    except (struct.error, IndexError) as error:
        raise HeaderError(f"a truncated {kind}: it ends early") from error


def _jpeg(data: bytes) -> Header:
    size = (0, 0)
    for marker, at in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = (width, height)
        if marker == _JPEG_SCAN:
            # In entropy-coded data a 0xFF byte is always followed by 0 or a restart marker: what is found is the end.
            if data.find(_JPEG_END, at) < 0:
                raise HeaderError("a truncated JPEG: it has no end-of-image marker")
            break
    return Header("JPEG", *size)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker up to the first scan with the offset of its segment's length field."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise HeaderError(f"a damaged JPEG: no marker at byte {at}")
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        yield marker, at + 2
        if marker == _JPEG_SCAN:
            return
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    at = 8
    while data[at + 4 : at + 8] != b"IEND":
        at += 12 + int(struct.unpack_from(">I", data, at)[0])
    if len(data) < at + 12:
        raise HeaderError("a truncated PNG: its end chunk is not whole")
    return Header("PNG", width, height)


def _webp(data: bytes) -> Header:
    promised = 8 + int(struct.unpack_from("<I", data, 4)[0])
    if len(data) < promised:
        raise HeaderError(f"a truncated WebP: its header promises {promised} bytes")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return Header("WebP", width, height)


def _bmp(data: bytes) -> Header:
    old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return Header("BMP", width, abs(height))  # a negative height means top row first


def _gif(data: bytes) -> Header:
    return Header("GIF", *struct.unpack_from("<HH", data, 6))


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, step = (start + 8, 20) if big else (start + 2, 12)
    values: dict[int, int] = {}
    extra = None
    for at in range(first, first + min(count, 4096) * step, step):
        tag, number = struct.unpack_from(order + "HH", data, at)
        value_at = at + (12 if big else 8)
        if number in _TIFF_NUMBERS:
            (values[tag],) = struct.unpack_from(order + _TIFF_NUMBERS[number], data, value_at)
        if tag == _TIFF_EXTRA_SAMPLES and number == 3:
            extra = (value_at, order)
    return Header("TIFF", values.get(_TIFF_WIDTH, 0), values.get(_TIFF_HEIGHT, 0), extra)


_READERS: dict[str, Callable[[bytes], Header]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "BMP": _bmp,
    "GIF": _gif,
    "TIFF": _tiff,
}
