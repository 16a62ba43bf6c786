"""SIGTERM, which unwinds a command as Ctrl-C does: what it has half written is removed on the way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_received: list[int] = []


class Stopped(KeyboardInterrupt):
    """The user or the system asked for the end.

    Args:
        number: Number of the signal.

    Attributes:
        code: Exit code of a process that a signal ends, ``128 + number``.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def exit_code(stop: BaseException) -> int:
    """Exit code of a process that was stopped: Python's own exception of Ctrl-C has none.

    Libraries that wait in native code, such as Ray, raise that one whatever the handler of the signal raised.
    """
    return stop.code if isinstance(stop, Stopped) else 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first SIGTERM meanwhile; end the process at the second.

    Nothing is changed in another thread, which receives no signals, nor where somebody else handles or ignores it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    owner = os.getpid()
    _received.clear()

    def stop(number: int, _: FrameType | None) -> None:
        if _received or os.getpid() != owner:  # a fork has nothing of its own to remove
            os._exit(128 + number)
        _received.append(number)
        raise Stopped(number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
