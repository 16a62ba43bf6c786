"""A run: what is answered, what is refused, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import Bundle
from edgekit.errors import DataRefused, EdgeKitError, PartialFailure
from edgekit_runtimes.inputs.frames import Frame, FrameSource, SourceStatus
from edgekit_runtimes.inputs.items import Item
from edgekit_runtimes.outputs.sink import Answer, Sink
from edgekit_runtimes.predictor import Predictor, load
from edgekit_runtimes.run import Rate, Run


class Camera(FrameSource):
    """Frames that were taken a tenth of a second ago, of which every other one is dropped."""

    name, live, rate = "camera:7", True, 30.0

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        self._shapes, self._given, self.closed = shapes, 0, False

    def __iter__(self) -> Iterator[Frame]:
        for number, shape in enumerate(self._shapes):
            self._given = number + 1
            yield Frame(np.full(shape, number % 256, np.uint8), 2 * number, time.monotonic() - 0.1)

    @property
    def status(self) -> SourceStatus:
        """As many dropped as given."""
        return SourceStatus(frames=2 * self._given, dropped=self._given)

    def close(self) -> None:
        """Remember."""
        self.closed = True


class Noted(Sink):
    """Keeps what it is given; asks for the end after some answers."""

    def __init__(self, *, end: int = 10_000, pictures: bool = False, refuses: str = "") -> None:
        self.answers: list[Answer] = []
        self.failures: list[tuple[str, EdgeKitError]] = []
        self.wants_pictures, self._end, self._refuses = pictures, end, refuses

    def answer(self, answer: Answer) -> None:
        """Keep it."""
        if answer.name == self._refuses:
            raise DataRefused("cannot be written")
        self.answers.append(answer)

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Keep it."""
        self.failures.append((name, error))

    @property
    def stopped(self) -> bool:
        """After so many answers."""
        return len(self.answers) >= self._end


@pytest.fixture
def predictor(person_bundle: Bundle) -> Iterator[Predictor]:
    """The person detector."""
    with load(person_bundle.path) as opened:
        yield opened


def items_of(*values: Any) -> list[Item]:
    """Items with these values."""
    return [Item(f"item {n}", lambda value=value: value, Path(f"{n}.png")) for n, value in enumerate(values)]  # type: ignore[misc]


PICTURE = np.full((20, 20, 3), 99, np.uint8)


def test_live_answers_tell_age_rate_and_what_was_dropped(predictor: Predictor) -> None:
    sink, camera = Noted(), Camera(*[(20, 20, 3)] * 4)
    before = time.time()
    Run(predictor, sink).live(camera)
    assert [answer.name for answer in sink.answers] == [f"camera:7 frame {n}" for n in (0, 2, 4, 6)]
    assert [answer.dropped for answer in sink.answers] == [1, 2, 3, 4]
    for answer in sink.answers:
        assert answer.age is not None
        assert answer.captured is not None
        assert 0.1 <= answer.age < 5
        assert before - 0.2 < answer.captured < time.time() - 0.09
    assert sink.answers[0].rate == 0 < sink.answers[3].rate
    assert not camera.closed
    assert all(answer.picture is None for answer in sink.answers)


def test_pictures_go_to_outputs_that_want_them(predictor: Predictor) -> None:
    sink = Noted(pictures=True)
    run = Run(predictor, sink)
    run.live(Camera((20, 20, 3)))
    run.over(items_of(PICTURE))
    shapes = [answer.picture.shape for answer in sink.answers if answer.picture is not None]
    assert shapes == [(20, 20, 3), (20, 20, 3)]


def test_a_frame_that_is_refused_does_not_end_a_live_run(predictor: Predictor) -> None:
    sink = Noted()
    run = Run(predictor, sink)
    run.live(Camera((20, 20, 3), (20, 20, 7), (20, 20, 3)))
    assert (run.done, run.refused) == (2, 1)
    assert [name for name, _ in sink.failures] == ["camera:7 frame 2"]
    with pytest.raises(PartialFailure, match="1 of 3 inputs failed"):
        run.finish()


@pytest.mark.parametrize("limit", [1, 3])
def test_a_live_run_ends_at_its_limit(predictor: Predictor, limit: int) -> None:
    sink = Noted()
    Run(predictor, sink).live(Camera(*[(20, 20, 3)] * 9), limit=limit)
    assert len(sink.answers) == limit


def test_an_output_can_ask_for_the_end(predictor: Predictor) -> None:
    sink = Noted(end=2)
    Run(predictor, sink).live(Camera(*[(20, 20, 3)] * 9))
    assert len(sink.answers) == 2
    sink = Noted(end=3)
    Run(predictor, sink).over(items_of(*[PICTURE] * 40))
    assert len(sink.answers) == 3


def test_what_an_output_cannot_write_is_a_failure_of_that_input(predictor: Predictor) -> None:
    sink = Noted(refuses="item 1")
    run = Run(predictor, sink)
    run.over(items_of(PICTURE, PICTURE, PICTURE))
    assert [answer.inside for answer in sink.answers] == [Path("0.png"), Path("2.png")]
    assert [name for name, _ in sink.failures] == ["item 1"]


def test_a_single_refusal_is_raised_as_it_is(predictor: Predictor) -> None:
    run = Run(predictor, Noted())
    run.over(items_of(np.zeros(3)))
    with pytest.raises(DataRefused, match="a picture of shape"):
        run.finish()


def test_refusals_are_counted_without_end_and_listed_up_to_a_thousand(predictor: Predictor) -> None:
    run = Run(predictor, Noted())
    run.live(Camera(*[(20, 20, 7)] * 1200))
    assert (run.refused, len(run.failed)) == (1200, 1000)


def test_the_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.1, 0.2, 10.0, 10.5, 11.0])
    monkeypatch.setattr("edgekit_runtimes.run.time.monotonic", lambda: next(clock))
    rate = Rate()
    rates = [rate.tick() for _ in range(6)]
    assert rates[0] == 0
    assert rates[2] == pytest.approx(10)
    assert rates[5] == pytest.approx(2)
