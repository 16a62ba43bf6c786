"""A video file of the annotated frames."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.atomic import atomic_file
from edgekit.drawing import Picture
from edgekit.errors import EnvironmentFault, UsageError
from edgekit_runtimes.outputs.pictures import drawn
from edgekit_runtimes.outputs.sink import Answer, Sink

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""File suffix -> codec, both part of every OpenCV wheel."""

DEFAULT_RATE = 25.0
_MAX_GAP = 10.0  # seconds; longer gaps of a live source are shortened to this


class VideoFile(Sink):
    """Writes a video beside ``path`` and puts it in place on `close`.

    The first frame fixes the size; other shapes are letterboxed. Frames of a live source are repeated or left out so
    that the video runs as fast as the world did.

    Args:
        path: ``.mp4`` or ``.avi``.
        rate: Frames a second; `DEFAULT_RATE` where the source does not say.
    """

    wants_pictures = True

    def __init__(self, path: Path, rate: float = 0.0) -> None:
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"{path}: no video format", expected=f"a name ending in {' or '.join(CODECS)}")
        self.path = path
        self.rate = rate if rate > 0 else DEFAULT_RATE
        self._stack = ExitStack()
        self._temporary = Path()
        self._writer: Any = None
        self._size = (0, 0)
        self._frames = 0
        self._started = 0.0

    def answer(self, answer: Answer) -> None:
        """Write one frame.

        Raises:
            DataRefused: The input is no picture.
            EnvironmentFault: The video cannot be opened.
        """
        import cv2

        picture = drawn(answer)
        if self._writer is None:
            self._open(picture, answer.captured)
        repeats = self._due(answer.captured)
        if repeats:
            frame = cv2.cvtColor(letterboxed(picture, self._size), cv2.COLOR_RGB2BGR)
            for _ in range(repeats):
                self._writer.write(frame)
            self._frames += repeats

    def close(self) -> None:
        """Put the video in place. Raises EnvironmentFault when it is not whole; an old file then stays."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        fault = None if self._whole() else self._fault("could not be written to its end")
        if fault is not None:
            self._stack.__exit__(type(fault), fault, None)
            raise fault
        self._stack.close()

    def _open(self, picture: Picture, captured: float | None) -> None:
        import cv2

        self._temporary = self._stack.enter_context(atomic_file(self.path))
        height, width = picture.shape[:2]
        self._size = (width - width % 2, height - height % 2)  # the codecs halve the colour's resolution
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        writer = cv2.VideoWriter(str(self._temporary), codec, self.rate, self._size)
        if not writer.isOpened():
            fault = self._fault("cannot be opened")
            self._stack.__exit__(type(fault), fault, None)
            raise fault
        self._writer = writer
        self._started = captured or 0.0

    def _due(self, captured: float | None) -> int:
        """Return how often to write this frame: once for files, else what keeps the video in time."""
        if captured is None:
            return 1
        missing = round((captured - self._started) * self.rate) + 1 - self._frames
        longest = max(1, round(_MAX_GAP * self.rate))
        if missing > longest:
            self._started += (missing - longest) / self.rate
        return max(0, min(missing, longest))

    def _whole(self) -> bool:
        """Whether the file can be opened and holds every frame: the writer itself is silent about a full disk."""
        import cv2

        reader = cv2.VideoCapture(str(self._temporary))
        try:
            return bool(reader.isOpened() and reader.get(cv2.CAP_PROP_FRAME_COUNT) >= self._frames)
        finally:
            reader.release()

    def _fault(self, what: str) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self.path}: a video of {self._size[0]} x {self._size[1]} at {self.rate:g} frames/s {what}",
            expected="free space and an OpenCV with the codec",
            remedy="free some space, write .avi instead of .mp4, or write pictures into a folder",
        )


def letterboxed(picture: Picture, size: tuple[int, int]) -> Picture:
    """Fit a picture into a size, keeping its shape, with black borders.

    Args:
        picture: ``(height, width, 3)`` uint8.
        size: Width and height in pixels.
    """
    import cv2

    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas
