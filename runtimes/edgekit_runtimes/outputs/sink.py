"""Where answers go: the interface of every output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgeKitError
from edgekit.tasks import Result


@dataclass(frozen=True)
class Answer:
    """One answered input.

    Attributes:
        name: What to call the input: a file, ``clip.mp4 frame 17``, a sentence.
        result: The typed result.
        picture: The input as ``(height, width, 3)`` uint8, RGB, where it is one and an output wants it. Outputs that
            draw do so on a copy.
        captured: When a live frame was read, seconds since the epoch; ``None`` for files.
        age: Seconds from there to this answer; ``None`` for files.
        rate: Answers a second of late; 0 until it is known.
        dropped: Frames that the source has dropped so far.
        inside: For a photo found in a folder, its path in there; for another file its name.
    """

    name: str
    result: Result
    picture: NDArray[np.uint8] | None = None
    captured: float | None = None
    age: float | None = None
    rate: float = 0.0
    dropped: int = 0
    inside: Path | None = None


class Sink(ABC):
    """Takes answers in the order of the inputs, all from one thread. Use as a context manager.

    Attributes:
        wants_pictures: Whether `Answer.picture` is looked at.
        notice: What its user has to know once it is open, such as the address of a page; empty where nothing.
    """

    wants_pictures: bool = False
    notice: str = ""

    @abstractmethod
    def answer(self, answer: Answer) -> None:
        """Take one answer.

        Raises:
            DataRefused: It cannot be written in this form.
            EnvironmentFault: The output is lost: a full disk, a closed connection.
        """

    def failure(self, name: str, error: EdgeKitError) -> None:  # noqa: B027  many outputs show answers alone
        """Take note that an input has no answer."""

    @property
    def stopped(self) -> bool:
        """Whether the person who looks at it has asked for the end: a closed window, the key q."""
        return False

    def close(self) -> None:  # noqa: B027  many outputs hold nothing
        """Write what is held and release it; called once, after a failure too."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
