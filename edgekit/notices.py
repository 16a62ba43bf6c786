"""Where a process says what it is doing, also one whose standard error is kept for its parent.

A child that runs a model has its standard error collected, to be shown when it dies. What takes minutes there is worth
a line at once, so the parent hands its own standard error on beside it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

VARIABLE = "EDGEKIT_NOTICES"
"""Holds the number of the file descriptor, and which file that is: a process that was not handed it may have another
file open under the number."""


@contextmanager
def handed_on() -> Iterator[dict[str, Any]]:
    """Give the arguments of ``subprocess.Popen`` that hand this process's standard error to a child."""
    number = _handed()
    try:
        number = os.dup(2 if number is None else number)
    except OSError:  # closed: then nobody reads it
        yield {}
        return
    try:
        yield {"pass_fds": (number,), "env": {**os.environ, VARIABLE: f"{number}:{_identity(number)}"}}
    finally:
        os.close(number)


@contextmanager
def opened() -> Iterator[TextIO]:
    """Open the stream for notices: the one that was handed on, or standard error."""
    number = _handed()
    if number is None:
        yield sys.stderr
        return
    stream = os.fdopen(os.dup(number), "w", encoding="utf-8", errors="replace")
    try:
        yield stream
    finally:
        with suppress(OSError):  # a parent that has gone reads nothing
            stream.close()


def _handed() -> int | None:
    number, _, identity = os.environ.get(VARIABLE, "").partition(":")
    if not number.isdecimal():
        return None
    try:
        return int(number) if _identity(int(number)) == identity else None
    except OSError:
        return None


def _identity(number: int) -> str:
    status = os.fstat(number)
    return f"{status.st_dev}:{status.st_ino}"
