"""One slot for the newest picture: who captures never waits, who takes never sees an old one, memory stays as it is."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit_runtimes.inputs.frames import SourceStatus

_GAPS_KEPT = 100


@dataclass(frozen=True)
class Shot:
    """What a capture gives.

    Attributes:
        data: ``(height, width, 3)`` uint8, RGB; or a JPEG, decoded only if somebody takes it.
        captured: When it arrived, on the clock of :func:`time.monotonic`, seconds.
        missed: Pictures before it that the capture itself had to drop.
        damaged: Pieces before it that were no whole picture.
    """

    data: NDArray[np.uint8] | bytes
    captured: float
    missed: int = 0
    damaged: int = 0


class NewestShot:
    """Between the thread that captures and the one that takes; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._frames = self._dropped = self._damaged = self._reconnects = 0
        self._gaps: deque[float] = deque(maxlen=_GAPS_KEPT)
        self._state, self._problem = "running", ""

    def put(self, shot: Shot) -> None:
        """Make this the newest one; one that nobody took is dropped and counted."""
        with self._changed:
            self._dropped += shot.missed + (self._shot is not None)
            self._frames += shot.missed + 1
            self._damaged += shot.damaged
            self._shot = shot
            self._changed.notify_all()

    def take(self) -> tuple[Shot, int] | None:
        """Wait for a shot that was not taken yet.

        Returns:
            The shot and its number; ``None`` once the source has ended.

        Raises:
            BaseException: What ended the source, after what came before it was taken.
        """
        with self._changed:
            while self._shot is None and not self._ended:
                self._changed.wait()
            if self._shot is None:
                if self._error is not None:
                    raise self._error
                return None
            shot, self._shot = self._shot, None
            return shot, self._frames - 1

    def end(self, error: BaseException | None = None) -> None:
        """No more will come; what is there can still be taken."""
        with self._changed:
            if not self._ended:
                self._ended, self._error, self._state = True, error, "ended"
                self._problem = "" if error is None else first_line(error)
                self._changed.notify_all()

    def close(self) -> None:
        """Nobody takes any more: end and forget what is there."""
        with self._changed:
            self._shot = self._error = None
            self._ended, self._state = True, "ended"
            self._changed.notify_all()

    def lost(self, problem: str) -> None:
        """The source has to be opened again."""
        with self._changed:
            if not self._ended:
                self._state, self._problem = "waiting", problem

    def found(self, gap: float | None) -> None:
        """The source gives pictures again; ``gap`` is how long it did not, ``None`` at the start."""
        with self._changed:
            if gap is not None:
                self._reconnects += 1
                self._gaps.append(gap)
            if not self._ended:
                self._state, self._problem = "running", ""

    def skip_damaged(self) -> None:
        """What was taken could not be decoded."""
        with self._changed:
            self._damaged += 1

    @property
    def status(self) -> SourceStatus:
        """What happened so far."""
        with self._changed:
            return SourceStatus(
                frames=self._frames,
                dropped=self._dropped,
                reconnects=self._reconnects,
                gaps=tuple(self._gaps),
                state=self._state,
                problem=self._problem,
                damaged=self._damaged,
            )


def first_line(error: BaseException) -> str:
    """The error in one line."""
    return str(error).partition("\n")[0]
