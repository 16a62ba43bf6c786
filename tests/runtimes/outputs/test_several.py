"""Many outputs as one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgekit.errors import DataRefused, EdgeKitError, EnvironmentFault
from edgekit_runtimes.outputs.several import Several
from edgekit_runtimes.outputs.sink import Answer, Sink

AnswerMaker = Callable[..., Answer]


class Recorder(Sink):
    """Keeps what it gets, and fails as told."""

    def __init__(self, fault: EdgeKitError | None = None, *, at_close: Exception | None = None) -> None:
        self.got: list[str] = []
        self.failed: list[str] = []
        self.closed = 0
        self.fault, self.at_close = fault, at_close
        self.quit = False

    @property
    def stopped(self) -> bool:
        return self.quit

    def answer(self, answer: Answer) -> None:
        if self.fault is not None:
            raise self.fault
        self.got.append(answer.name)

    def failure(self, name: str, error: EdgeKitError) -> None:
        self.failed.append(name)

    def close(self) -> None:
        self.closed += 1
        if self.at_close is not None:
            raise self.at_close


def test_each_gets_everything(make_answer: AnswerMaker) -> None:
    one, other = Recorder(), Recorder()
    other.wants_pictures = True
    other.notice = "look here"
    with Several([one, other]) as sink:
        sink.answer(make_answer("a"))
        sink.failure("b", DataRefused("x"))
        assert sink.wants_pictures
        assert sink.notice == "look here"
        for quit_now in (False, True):
            other.quit = quit_now
            assert sink.stopped is quit_now
    assert one.got == other.got == ["a"]
    assert one.failed == other.failed == ["b"]
    assert one.closed == other.closed == 1


def test_one_that_is_lost_takes_no_other_with_it(make_answer: AnswerMaker) -> None:
    full, good = Recorder(EnvironmentFault("the disk is full")), Recorder()
    told: list[EdgeKitError] = []
    sink = Several([full, good], told.append)
    sink.answer(make_answer("a"))
    assert [str(fault) for fault in told] == ["the disk is full"]
    assert full.closed == 1
    sink.answer(make_answer("b"))
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        sink.close()
    assert good.got == ["a", "b"]
    assert (full.closed, good.closed) == (1, 1)


def test_the_last_one_lost_ends_it(make_answer: AnswerMaker) -> None:
    sink = Several([Recorder(EnvironmentFault("disk")), Recorder(EnvironmentFault("network"))])
    with pytest.raises(EnvironmentFault, match=r"2 outputs were lost:\n  disk\n  network"):
        sink.answer(make_answer())
    sink.close()


def test_a_refusal_by_one_is_no_failure_for_those_that_took_it(make_answer: AnswerMaker) -> None:
    table, strict = Recorder(), Recorder(DataRefused("NaN"))
    sink = Several([table, strict])
    with pytest.raises(DataRefused) as refusal:
        sink.answer(make_answer("a"))
    sink.failure("a", refusal.value)
    sink.failure("b", refusal.value)
    assert table.got == ["a"]
    assert table.failed == ["b"]
    assert strict.failed == ["a", "b"]


def test_all_are_closed_whatever_happens() -> None:
    sinks = [Recorder(at_close=ValueError("odd")), Recorder(at_close=EnvironmentFault("full")), Recorder()]
    with pytest.raises(ValueError, match="odd"):
        Several(sinks).close()
    assert [sink.closed for sink in sinks] == [1, 1, 1]
