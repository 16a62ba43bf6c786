"""Many inputs, answered in order: some are read and encoded while others are inferred.

Reading and resizing a photo takes as long as a small network does, so one after the other leaves half of a machine
idle. Here every input is a job of its own, from the file to the result, on as many threads as there are cores. Small
artifacts are opened once a thread: several inferences of one thread each get more done than one inference of several
threads. What is held at once is bounded, whatever the number of inputs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Protocol

from edgekit.binding import BoundEngine
from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.tasks import Result
from edgekit_runtimes.engines.common import thread_count
from edgekit_runtimes.inputs.items import Item
from edgekit_runtimes.predictor import Predictor

MANY = 8
"""Inputs from which on opening more engines pays."""
COPIED_BYTES = 64 * 2**20
"""Largest artifact that is opened once a thread."""
# Jobs begun for each thread: one that it works on and one that waits, so that it never does.
_BEGUN = 2


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        item: The input.
        result: Its result; ``None`` when it failed.
        picture: The photo as it was read, ``(height, width, 3)`` uint8, RGB, where pictures were asked for.
        error: Why it has no result.
    """

    item: Item
    result: Result | None = None
    picture: Any = None
    error: DataRefused | None = None


class GroupAnswerer(Protocol):
    """Answers inputs that go to an engine at once, as `answer_group` does."""

    def __call__(
        self,
        predictor: Predictor,
        engine: BoundEngine | SimpleQueue[BoundEngine],
        group: Sequence[Item],
        *,
        pictures: bool = False,
    ) -> list[Outcome]:
        """Return one outcome an input."""


def answered(
    predictor: Predictor,
    items: Iterable[Item],
    *,
    threads: int | None = None,
    batch: int = 1,
    pictures: bool = False,
) -> Generator[Outcome, None, None]:
    """Answer inputs in order: a handful one after the other, many through a `Pipeline`.

    Args:
        predictor: What answers.
        items: Inputs; taken one by one as outcomes are wanted.
        threads: Threads of an engine, where that was asked for.
        batch: Inputs given to the engine at once.
        pictures: Whether outcomes carry photos.

    Yields:
        One outcome an input.
    """
    source = iter(items)
    first = list(islice(source, MANY))
    if len(first) < MANY:
        for item in first:
            yield from answer_group(predictor, predictor.runner, [item], pictures=pictures)
        return
    with Pipeline(predictor, threads=threads, batch=batch, pictures=pictures) as pipeline:
        yield from pipeline.over(chain(first, source))


class Pipeline:
    """Answers inputs on all cores, in order. Use as a context manager.

    Args:
        predictor: What answers; it stays open and is its owner's to close.
        threads: Threads of each engine; ``None``: one, and an engine for each core, where the artifact is small and
            runs on the CPU.
        batch: Inputs given to the engine at once. An artifact with a fixed batch of one runs them in turn.
        pictures: Whether outcomes carry photos.
        answer: What answers the inputs that go to an engine at once: `answer_group`, or what guards it.

    Attributes:
        engines: Number of engines that are open.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        threads: int | None = None,
        batch: int = 1,
        pictures: bool = False,
        answer: GroupAnswerer | None = None,
    ) -> None:
        self._predictor, self._batch, self._pictures = predictor, max(batch, 1), pictures
        self._group: GroupAnswerer = answer or answer_group
        self._opened = ExitStack()
        self._workers = thread_count(None)
        self._free: SimpleQueue[BoundEngine] = SimpleQueue()
        engines = self._copies(1 if threads is None else thread_count(threads))
        self.engines = len(engines)
        for engine in engines:
            self._free.put(engine)

    def _copies(self, threads: int) -> list[BoundEngine]:
        count = max(1, self._workers // threads)
        if count == 1 or not self._predictor.on_cpu or self._predictor.artifact_bytes > COPIED_BYTES:
            return [self._predictor.runner]
        with ExitStack() as opened:
            copies = [opened.enter_context(self._predictor.copy(threads=threads)).runner for _ in range(count)]
            self._opened = opened.pop_all()
        return copies

    def over(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Answer inputs.

        Args:
            items: Inputs; taken one by one as outcomes are wanted, a few ahead.

        Yields:
            One outcome an input, in their order.
        """
        source = iter(items)
        jobs: deque[Future[list[Outcome]]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="edgekit")
        try:
            while True:
                while len(jobs) < _BEGUN * self._workers and (group := list(islice(source, self._batch))):
                    jobs.append(pool.submit(self._answer, group))
                if not jobs:
                    return
                yield from jobs.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _answer(self, group: Sequence[Item]) -> list[Outcome]:
        return self._group(self._predictor, self._free, group, pictures=self._pictures)

    def close(self) -> None:
        """Release the engines that were opened here."""
        self._opened.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def answer_group(
    predictor: Predictor,
    engine: BoundEngine | SimpleQueue[BoundEngine],
    group: Sequence[Item],
    *,
    pictures: bool = False,
) -> list[Outcome]:
    """Answer inputs that go to an engine at once; what is wrong with one does not touch the others.

    Args:
        predictor: Whose task encodes and decodes.
        engine: What infers, or where a free engine is taken from once the inputs are encoded.
        group: The inputs.
        pictures: Whether outcomes carry photos.
    """
    read = [_encoded(predictor, item, pictures) for item in group]
    feeds = [encoded for _, encoded in read if encoded is not None]
    answers = iter(_inferred(predictor, engine, feeds) if feeds else ())
    return [
        outcome if encoded is None else _with(outcome, next(answers)) for outcome, encoded in read
    ]  # fmt: skip


def _encoded(predictor: Predictor, item: Item, pictures: bool) -> tuple[Outcome, dict[str, Array] | None]:
    try:
        value = item.load()
        if pictures and isinstance(value, (str, Path)):
            from edgekit.images import read_image

            value = read_image(value)
        return Outcome(item, picture=value if pictures else None), predictor.task.encode(value)
    except DataRefused as error:
        return Outcome(item, error=error), None


def _inferred(
    predictor: Predictor, engine: BoundEngine | SimpleQueue[BoundEngine], feeds: Sequence[dict[str, Array]]
) -> Sequence[Result | DataRefused]:
    runner = engine.get() if isinstance(engine, SimpleQueue) else engine
    try:
        return _each(predictor, runner, feeds)
    finally:
        if isinstance(engine, SimpleQueue):
            engine.put(runner)


def _each(
    predictor: Predictor, runner: BoundEngine, feeds: Sequence[dict[str, Array]]
) -> Sequence[Result | DataRefused]:
    """Results of all at once, or, if that fails, of one after the other to find out which one it is."""
    try:
        return predictor.results(runner, feeds)
    except DataRefused as error:
        if len(feeds) == 1:
            return [error]
        return [answer for one in feeds for answer in _each(predictor, runner, [one])]


def _with(outcome: Outcome, answer: Result | DataRefused) -> Outcome:
    if isinstance(answer, DataRefused):
        return replace(outcome, error=answer)
    return replace(outcome, result=answer)
