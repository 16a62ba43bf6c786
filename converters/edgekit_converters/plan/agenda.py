"""Which artifacts of a plan are made and in what order, wherever they are made.

What is begun depends on nothing that is still to come: a recipe waits for those whose size or answers may show that it
is of no use, and an input size for the next larger one. All else may be made at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError, ModelRefused, UsageError
from edgekit.parity import Parity
from edgekit_converters.input_size import Size, own_size, sides
from edgekit_converters.plan.quality import quality_gate
from edgekit_converters.plan.stock import Stock
from edgekit_converters.plan.variants import ORDER, Piece, smaller_sides, waits_for
from edgekit_converters.request import Request

Work = Piece | Size
"""An artifact to make, or an input size whose own effect on the answers is to be measured."""


@dataclass(frozen=True)
class Outcome:
    """What became of a piece of work.

    Attributes:
        work: What was asked for.
        bundle: Of an artifact that was made.
        parity: Of an input size: the resized network against the original, each with the photos of its own size.
        own: Of an artifact at the model's own input size: that size; ``None`` where it is not to be varied.
        error: Why it was not made, or why the network takes no photos of this size.
        lost: Whether those who worked on it died: nothing is known of the model then, nor of its input size.
    """

    work: Work
    bundle: Bundle | None = None
    parity: Parity | None = None
    own: Size | None = None
    error: EdgeKitError | None = None
    lost: bool = False


class Workshop(Protocol):
    """Where artifacts are made."""

    def start(self, work: Work) -> None:
        """Take on a piece of work."""

    def next(self) -> Outcome:
        """Wait until one that was taken on is done. Raises EdgeKitError when the plan cannot go on."""


class Planned(Protocol):
    """Who asks for the artifacts, and is told of them."""

    def unpromising(self, piece: Piece) -> str | None:
        """Return why an artifact need not be made."""

    def made(self, piece: Piece, bundle: Bundle) -> None:
        """Take an artifact."""

    def left_out(self, piece: Piece, reason: str, error: EdgeKitError | None = None) -> None:
        """Take that there is no such artifact, and the error where making it was tried."""


class Agenda:
    """Has everything made that is promising.

    Args:
        request: What is converted.
        sizes: Input sizes that were asked for.
        vary: Whether smaller inputs are tried unasked.
        sized: Whether the budget has a size.
        stock: What is there already.
        shop: Where the rest is made.
        planned: Who is told.
    """

    def __init__(
        self, request: Request, sizes: Sequence[Size], *, vary: bool, sized: bool, stock: Stock, shop: Workshop,
        planned: Planned,
    ) -> None:  # fmt: skip
        self._request, self._asked, self._vary, self._sized = request, sizes, vary, sized
        self._stock, self._shop, self._planned = stock, shop, planned
        self._waiting: list[Piece] = []
        self._begun: set[Work] = set()
        self._sizes: list[Size] | None = None
        self._too_small: Size | None = None

    def run(self) -> None:
        """Do it.

        Raises:
            EdgeKitError: The model or the data are refused, or something is missing where the artifacts are made.
        """
        self._add(None)
        self._begin_ready()
        while self._begun:
            outcome = self._shop.next()
            self._begun.discard(outcome.work)
            if isinstance(outcome.work, Piece):
                self._take(outcome.work, outcome)
            else:
                if outcome.parity is not None:
                    self._stock.keep_parity(outcome.work, outcome.parity)
                self._judge(outcome.work, outcome.parity, outcome.error)
                self._next_size()
            self._begin_ready()

    def _add(self, size: Size | None) -> None:
        recipes = [recipe for recipe in ORDER if recipe in self._request.recipes]
        self._waiting += [Piece(target, recipe, size) for target in self._request.targets for recipe in recipes]

    def _begin_ready(self) -> None:
        """Begin what waits for nothing; what is there already may be what others wait for."""
        while ready := [piece for piece in self._waiting if not self._awaited(piece)]:
            self._waiting = [piece for piece in self._waiting if piece not in ready]
            for piece in ready:
                self._begin(piece)

    def _awaited(self, piece: Piece) -> bool:
        before = {replace(piece, recipe=recipe) for recipe in waits_for(piece.recipe, sized=self._sized)}
        return not before.isdisjoint(self._begun) or not before.isdisjoint(self._waiting)

    def _begin(self, piece: Piece) -> None:
        """Have one artifact made, unless an earlier one says that it is of no use."""
        bundle = self._stock.finished(piece)
        reason = None if bundle else self._planned.unpromising(piece)
        if bundle is not None:
            self._take(piece, Outcome(piece, bundle, own=own_size(bundle.spec)))
        elif reason is not None:
            self._planned.left_out(piece, reason)
        else:
            self._start(piece)

    def _start(self, work: Work) -> None:
        self._begun.add(work)
        self._shop.start(work)

    def _take(self, piece: Piece, outcome: Outcome) -> None:
        if outcome.bundle is not None:
            self._planned.made(piece, outcome.bundle)
        elif outcome.error is not None:
            self._planned.left_out(piece, f"not made: {outcome.error.received}", outcome.error)
        if piece.resolution is None and self._sizes is None and not outcome.lost:
            self._sizes = self._to_try(outcome.own)
            self._next_size()

    def _to_try(self, own: Size | None) -> list[Size]:
        """Other input sizes to try, largest first."""
        if not self._vary and not self._asked:
            return []
        if own is None and self._asked:
            raise UsageError("--resolution for this model", expected="a classifier of photos of one size")
        if own is None:
            return []
        sizes = {*self._asked, *(smaller_sides(own) if self._vary else ())} - {own}
        return sorted(sizes, reverse=True)

    def _next_size(self) -> None:
        """Go on to the next input size that is not ruled out by a larger one, up to one that has to be measured."""
        while self._sizes:
            size, small = self._sizes.pop(0), self._too_small
            if small is not None and size[0] <= small[0] and size[1] <= small[1]:
                self._leave_out(size, f"not tried: {sides(small)} loses too much already")
                continue
            parity = self._stock.parity_at(size)
            if parity is None:
                self._start(size)
                return
            self._judge(size, parity, None)

    def _judge(self, size: Size, parity: Parity | None, error: EdgeKitError | None) -> None:
        """Say what becomes of an input size. Raises the error where it is not that of a network tied to its size."""
        if error is not None and not isinstance(error, ModelRefused):
            raise error
        if parity is None:
            self._leave_out(size, error.received if error else "not made")
            return
        reason = quality_gate(Piece("", "fp32", size), self._request.max_drop).failure(parity)
        if reason is None:
            self._add(size)
        else:
            self._too_small = size
            self._leave_out(size, f"not made: the smaller input alone loses too much: {reason}")

    def _leave_out(self, size: Size, reason: str) -> None:
        self._planned.left_out(Piece(self._request.targets[0], "fp32", size), reason)
