"""A live run on sound: the newest window is heard again and again; words are told when they are over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import DataRefused
from edgekit.sound.reading import Sound
from edgekit.tasks.audio_classification import Event, Keywords, KeywordSpotting, Spotter
from edgekit.tasks.sound import SoundTask
from edgekit_runtimes.inputs.frames import Frame, FrameSource
from edgekit_runtimes.outputs.sink import Answer

if TYPE_CHECKING:
    from edgekit_runtimes.run import Run


def listen(job: Run, source: FrameSource, limit: int | None) -> None:
    """Answer the newest window of live sound.

    Keyword spotting tells its events, each once and with seconds since the start; other tasks tell each window.

    Args:
        job: Whose predictor answers and whose sink is told.
        source: Windows of int16 samples.
        limit: Windows to answer; ``None`` goes on until the source ends.
    """
    task = job.predictor.task
    assert isinstance(task, SoundTask)  # noqa: S101  live sound is opened for these alone
    hear: Callable[[Frame], list[Any]]
    spotting = _Spotting(job, task) if isinstance(task, KeywordSpotting) else None
    hear = spotting.hears if spotting else lambda frame: [job.predictor.predict(_sound(frame, task))]
    heard = 0
    for frame in source:
        name = f"{source.name} window {frame.number}"
        try:
            _tell(job, source, frame, name, hear(frame))
        except DataRefused as error:
            job._refused(name, error)
        heard += 1
        if job.sink.stopped or (limit is not None and heard >= limit):
            break
    if spotting and (rest := spotting.finish()):
        job._answer(Answer(f"{source.name} at its end", rest[0]))


class _Spotting:
    """Windows of live sound to events."""

    def __init__(self, job: Run, task: KeywordSpotting) -> None:
        self._job, self._task = job, task
        self._spotter = Spotter(task)
        self._next = 0
        self._seconds = 0.0

    def hears(self, frame: Frame) -> list[Keywords]:
        task = self._task
        outputs = self._job.predictor.runner.run(task.encode(_sound(frame, task)))
        events = self._spotter.hears(task.shares(outputs), frame.number - self._next)
        self._next = frame.number + 1
        self._seconds = (frame.number * task.sound.step + task.sound.window) / task.sound.sample_rate
        return self._told(events)

    def finish(self) -> list[Keywords]:
        return self._told(self._spotter.finish())

    def _told(self, events: list[Event]) -> list[Keywords]:
        return [Keywords(tuple(events), self._seconds)] if events else []


def _sound(frame: Frame, task: SoundTask) -> Sound:
    return Sound(frame.picture.view(np.int16), task.sound.sample_rate)


def _tell(job: Run, source: FrameSource, frame: Frame, name: str, results: list[Any]) -> None:
    age = time.monotonic() - frame.captured
    rate = job._rate.tick()
    for result in results:
        job._answer(Answer(name, result, None, time.time() - age, age, rate, source.status.dropped))
    if not results:
        job.done += 1
