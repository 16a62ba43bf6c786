"""Making the artifacts of a plan in this process, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edgekit.errors import EdgeKitError, EnvironmentFault, MissingExtra, ModelRefused
from edgekit_converters.input_size import Size
from edgekit_converters.plan.agenda import Outcome, Work
from edgekit_converters.plan.making import Maker
from edgekit_converters.plan.variants import Piece


class Here:
    """A workshop in this process.

    Args:
        maker: Opens the model and makes the artifacts.
        opened: Called before an artifact is made, when the model and the data are known to be good.
    """

    def __init__(self, maker: Maker, opened: Callable[[], None]) -> None:
        self._maker, self._opened = maker, opened
        self._queue: deque[Work] = deque()

    def start(self, work: Work) -> None:
        """Take on a piece of work."""
        self._queue.append(work)

    def next(self) -> Outcome:
        """Do what was taken on first.

        Raises:
            EdgeKitError: The model or the data are refused, or something is missing on this machine.
        """
        work = self._queue.popleft()
        return self._made(work) if isinstance(work, Piece) else self._resized(work)

    def _made(self, piece: Piece) -> Outcome:
        self._maker.open(piece.resolution)  # a model or data that are refused end the plan
        self._opened()
        own = self._maker.own_size() if piece.resolution is None else None
        try:
            return Outcome(piece, self._maker.make(piece), own=own)
        except EdgeKitError as error:
            if isinstance(error, EnvironmentFault) and not isinstance(error, MissingExtra):
                raise
            return Outcome(piece, own=own, error=error)

    def _resized(self, size: Size) -> Outcome:
        try:
            return Outcome(size, parity=self._maker.resized(size))
        except ModelRefused as error:
            return Outcome(size, error=error)
