"""Video files: every frame, in order, upright; a damaged one gives what lies before the damage and says where it is."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused
from edgekit_runtimes.inputs.frames import Frame, FrameSource, SourceStatus

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""File name endings, in lower case, that are taken for videos."""

_READS_PAST_DAMAGE = 250
"""Reads tried after one that failed, to tell damage from the end; about ten seconds of video."""

_SILENT = 0
_HEADER = struct.Struct(">I4s")


class VideoFile(FrameSource):
    """The frames of a video file.

    The rotation that phones note in the file is applied. What FFmpeg conceals inside a frame (a few damaged
    blocks) is not noticed; frames that cannot be decoded and a file that was cut short are.

    Args:
        path: A video in any format that OpenCV's FFmpeg reads.

    Raises:
        DataRefused: Missing, or no video; names the file.
    """

    live = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = str(path)
        self._lock = threading.Lock()
        self._closed = False
        self._frames = 0
        self._problem = ""
        self._ended = False
        self._capture = _opened(self.path)
        import cv2

        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 0 < rate < 1000 else 0.0
        self._promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames that are left.

        Raises:
            DataRefused: Frames from some number on cannot be decoded, or the file was cut short.
        """
        while (picture := self._read()) is not None:
            frame = Frame(picture, self._frames, time.monotonic())
            self._frames += 1
            yield frame
        if not self._closed:
            self._judge_end()

    @property
    def status(self) -> SourceStatus:
        """Frames given so far; ``ended`` once there are no more."""
        ended = self._ended or self._closed
        return SourceStatus(frames=self._frames, state="ended" if ended else "running", problem=self._problem)

    def close(self) -> None:
        """End; a read that is under way is waited for."""
        self._closed = True
        with self._lock:
            self._capture.release()

    def _read(self) -> NDArray[np.uint8] | None:
        import cv2

        with self._lock:  # OpenCV's captures must not be released during a read
            if self._closed or self._ended:
                return None
            fine, picture = self._capture.read()
            if not fine:
                return None
            rgb: NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)
            return rgb

    def _judge_end(self) -> None:
        """Tell the end from damage; OpenCV says the same for both."""
        if self._ended:
            return
        self._ended = True
        cause = self._damage()
        if cause is None:
            return
        self._problem = f"{cause} at frame {self._frames}"
        raise DataRefused(
            f"{self.name} {self._problem}; the {self._frames} frames before were read",
            expected=f"{self._promised} frames" if self._promised > self._frames else "a whole video file",
            remedy="copy it again, or cut the damaged part out with a video editor",
        )

    def _damage(self) -> str | None:
        with self._lock:
            if self._closed:
                return None
            if any(self._capture.grab() for _ in range(_READS_PAST_DAMAGE)):
                return "is damaged"
        container, cut = _container(self.path)
        if cut:
            return "was cut short"
        # Only AVI's count is a promise: an MP4 that was trimmed without re-encoding counts what is not shown too,
        # and for other formats the count is an estimate from the length of the longest track.
        return "is damaged" if container == "avi" and self._promised > self._frames else None


def _opened(path: Path) -> Any:
    """Open a video, or raise DataRefused; nothing is printed."""
    if not path.is_file():
        raise DataRefused(f"{path} is {'a folder' if path.is_dir() else 'missing'}", expected="a video file")
    import cv2

    # Read when FFmpeg is used first in this process. It reports damage on standard error, which we do in words.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    control = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = control.getLogLevel()
    control.setLogLevel(_SILENT)
    try:
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    finally:
        control.setLogLevel(level)
    if not capture.isOpened() or capture.get(cv2.CAP_PROP_FRAME_WIDTH) <= 0:
        capture.release()
        raise DataRefused(
            f"{path} cannot be opened as a video ({path.stat().st_size} bytes)",
            expected="a whole video file: MP4, AVI, MKV, WebM, …",
            remedy="play it to see whether it is whole; an MP4 that lost its end cannot be read at all",
        )
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _container(path: Path) -> tuple[str, bool]:
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
