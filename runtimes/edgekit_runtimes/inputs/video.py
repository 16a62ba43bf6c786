"""Video files: every frame, in order, upright; a damaged one gives what lies before the damage and says where it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused
from edgekit_runtimes.inputs.containers import container_of, shown_share
from edgekit_runtimes.inputs.frames import Frame, FrameSource, SourceStatus

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""File name endings, in lower case, that are taken for videos."""

_READS_PAST_DAMAGE = 250
"""Reads tried after one that failed, to tell damage from the end; about ten seconds of video."""

_SILENT = 0
_FRAMES_OFF = 3
"""Frames by which the number that an edit list shows may be off: it counts time, and starts within a frame."""


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
        container, cut = container_of(self.path)
        counted = self._least(container)
        cause = None
        if cut and self._frames < self._promised:
            cause = "was cut short"
        elif self._frames < counted or self._goes_on():
            cause = "is damaged"
        if cause is None:
            return
        self._problem = f"{cause} at frame {self._frames}"
        raise DataRefused(
            f"{self.name} {self._problem}; the {self._frames} frames before were read",
            expected=f"{self._promised} frames" if counted > self._frames else "a whole video file",
            remedy="copy it again, or cut the damaged part out with a video editor",
        )

    def _goes_on(self) -> bool:
        """Whether frames can be read after the one that could not."""
        with self._lock:
            return not self._closed and any(self._capture.grab() for _ in range(_READS_PAST_DAMAGE))

    def _least(self, container: str) -> float:
        """The fewest frames there must be: of other formats the count is an estimate from the longest track."""
        if container == "avi":
            return self._promised
        share = shown_share(self.path) if container == "mp4" else None
        return 0 if share is None else self._promised * share - _FRAMES_OFF


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
