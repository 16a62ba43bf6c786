"""A bounded queue before the threads that run a model: what does not fit is refused at once, never kept waiting.

A request is admitted before its body is read, so the memory that waiting requests hold is bounded as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

Resource = TypeVar("Resource")
Result = TypeVar("Result")


class QueueFull(Exception):
    """As many requests as are allowed are being answered or waiting already."""


class Worker(Generic[Resource]):
    """Runs jobs on threads that own one resource each, in the order they came.

    Args:
        name: Of the threads.
        resources: One for each thread; nothing else uses them.
        queue: Requests that may wait beside those that run.

    Attributes:
        capacity: Requests that may be admitted at once.
        resources: What the threads own.
    """

    def __init__(self, name: str, resources: Sequence[Resource], queue: int) -> None:
        self.capacity = len(resources) + queue
        self.resources = tuple(resources)
        self._admitted = 0
        self._jobs: deque[tuple[Future[Any], Callable[[Resource], Any]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        # Daemons: a native call cannot be interrupted, and must not keep a process alive that was told to end.
        self._threads = [
            threading.Thread(target=self._work, args=(resource,), name=f"{name}-{number}", daemon=True)
            for number, resource in enumerate(self.resources)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return len(self._jobs)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold a place for one request. Raises QueueFull when there is none."""
        with self._changed:
            if self._admitted >= self.capacity:
                raise QueueFull
            self._admitted += 1
        try:
            yield
        finally:
            with self._changed:
                self._admitted -= 1

    def submit(self, job: Callable[[Resource], Result]) -> Future[Result]:
        """Run a job on the next free thread.

        Returns:
            The result to come; cancelling it takes a job that still waits out of the queue.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the worker is closed")
            self._jobs.append((future, job))
            self._changed.notify()
        future.add_done_callback(self._forget)
        return future

    def close(self, seconds: float = 0.5) -> bool:
        """Take no more jobs, cancel those that wait, and let the threads end.

        Args:
            seconds: To wait for all of them together.

        Returns:
            Whether all threads ended in time; one that is inside a native call cannot be stopped.
        """
        with self._changed:
            self._closed = True
            waiting = [future for future, _ in self._jobs]
            self._changed.notify_all()
        for future in waiting:
            future.cancel()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _forget(self, future: Future[Any]) -> None:
        if not future.cancelled():
            return
        with self._changed:
            for job in self._jobs:
                if job[0] is future:
                    self._jobs.remove(job)
                    return

    def _work(self, resource: Resource) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                future, job = self._jobs.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(job(resource))
                except BaseException as error:  # it is the request's, not the thread's
                    future.set_exception(error)
            del future, job  # while the thread waits it must not hold the last request's body
