"""What video files promise: where they end, and how many frames they show. MP4, AVI and Matroska, headers only."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">I4s")
_MAX_INDEX = 256 << 20
_NOT_TRIMMED = -1  # the media time of an empty edit: a delay at the start


def container_of(path: Path) -> tuple[str, bool]:
    """Name the container and say whether it promises bytes beyond the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(12)
        if start[:4] == b"RIFF" and start[8:] == b"AVI ":
            return "avi", int.from_bytes(start[4:8], "little") + 8 > size
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return "mp4", _boxes_end(stream, size) > size
        if start[:4] == b"\x1aE\xdf\xa3":
            return "matroska", _segment_end(stream) > size
    return "", False


def _boxes_end(stream: BinaryIO, size: int) -> int:
    """Follow an MP4's outermost boxes to where the last one says it ends."""
    at = 0
    while at + _HEADER.size <= size:
        stream.seek(at)
        length, _ = _HEADER.unpack(stream.read(_HEADER.size))
        if length == 1:
            length = int.from_bytes(stream.read(8), "big")
        if length < _HEADER.size:  # 0: up to the end of the file; anything else is no box
            return size
        at += length
    return at


def _segment_end(stream: BinaryIO) -> int:
    """Where a Matroska or WebM file says that its segment ends; 0 where it does not say."""
    stream.seek(4)
    header = _ebml_size(stream)
    stream.seek(header or 0, os.SEEK_CUR)
    if stream.read(4) != b"\x18S\x80g":
        return 0
    length = _ebml_size(stream)
    return 0 if length is None else stream.tell() + length


def _ebml_size(stream: BinaryIO) -> int | None:
    """Read a size of 1 to 8 bytes, its length given by the leading zeros; ``None`` where it is unknown."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(first + stream.read(extra), "big") & ((1 << 7 * (extra + 1)) - 1)
    return None if value == (1 << 7 * (extra + 1)) - 1 else value


def shown_share(path: Path) -> float | None:
    """How much of an MP4's video track is shown: less than 1 where it was trimmed without encoding it anew.

    ISO/IEC 14496-12: the edit list (``elst``) says which parts of the media (``mdhd``) are presented.

    Returns:
        From 0 to 1; ``None`` where the index does not say, or the file is fragmented and its index counts nothing.
    """
    try:
        index = _index(path)
        if index is None or any(_inside(index, b"mvex")):
            return None
        (movie,) = _inside(index, b"mvhd")
        for track in _inside(index, b"trak"):
            (handler,) = _inside(track, b"mdia", b"hdlr")
            if handler[8:12] == b"vide":
                return _track_share(track, _timing(movie)[0])
    except (ValueError, struct.error, ZeroDivisionError):
        pass  # a damaged index: FFmpeg has judged it already
    return None


def _track_share(track: bytes, movie_scale: int) -> float:
    (media,) = _inside(track, b"mdia", b"mdhd")
    scale, duration = _timing(media)
    shown = 0.0
    lists = list(_inside(track, b"edts", b"elst"))
    for edits in lists:
        long = edits[0] == 1
        entry = struct.Struct(">QqI" if long else ">IiI")
        (count,) = struct.unpack_from(">I", edits, 4)
        for number in range(min(count, len(edits) // entry.size)):
            length, start, _ = entry.unpack_from(edits, 8 + number * entry.size)
            shown += length / movie_scale if start != _NOT_TRIMMED else 0.0
    return min(1.0, shown / (duration / scale)) if lists else 1.0


def _timing(header: bytes) -> tuple[int, int]:
    """Time scale and duration from an ``mvhd`` or ``mdhd``."""
    scale, duration = struct.unpack_from(">IQ", header, 20) if header[0] == 1 else struct.unpack_from(">II", header, 12)
    return int(scale), int(duration)


def _index(path: Path) -> bytes | None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        at = 0
        while at + _HEADER.size <= size:
            stream.seek(at)
            length, kind = _HEADER.unpack(stream.read(_HEADER.size))
            if length == 1:
                length = int.from_bytes(stream.read(8), "big")
            if kind == b"moov":
                return stream.read(length - _HEADER.size) if length <= _MAX_INDEX else None
            if length < _HEADER.size:
                return None
            at += length
    return None


def _inside(data: bytes, *kinds: bytes) -> Iterator[bytes]:
    """Yield the contents of the boxes of a kind; of several kinds, each is inside the one before."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        if kind == kinds[0]:
            content = data[at + _HEADER.size : at + length]
            if len(kinds) > 1:
                yield from _inside(content, *kinds[1:])
            else:
                yield content
        at += length
