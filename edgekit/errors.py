"""Every error a user can cause.

    EdgeKitError                      exit code
    ├── UsageError                        2   the command line or an argument is wrong
    ├── InputRefused                      3   a file, model or data set is not accepted
    │   ├── ModelRefused                      source models and artifacts
    │   ├── DataRefused                       calibration, evaluation and run inputs
    │   ├── SpecRefused                       the description of inputs and preprocessing
    │   └── BundleRefused                     a bundle that is damaged, foreign or newer
    ├── QualityError                      4   parity or quality was not met
    ├── EnvironmentFault                  5   something is missing on this machine
    │   └── MissingExtra                      an optional dependency is not installed
    └── PartialFailure                    6   finished, with some items failed

A message says what was received, what was expected and the remedy.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BundleRefused",
    "DataRefused",
    "EdgeKitError",
    "EnvironmentFault",
    "InputRefused",
    "MissingExtra",
    "ModelRefused",
    "PartialFailure",
    "QualityError",
    "SpecRefused",
    "UsageError",
]


class EdgeKitError(Exception):
    """Base of all errors raised on purpose; the command line prints it and exits with its code.

    Args:
        received: What was found, with the name of the file, tensor or option.
        expected: What would have been accepted (optional).
        remedy: What to do about it (optional only where nothing can be done).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, received: str, *, expected: str | None = None, remedy: str | None = None) -> None:
        self.received = received
        self.expected = expected
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.received
        if self.expected:
            text += f"; expected {self.expected}"
        if self.remedy:
            text += f"\n  remedy: {self.remedy}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.received, self.expected, self.remedy))


_REASON_SHOWN = 400


def reason(error: BaseException) -> str:
    """Return what a library said, in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _REASON_SHOWN else text[:_REASON_SHOWN] + " …"


def _rebuild(kind: type[EdgeKitError], received: str, expected: str | None, remedy: str | None) -> EdgeKitError:
    return kind(received, expected=expected, remedy=remedy)


class UsageError(EdgeKitError):
    """The command line or an argument is wrong."""

    exit_code = 2


class InputRefused(EdgeKitError):
    """A file, model or data set is not accepted."""

    exit_code = 3


class ModelRefused(InputRefused):
    """A source model or an artifact cannot be used."""


class DataRefused(InputRefused):
    """Calibration, evaluation or run data cannot be used."""


class SpecRefused(InputRefused):
    """The spec contradicts itself or the model."""


class BundleRefused(InputRefused):
    """A bundle is damaged, foreign or written by a newer version."""


class QualityError(EdgeKitError):
    """Parity or quality was not met."""

    exit_code = 4


class EnvironmentFault(EdgeKitError):
    """Something is missing on this machine: an engine, a provider, a device, disk space."""

    exit_code = 5


class MissingExtra(EnvironmentFault):
    """An optional dependency is not installed."""


class PartialFailure(EdgeKitError):
    """The work was finished, with some items failed."""

    exit_code = 6
