"""Ctrl-C and SIGTERM: the first ends a run cleanly, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from edgekit.signals import Stopped

__all__ = ["Stopped", "check_stop", "clean_stop"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


@contextmanager
def clean_stop() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first signal meanwhile; end the process at the second.

    In any other thread signals cannot be received and nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.clear()

    def stop(number: int, _: FrameType | None) -> None:
        if _received:
            os._exit(128 + number)
        _received.append(number)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def check_stop() -> None:
    """Raise `Stopped` for a signal whose exception Python itself dropped, as it does in callbacks of weak references.

    Long loops call it once a round: imports clean up behind themselves in such callbacks, and what comes just then
    would be lost. Only the thread that takes signals is stopped.
    """
    if _received and threading.current_thread() is threading.main_thread():
        raise Stopped(_received[0])
