"""Live sources: captured by a thread of their own, watched for silence and repetition, opened again when lost."""

from __future__ import annotations

import random
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EnvironmentFault, MissingExtra
from edgekit_runtimes.inputs.frames import Frame, FrameSource, SourceStatus
from edgekit_runtimes.inputs.jpeg import decoded
from edgekit_runtimes.inputs.newest import NewestShot, Shot, first_line

STALE_SECONDS = 10.0
_JOIN_SECONDS = 0.9
_SAMPLE_STEP = 16


class Capture(ABC):
    """One connection to a camera or server; opened once, by the thread that reads."""

    rate: float = 0.0
    """Frames a second that it says it has, once open; 0 where unknown."""

    @abstractmethod
    def open(self) -> None:
        """Connect.

        Raises:
            EnvironmentFault: It cannot be reached, or not within the time allowed.
        """

    @abstractmethod
    def read(self) -> Shot | None:
        """Wait for the next picture, no longer than the time allowed.

        Returns:
            ``None`` where the source has come to its end and opening it again makes no sense.

        Raises:
            EnvironmentFault: Lost.
        """

    @abstractmethod
    def stop(self) -> None:
        """Make `open` and `read` in another thread return or raise soon; may be called at any time, and twice."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; called by the thread that reads, whether `open` succeeded or not."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before opening again: doubled each time, less a random part so that many do not come at once.

    Attributes:
        first: Seconds at first.
        longest: Seconds at most.
    """

    first: float = 0.5
    longest: float = 30.0

    def seconds(self, attempt: int) -> float:
        """Seconds to wait before an attempt, counted from 0: between a half and the whole of the doubled time."""
        return min(self.longest, self.first * 2.0 ** min(attempt, 30)) * random.uniform(0.5, 1.0)  # noqa: S311


BACKOFF = Backoff()


class Repetition:
    """Notices that a source gives one and the same picture: what a frozen stream does and a camera's noise does not.

    A sample of each picture is compared; only when that repeats, the whole of it. One costs little, the other
    does not overlook a clock in a corner.

    Attributes:
        since: When the picture that is being repeated was first seen; of any other, when it arrived.
    """

    def __init__(self) -> None:
        self.since = 0.0
        self._sample: int | None = None
        self._whole: int | None = None

    def sees(self, shot: Shot) -> bool:
        """Whether this shot is the same as the one before."""
        sample = _checksum(shot.data, _SAMPLE_STEP)
        if sample == self._sample:
            whole = _checksum(shot.data, 1)
            if self._whole is None or whole == self._whole:
                self._whole = whole
                return True
            self._whole = whole
        else:
            self._whole = None
        self._sample = sample
        self.since = shot.captured
        return False


class LiveSource(FrameSource):
    """The newest frame of a camera or stream.

    Capturing starts at once, in a thread of its own, so that a camera opens while a model loads. A source that was
    lost (an error, no frame within the capture's time, or one frame repeated) is opened again until it is back.

    Args:
        name: What to call it; without any password.
        capture: Makes a capture; called again for each time the source is opened.
        wait: Whether to keep trying where it is absent at the start.
        stale_after: Seconds of the same picture after which it counts as lost; ``None``: it may stand still.
        backoff: How long to wait before opening it again.
    """

    live = True

    def __init__(
        self,
        name: str,
        capture: Callable[[], Capture],
        *,
        wait: bool = False,
        stale_after: float | None = STALE_SECONDS,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self.name = name
        self.rate = 0.0
        self._make = capture
        self._wait = wait
        self._stale_after = stale_after
        self._backoff = backoff
        self._newest = NewestShot()
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._current: Capture | None = None
        self._repetition = Repetition()
        self._last: float | None = None
        self._attempt = 0
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        """Give the newest frame each time, as soon as there is one that was not given yet.

        Raises:
            EnvironmentFault: Absent at the start.
        """
        while (taken := self._newest.take()) is not None:
            shot, number = taken
            picture = decoded(shot.data) if isinstance(shot.data, bytes) else shot.data
            if picture is None:
                self._newest.skip_damaged()
            else:
                yield Frame(picture, number, shot.captured)

    @property
    def status(self) -> SourceStatus:
        """What happened so far."""
        return self._newest.status

    def close(self) -> None:
        """End the capture; one that hangs is left behind in its thread, or killed where it is a process."""
        self._closing.set()
        self._newest.close()
        with self._guard:
            if self._current is not None:
                self._current.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    ended = self._once()
                except EnvironmentFault as fault:
                    if isinstance(fault, MissingExtra) or (self._last is None and not self._wait):
                        self._newest.end(fault)
                        return
                    self._newest.lost(first_line(fault))
                else:
                    if ended:
                        self._newest.end()
                        return
                self._closing.wait(self._backoff.seconds(self._attempt))
                self._attempt += 1
        except BaseException as error:  # a slip of ours must reach whoever waits for a frame
            self._newest.end(error)

    def _once(self) -> bool:
        """Open and read until lost; true where the source has come to its end."""
        capture = self._make()
        with self._guard:
            self._current = capture
            if self._closing.is_set():
                capture.stop()
        try:
            capture.open()
            self.rate = capture.rate or self.rate
            self._repetition.since = time.monotonic()
            fresh = True
            while (shot := capture.read()) is not None:
                if self._closing.is_set():
                    return False
                if self._admit(shot, fresh):
                    fresh = False
            return True
        finally:
            with self._guard:
                self._current = None
            capture.close()

    def _admit(self, shot: Shot, fresh: bool) -> bool:
        """Pass a shot on, unless it only repeats what froze before the source was opened again."""
        repeated = self._stale_after is not None and self._repetition.sees(shot)
        if repeated:
            if shot.captured - self._repetition.since > (self._stale_after or 0):
                raise EnvironmentFault(
                    f"{self.name} has given the same picture for {self._stale_after:g} s",
                    expected="a camera, whose noise makes every picture different",
                    remedy="if its picture really stands still, add the option frozen=ok",
                )
            if fresh and self._last is not None:
                return False
        if fresh:
            self._attempt = 0
            self._newest.found(None if self._last is None else shot.captured - self._last)
        if not repeated or self._last is None:
            self._last = shot.captured
        self._newest.put(shot)
        return True


def _checksum(data: NDArray[np.uint8] | bytes, step: int) -> int:
    if isinstance(data, bytes):
        return zlib.crc32(data)
    return zlib.crc32(np.ascontiguousarray(data[::step, ::step]).data)
