"""LiteRT writes notes for its developers to the process's standard error and offers no switch for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_STDERR = 2


@contextmanager
def without_native_info() -> Iterator[None]:
    """Drop the lines starting with ``INFO:`` that native code writes to standard error meanwhile.

    Everything else, from any thread, is passed on in order when the block ends.
    """
    with _LOCK, os.fdopen(_scratch(), "r+b", buffering=0) as caught:
        try:
            original = os.dup(_STDERR)
        except OSError:  # standard error is closed: nothing can be written and nothing needs catching
            yield
            return
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(original, _STDERR)
            os.close(original)
            caught.seek(0)
            _pass_on(caught.read())


def _scratch() -> int:
    """Open a file without a name: in memory where the system can, which also spares the import of tempfile."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stderr")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _pass_on(text: bytes) -> None:
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith(b"INFO:")]
    if kept:
        os.write(_STDERR, b"".join(kept))
