"""Pictures that come one after the other: the frames of a video file, and of sources that are live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        picture: ``(height, width, 3)`` uint8, RGB; nobody else writes into it.
        number: Position in the source, from 0; of a live source, frames that were dropped count too.
        captured: When it was read, on the clock of :func:`time.monotonic`, seconds.
    """

    picture: NDArray[np.uint8]
    number: int
    captured: float


@dataclass(frozen=True)
class SourceStatus:
    """What a source has been through.

    Attributes:
        frames: Frames read from it.
        dropped: Frames that a newer one replaced before anybody took them; 0 for files.
        reconnects: Times it was opened again.
        gaps: Seconds without frames at each of those times, the last 100.
        state: ``running``, ``waiting`` (to be opened again) or ``ended``.
        problem: Why it waits or ended early, in one line; empty while all is well.
        damaged: Pictures that arrived but could not be decoded, and were skipped.
    """

    frames: int = 0
    dropped: int = 0
    reconnects: int = 0
    gaps: tuple[float, ...] = ()
    state: str = "running"
    problem: str = ""
    damaged: int = 0


class FrameSource(ABC):
    """Gives frames, once. Use as a context manager.

    Attributes:
        name: What to call it in results and messages; without any password.
        live: Whether frames are dropped that nobody takes in time; otherwise each is given, in order.
        rate: Frames a second that it says it has; 0 where unknown.
    """

    name: str
    live: bool
    rate: float

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Give frames until the source ends or is closed.

        A live source gives the newest frame, waits for one where there is none, and does not end by itself.

        Raises:
            EnvironmentFault: A device or server cannot be opened, or was lost for good.
            DataRefused: A file that is no video, or that is damaged from some frame on; frames before that were given.
        """

    @property
    @abstractmethod
    def status(self) -> SourceStatus:
        """What happened so far; may be asked from any thread."""

    @abstractmethod
    def close(self) -> None:
        """End: an iteration that waits for a frame in another thread stops within a second."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
