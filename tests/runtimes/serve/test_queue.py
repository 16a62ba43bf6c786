"""The bounded queue, without a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from edgekit_runtimes.serve.queue import QueueFull, Worker


@pytest.fixture
def worker() -> Iterator[Worker[str]]:
    made = Worker("test", ["only"], queue=2)
    yield made
    made.close()


def hold(worker: Worker[str]) -> threading.Event:
    """Occupy the only thread; the event frees it."""
    entered, leave = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        entered.set()
        leave.wait(10)

    worker.submit(wait)
    assert entered.wait(10)
    return leave


def test_jobs_run_in_order_on_the_threads_own_resource(worker: Worker[str]) -> None:
    seen: list[tuple[str, int]] = []
    leave = hold(worker)
    futures = [worker.submit(lambda resource, number=number: seen.append((resource, number))) for number in range(5)]  # type: ignore[misc]
    assert worker.waiting == 5
    leave.set()
    for future in futures:
        future.result(10)
    assert seen == [("only", number) for number in range(5)]
    assert worker.waiting == 0


def test_more_than_the_threads_and_the_queue_is_refused(worker: Worker[str]) -> None:
    assert worker.capacity == 3
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(worker.admitted())
        with pytest.raises(QueueFull), worker.admitted():
            pass
    with worker.admitted():  # the places are free again
        pass


def test_a_cancelled_job_leaves_the_queue_and_never_runs(worker: Worker[str]) -> None:
    ran = []
    leave = hold(worker)
    unwanted = worker.submit(lambda _: ran.append("unwanted"))
    wanted = worker.submit(lambda _: ran.append("wanted"))
    assert unwanted.cancel()
    assert worker.waiting == 1
    leave.set()
    wanted.result(10)
    assert ran == ["wanted"]


def test_a_job_that_fails_does_not_end_the_thread(worker: Worker[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda _: 1 / 0).result(10)
    assert worker.submit(lambda resource: resource).result(10) == "only"


def test_closing_cancels_what_waits_and_says_whether_a_thread_is_stuck() -> None:
    worker = Worker("test", ["only"], queue=2)
    leave = hold(worker)
    waiting = worker.submit(lambda _: None)
    assert not worker.close(0.01)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(lambda _: None)
    leave.set()
    assert worker.close(10)
