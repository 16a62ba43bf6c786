"""Chunks answered by several processes of this machine, each with the bundle opened once.

A model or a file can kill the process that works on it. All that was in flight then comes under suspicion: each such
chunk is answered once more, alone in a new process, and if that dies too its inputs are, one by one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from typing import ParamSpec, TypeVar

from edgekit.errors import ModelRefused
from edgekit_runtimes.bulk import table
from edgekit_runtimes.bulk.answer import Answerer, Part, Setup
from edgekit_runtimes.bulk.chunk import Chunk, Entry
from edgekit_runtimes.bulk.recover import one_by_one

_IN_FLIGHT = 2
"""Chunks begun for each process: one that it works on and one that waits."""
_opened: list[Answerer] = []
_P = ParamSpec("_P")
_T = TypeVar("_T")


def answered(setup: Setup, chunks: Iterator[Chunk], workers: int) -> Generator[Part, None, None]:
    """Answer chunks; a bounded number of them is taken ahead.

    Args:
        setup: How.
        chunks: Taken as processes become free.
        workers: Number of processes.

    Yields:
        Their parts, in the order in which they are finished.

    Raises:
        EdgeKitError: The bundle cannot be opened, or kills the process that opens it.
    """
    pool = _Pool(setup, workers)
    try:
        while pool.fill(chunks):
            yield from pool.finished()
            yield from _alone(setup, pool.suspects())
    finally:
        pool.end()


class _Pool:
    """Processes and what they work on; when one dies, all are replaced."""

    def __init__(self, setup: Setup, workers: int) -> None:
        self._setup, self._workers = setup, workers
        self._executor = _executor(workers)
        self._flying: dict[Future[Part], Chunk] = {}
        self._suspects: list[Chunk] = []

    def fill(self, chunks: Iterator[Chunk]) -> bool:
        """Begin what there is room for; whether anything is in flight."""
        while len(self._flying) < _IN_FLIGHT * self._workers and (chunk := next(chunks, None)) is not None:
            if (future := self._submit(chunk)) is None:
                self._suspects.append(chunk)
                break
            self._flying[future] = chunk
        return bool(self._flying or self._suspects)

    def _submit(self, chunk: Chunk) -> Future[Part] | None:
        try:
            return self._executor.submit(_part, self._setup, chunk)
        except BrokenProcessPool:
            return None

    def finished(self) -> Iterator[Part]:
        """Wait for a chunk or more; what was in flight when a process died becomes suspect."""
        wait(self._flying, return_when=FIRST_COMPLETED)
        yield from self._taken()
        if self._suspects:
            wait(self._flying)  # futures of a broken pool end at once
            yield from self._taken()

    def _taken(self) -> Iterator[Part]:
        for future in [future for future in self._flying if future.done()]:
            chunk = self._flying.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                self._suspects.append(chunk)
            else:
                yield future.result()

    def suspects(self) -> list[Chunk]:
        """Chunks one of which killed a process; after a death, the processes are new."""
        suspects, self._suspects = self._suspects, []
        if suspects:
            self.end()
            self._executor = _executor(self._workers)
        return suspects

    def end(self) -> None:
        """End the processes without waiting for what they work on."""
        _end(self._executor)


class Isolated:
    """Answers chunks in one child process, and survives its death.

    Args:
        setup: How.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._executor = _executor(1)

    def part(self, chunk: Chunk) -> Part:
        """Answer a chunk; inputs that kill the process are set aside. Raises EdgeKitError as `answered` does."""
        with suppress(BrokenProcessPool):
            return self._executor.submit(_part, self._setup, chunk).result()
        self.close()
        self._executor = _executor(1)
        (part,) = _alone(self._setup, [chunk])
        return part

    def close(self) -> None:
        """End the process."""
        _end(self._executor)


def _alone(setup: Setup, chunks: Sequence[Chunk]) -> Iterator[Part]:
    """Answer chunks that may kill their process, one after the other."""
    if not chunks:
        return
    with _Single(setup) as process:
        for chunk in chunks:
            part = process.part(chunk)
            yield part or process.joined(chunk.digest, one_by_one(chunk, process.each, process.set_aside))


class _Single:
    """One process at a time, replaced when it dies."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._executor = self._start()

    def _start(self) -> ProcessPoolExecutor:
        executor = _executor(1)
        try:
            executor.submit(_ready, self._setup).result()
        except BrokenProcessPool:
            _end(executor)
            raise ModelRefused(
                f"{self._setup.bundle} killed the process that opened it",
                remedy="edgekit verify it; a machine with too little memory ends processes too: fewer --workers",
            ) from None
        return executor

    def _again(self) -> None:
        _end(self._executor)
        self._executor = self._start()

    def part(self, chunk: Chunk) -> Part | None:
        try:
            return self._executor.submit(_part, self._setup, chunk).result()
        except BrokenProcessPool:
            self._again()
            return None

    def each(self, entries: Sequence[Entry]) -> list[list[table.Row] | None]:
        found: list[list[table.Row] | None] = []
        for entry in entries:
            future = self._executor.submit(_rows, self._setup, entry)
            if isinstance(future.exception(), BrokenProcessPool):
                found.append(None)
                self._again()
            else:
                found.append(future.result())
        return found

    def set_aside(self, name: str, error: str) -> table.Row:
        return self._executor.submit(_set_aside, self._setup, name, error).result()

    def joined(self, digest: str, rows: list[table.Row]) -> Part:
        return self._executor.submit(_joined, self._setup, digest, rows).result()

    def __enter__(self) -> _Single:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._executor)


class _Executor(ProcessPoolExecutor):
    """Its processes, which the first `submit` starts, take no Ctrl-C from the beginning on."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _executor(workers: int) -> ProcessPoolExecutor:
    return _Executor(workers, mp_context=get_context("spawn"), initializer=_begin)


def _end(executor: ProcessPoolExecutor) -> None:
    """End the processes without waiting for what they work on."""
    processes = list((executor._processes or {}).values())
    for process in processes:
        with suppress(OSError):
            process.kill()
    executor.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """In a new process: Ctrl-C is the parent's to handle, and the parent's end is ours, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _ours(setup: Setup) -> Answerer:
    if not _opened:
        _opened.append(Answerer(setup))
    return _opened[0]


def _ready(setup: Setup) -> str:
    return _ours(setup).about


def _part(setup: Setup, chunk: Chunk) -> Part:
    return _ours(setup).part(chunk)


def _rows(setup: Setup, entry: Entry) -> list[table.Row]:
    return _ours(setup).rows([entry])


def _set_aside(setup: Setup, name: str, error: str) -> table.Row:
    return _ours(setup).set_aside(name, error)


def _joined(setup: Setup, digest: str, rows: list[table.Row]) -> Part:
    return _ours(setup).part_of(digest, rows)
