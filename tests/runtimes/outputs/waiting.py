"""Waiting for what has no event of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for at most 10 s."""
    pause = threading.Event()
    for _ in range(500):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail("it did not come to pass in 10 s")
