"""A run over many inputs: what is bad is reported and skipped, the rest completes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edgekit.errors import DataRefused, EdgeKitError, PartialFailure
from edgekit_runtimes.inputs.frames import Frame, FrameSource
from edgekit_runtimes.inputs.items import Item
from edgekit_runtimes.outputs.sink import Answer, Sink
from edgekit_runtimes.pipeline import answered
from edgekit_runtimes.predictor import Predictor
from edgekit_runtimes.service.notify import Notifier
from edgekit_runtimes.signals import check_stop

_RATE_SECONDS = 3.0
_LISTED = 1000


class Rate:
    """Events a second over the last few seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def tick(self) -> float:
        """Count an event; return the present rate, 0 for the first."""
        now = time.monotonic()
        self._times.append(now)
        while now - self._times[0] > _RATE_SECONDS and len(self._times) > 2:
            self._times.popleft()
        span = now - self._times[0]
        return (len(self._times) - 1) / span if span > 0 else 0.0


@dataclass
class Run:
    """Answers inputs and remembers what failed.

    Attributes:
        predictor: What answers.
        sink: Where answers go.
        threads: Threads of an engine, where that was asked for.
        batch: Inputs given to the engine at once.
        notifier: Told of each answer, for a service manager's watchdog.
        done: Number of inputs with a result.
        refused: Number of inputs without one.
        failed: Their refusals, in order; the first thousand.
    """

    predictor: Predictor
    sink: Sink
    threads: int | None = None
    batch: int = 1
    notifier: Notifier = field(default_factory=Notifier)
    done: int = 0
    refused: int = 0
    failed: list[EdgeKitError] = field(default_factory=list)
    _rate: Rate = field(default_factory=Rate)

    def resume(self, done: int, failed: Iterable[str]) -> None:
        """Count inputs that an earlier run has dealt with.

        Args:
            done: Inputs with a result.
            failed: Why the others have none.
        """
        self.done += done
        for error in failed:
            self._count(DataRefused(error))

    def over(self, items: Iterable[Item]) -> None:
        """Answer every input, in order, until the sink asks for the end."""
        outcomes = answered(
            self.predictor, items, threads=self.threads, batch=self.batch, pictures=self.sink.wants_pictures
        )
        for outcome in outcomes:
            check_stop()
            name = outcome.item.name
            if outcome.error is not None or outcome.result is None:
                self._refused(name, outcome.error or DataRefused(f"{name} has no result"))
            else:
                self._answer(
                    Answer(name, outcome.result, outcome.picture, rate=self._rate.tick(), inside=outcome.item.inside)
                )
            if self.sink.stopped:
                outcomes.close()
                return

    def streamed(self, items: Iterable[Item], write: Callable[[str], None]) -> None:
        """Answer every input with text that is written while it is generated.

        Args:
            items: Inputs, in order.
            write: Takes a piece of text; a line ends each answer.
        """
        for item in items:
            self._streamed(item, write)

    def _streamed(self, item: Item, write: Callable[[str], None]) -> None:
        try:
            for piece in self.predictor.stream(item.load()):
                write(piece)
            write("\n")
            self.done += 1
        except DataRefused as error:
            self._refused(item.name, error)

    def live(self, source: FrameSource, *, limit: int | None = None) -> None:
        """Answer the newest frame of a live source, again and again.

        Args:
            source: The source; it is closed by its owner.
            limit: Frames to answer; ``None`` goes on until the source is closed, the sink asks for the end, or the
                source is lost for good.
        """
        if self.predictor.task.takes == "sound":
            self._listen(source, limit)
            return
        begun = self.done + self.refused
        for frame in source:
            check_stop()
            self._frame(source, frame)
            if self.sink.stopped or (limit is not None and self.done + self.refused - begun >= limit):
                return

    def _listen(self, source: FrameSource, limit: int | None) -> None:
        from edgekit_runtimes.listen import listen

        for count, heard in enumerate(listen(self.predictor, source), 1):
            check_stop()
            if heard.error is not None:
                self._refused(heard.name, heard.error)
            elif heard.result is None:
                self.done += 1
            else:
                age = time.monotonic() - heard.captured
                dropped = source.status.dropped
                self._answer(Answer(heard.name, heard.result, None, time.time() - age, age, self._rate.tick(), dropped))
            if self.sink.stopped or count == limit:
                return

    def _frame(self, source: FrameSource, frame: Frame) -> None:
        name = f"{source.name} frame {frame.number}"
        try:
            result = self.predictor.predict(frame.picture)
        except DataRefused as error:
            self._refused(name, error)
            return
        age = time.monotonic() - frame.captured
        picture = frame.picture if self.sink.wants_pictures else None
        dropped = source.status.dropped
        self._answer(Answer(name, result, picture, time.time() - age, age, self._rate.tick(), dropped))

    def _answer(self, answer: Answer) -> None:
        try:
            self.sink.answer(answer)
            self.done += 1
            self.notifier.answered(self.done, answer.rate)
        except DataRefused as error:
            self._refused(answer.name, error)

    def _refused(self, name: str, error: DataRefused) -> None:
        self._count(error)
        self.sink.failure(name, error)

    def _count(self, error: DataRefused) -> None:
        self.refused += 1
        if len(self.failed) < _LISTED:
            self.failed.append(error)

    def finish(self) -> None:
        """Raise what went wrong: a single item's refusal itself, otherwise PartialFailure that lists each."""
        self.notifier.stopping()
        if not self.failed:
            return
        if self.refused == 1 and self.done == 0:
            raise self.failed[0]
        listed = "".join(f"\n  {error.received}" for error in self.failed)
        raise PartialFailure(f"{self.refused} of {self.refused + self.done} inputs failed:{listed}")
