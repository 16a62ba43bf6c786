"""Says that an engine is being built, and for how long already, while a library is busy with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from edgekit.notices import opened

SCREEN_SECONDS, FILE_SECONDS = 1.0, 30.0
"""Between two lines: on a screen, where each replaces the one before, and elsewhere."""
_CLEAR = "\r\x1b[K"


@contextmanager
def announced(what: str, kept: str, *, every: float | None = None) -> Iterator[None]:
    """Tell on standard error that something is being built, until it is, or has failed.

    Args:
        what: What is built, e.g. ``the TensorRT engine of model.int8.onnx``.
        kept: Where it is kept.
        every: Seconds between two lines; by default 1 on a screen and 30 elsewhere.
    """
    with opened() as stream:
        screen = stream.isatty()
        _say(stream, f"building {what}, this can take minutes; it is kept in {kept}\n")
        over, started = threading.Event(), time.monotonic()
        seconds = every if every is not None else SCREEN_SECONDS if screen else FILE_SECONDS
        ticker = threading.Thread(target=_tick, args=(stream, over, started, seconds, screen), daemon=True)
        ticker.start()
        word = "could not build"
        try:
            yield
            word = "built"
        finally:
            over.set()
            ticker.join()
            _say(stream, f"{_CLEAR if screen else ''}{word} {what} in {time.monotonic() - started:.0f} s\n")


def _tick(stream: TextIO, over: threading.Event, started: float, seconds: float, screen: bool) -> None:
    while not over.wait(seconds):
        text = f"still building, {time.monotonic() - started:.0f} s"
        _say(stream, f"{_CLEAR}{text}" if screen else f"{text}\n")


def _say(stream: TextIO, text: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more: that must not end the building
        stream.write(text)
        stream.flush()
