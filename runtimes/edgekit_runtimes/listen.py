"""Live sound: the newest window is heard again and again; words are told when they are over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgekit.errors import DataRefused
from edgekit.sound.reading import Sound
from edgekit.tasks import Result
from edgekit.tasks.audio_classification import Event, Keywords, KeywordSpotting, Spotter
from edgekit.tasks.sound import SoundTask
from edgekit_runtimes.inputs.frames import Frame, FrameSource
from edgekit_runtimes.predictor import Predictor


@dataclass(frozen=True)
class Heard:
    """What became of one window.

    Attributes:
        name: What to call the window.
        captured: When it was complete, on the clock of :func:`time.monotonic`, seconds.
        result: The answer; ``None`` where no word ended with this window.
        error: Why there is none.
    """

    name: str
    captured: float
    result: Result | None = None
    error: DataRefused | None = None


def listen(predictor: Predictor, source: FrameSource) -> Iterator[Heard]:
    """Answer the newest window of live sound until it ends.

    Keyword spotting tells each word once, when it is over, with seconds since the start; other tasks tell each window.

    Args:
        predictor: Of a task on sound.
        source: Windows of int16 samples.
    """
    task = predictor.task
    assert isinstance(task, SoundTask)  # noqa: S101  live sound is opened for these alone
    spotting = _Spotting(predictor, task) if isinstance(task, KeywordSpotting) else None
    captured = 0.0
    for frame in source:
        name, captured = f"{source.name} window {frame.number}", frame.captured
        try:
            result = spotting.hears(frame) if spotting else predictor.predict(_sound(frame, task))
        except DataRefused as error:
            yield Heard(name, captured, error=error)
        else:
            yield Heard(name, captured, result)
    if spotting and (rest := spotting.finish()):
        yield Heard(f"{source.name} at its end", captured, rest)


class _Spotting:
    """Windows of live sound to words."""

    def __init__(self, predictor: Predictor, task: KeywordSpotting) -> None:
        self._predictor, self._task = predictor, task
        self._spotter = Spotter(task)
        self._next = 0
        self._seconds = 0.0

    def hears(self, frame: Frame) -> Keywords | None:
        task = self._task
        outputs = self._predictor.runner.run(task.encode(_sound(frame, task)))
        events = self._spotter.hears(task.shares(outputs), frame.number - self._next)
        self._next = frame.number + 1
        self._seconds = (frame.number * task.sound.step + task.sound.window) / task.sound.sample_rate
        return self._told(events)

    def finish(self) -> Keywords | None:
        return self._told(self._spotter.finish())

    def _told(self, events: list[Event]) -> Keywords | None:
        return Keywords(tuple(events), self._seconds) if events else None


def _sound(frame: Frame, task: SoundTask) -> Sound:
    return Sound(frame.picture.view(np.int16), task.sound.sample_rate)
