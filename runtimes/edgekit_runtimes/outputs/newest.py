"""The newest answer, shared between the pipeline and any number of viewers without either waiting for the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.drawing import Picture
from edgekit.tasks import Result
from edgekit_runtimes.outputs.pictures import drawn
from edgekit_runtimes.outputs.sink import Answer

THERMAL = Path("/sys/class/thermal")

_QUALITY = 80
_LONGEST_SIDE = 1280  # pixels; more costs a board time and a network bandwidth, and no page shows it
_LABELS = 5
_TEXT = 2000  # characters
_TEMPERATURE_EVERY = 2.0  # seconds


@dataclass(frozen=True)
class Posted:
    """An answer and its place in the order.

    Attributes:
        number: Counts from 1.
        answer: The answer.
        at: When it was posted, on :func:`time.monotonic`'s clock.
    """

    number: int
    answer: Answer
    at: float


class Newest:
    """Holds one answer; posting replaces it and never waits.

    Args:
        thermal: Folder of the kernel's thermal zones.
        clock: Seconds, as :func:`time.monotonic`.
    """

    def __init__(self, thermal: Path = THERMAL, clock: Callable[[], float] = time.monotonic) -> None:
        self._thermal = thermal
        self._clock = clock
        self._changed = threading.Condition()
        self._posted: Posted | None = None
        self._closed = False
        self._encoding = threading.Lock()
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._temperature: tuple[float, float | None] | None = None
        self.encoded = 0

    @property
    def closed(self) -> bool:
        """Whether no more answers come."""
        return self._closed

    def post(self, answer: Answer) -> None:
        """Replace the answer and wake who waits."""
        with self._changed:
            number = self._posted.number + 1 if self._posted else 1
            self._posted = Posted(number, answer, self._clock())
            self._changed.notify_all()

    def close(self) -> None:
        """Wake who waits for the last time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def after(self, number: int, timeout: float) -> Posted | None:
        """Wait for an answer newer than ``number``; ``None`` when none came in ``timeout`` seconds or none will."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._number > number, timeout)
            return self._posted if self._number > number else None

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    def jpeg(self, posted: Posted) -> bytes:
        """Return the picture of an answer as JPEG, encoded once for all viewers; empty where it has none.

        A viewer that comes late gets a newer picture instead.
        """
        with self._encoding:
            if self._jpeg[0] < posted.number:
                self._jpeg = (posted.number, b"" if posted.answer.picture is None else _encode(posted.answer))
                self.encoded += 1
            return self._jpeg[1]

    def status(self) -> dict[str, Any]:
        """Return what the page shows beside the picture, ready for JSON."""
        posted = self._posted
        status: dict[str, Any] = {
            "state": "ended" if self._closed else "running" if posted else "waiting",
            "temperature": self._read_temperature(),
        }
        if posted is None:
            return status
        answer = posted.answer
        return status | {
            "input": answer.name,
            "text": str(answer.result)[:_TEXT],
            "labels": _labels(answer.result),
            "picture": answer.picture is not None,
            "answers": posted.number,
            "since": round(self._clock() - posted.at, 3),
            "age": answer.age,
            "rate": answer.rate,
            "dropped": answer.dropped,
        }

    @property
    def _number(self) -> int:
        return self._posted.number if self._posted else 0

    def _read_temperature(self) -> float | None:
        now = self._clock()
        if self._temperature is None or now - self._temperature[0] >= _TEMPERATURE_EVERY:
            self._temperature = (now, temperature(self._thermal))
        return self._temperature[1]


def temperature(thermal: Path = THERMAL) -> float | None:
    """Return the processor's temperature in °C, the hottest zone where none is named after it; ``None`` without any.

    Args:
        thermal: Folder with ``thermal_zone*/type`` and ``temp`` (thousandths of a degree).
    """
    zones: list[tuple[bool, float]] = []
    for zone in thermal.glob("thermal_zone*"):
        try:
            kind = (zone / "type").read_text().strip().lower()
            zones.append(("cpu" in kind or "x86_pkg" in kind, int((zone / "temp").read_text()) / 1000))
        except (OSError, ValueError):  # noqa: PERF203  a zone that is switched off cannot be read
            continue
    return max(zones)[1] if zones else None


def _labels(result: Result) -> list[Mapping[str, Any]]:
    """Return the best classes; empty for other results."""
    labels = getattr(result, "labels", ())
    if not all(hasattr(label, "score") and hasattr(label, "name") for label in labels):
        return []
    return [{"name": label.name, "score": label.score if 0 <= label.score <= 1 else None} for label in labels[:_LABELS]]


def _encode(answer: Answer) -> bytes:
    import cv2

    # Classes are shown as bars beside the picture; any other result belongs into it.
    picture = answer.picture if _labels(answer.result) else drawn(answer)
    assert picture is not None  # noqa: S101  asked by the caller
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(_reduced(picture), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )[1]
    return bytes(encoded)


def _reduced(picture: Picture) -> Picture:
    import cv2

    scale = _LONGEST_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    smaller: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return smaller
