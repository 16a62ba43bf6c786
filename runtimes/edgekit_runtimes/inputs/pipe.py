"""Pictures that another program writes: Motion JPEG or raw RGB on standard input."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from edgekit.errors import DataRefused
from edgekit_runtimes.inputs.frames import Frame, FrameSource, SourceStatus
from edgekit_runtimes.inputs.jpeg import Splitter, decoded
from edgekit_runtimes.inputs.live import Capture
from edgekit_runtimes.inputs.newest import Shot

_BLOCK = 1 << 16


class PipeCapture(Capture):
    """Pictures on standard input: JPEGs one after the other (with or without multipart heads), or raw RGB.

    Args:
        name: What to call it in messages.
        size: Width and height of raw RGB pictures, three bytes a pixel; ``None`` for JPEGs.
        descriptor: Where to read.
    """

    def __init__(self, name: str, size: tuple[int, int] | None = None, descriptor: int = 0) -> None:
        self._name = name
        self._size = size
        self._from = descriptor
        self._wake, self._waker = os.pipe()
        self._guard = threading.Lock()
        self._splitter = Splitter()
        self._feed: Callable[[bytes], list[bytes]] = self._splitter.feed if size is None else self._raw
        self._raw_buffer = bytearray()
        self._ready: deque[bytes] = deque()
        self._any = False

    def open(self) -> None:
        """Nothing to do: it is open."""

    def read(self) -> Shot | None:
        """Wait for the next picture, however long it takes.

        Raises:
            DataRefused: Something came, but no picture.
        """
        skipped = self._splitter.skipped
        while not self._ready:
            ready, _, _ = select.select([self._from, self._wake], [], [])
            if self._wake in ready:
                return None
            data = os.read(self._from, _BLOCK)
            if not data:
                self._check_end()
                return None
            self._ready.extend(self._feed(data))
        self._any = True
        data = self._ready.popleft()
        if self._size is None:
            return Shot(data, time.monotonic(), damaged=self._splitter.skipped - skipped)
        width, height = self._size
        return Shot(np.frombuffer(bytearray(data), np.uint8).reshape(height, width, 3), time.monotonic())

    def stop(self) -> None:
        """Wake `read`."""
        with self._guard:
            if self._waker >= 0:
                os.close(self._waker)
                self._waker = -1

    def close(self) -> None:
        """Give back what `read` waits on; standard input stays open."""
        self.stop()
        with self._guard:
            if self._wake >= 0:
                os.close(self._wake)
                self._wake = -1

    def _check_end(self) -> None:
        if not self._any:
            wanted = "JPEG pictures" if self._size is None else f"{self._size[0] * self._size[1] * 3} bytes a picture"
            raise DataRefused(f"{self._name} ended without a whole picture", expected=wanted)

    def _raw(self, data: bytes) -> list[bytes]:
        width, height = self._size or (0, 0)
        self._raw_buffer += data
        size = width * height * 3
        whole = len(self._raw_buffer) // size
        found = [bytes(self._raw_buffer[i * size : (i + 1) * size]) for i in range(whole)]
        del self._raw_buffer[: whole * size]
        return found


class PipeFrames(FrameSource):
    """Each picture of standard input, in order; the program that writes waits while nobody takes them.

    Args:
        name: What to call it.
        capture: What to read.
    """

    live = False
    rate = 0.0

    def __init__(self, name: str, capture: PipeCapture) -> None:
        self.name = name
        self._capture = capture
        self._frames = self._damaged = 0
        self._ended = False

    def __iter__(self) -> Iterator[Frame]:
        """Give the pictures that are left."""
        while not self._ended:
            shot = self._capture.read()
            if shot is None:
                self._ended = True
                break
            self._damaged += shot.damaged
            picture = decoded(shot.data) if isinstance(shot.data, bytes) else shot.data
            if picture is None:
                self._damaged += 1
                continue
            self._frames += 1
            yield Frame(picture, self._frames - 1, shot.captured)

    @property
    def status(self) -> SourceStatus:
        """What happened so far."""
        state = "ended" if self._ended else "running"
        return SourceStatus(frames=self._frames, state=state, damaged=self._damaged)

    def close(self) -> None:
        """End; standard input stays open."""
        self._ended = True
        self._capture.stop()
