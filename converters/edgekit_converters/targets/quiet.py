"""Keep what conversion libraries print away from the terminal, and at hand for an error message.

The libraries print through Python (`print`, `warnings`, `logging`, progress bars) and from C++ straight to file
descriptors 1 and 2, so both levels are diverted. Whoever must write to the terminal meanwhile (a live progress
display) needs its own duplicate of the descriptor, taken before.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO

_KEPT_BYTES = 64 * 1024
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Noise:
    """What was printed while `quiet` was active."""

    def __init__(self) -> None:
        self._text = ""

    def keep(self, text: str) -> None:
        """Store the text, without terminal codes."""
        self._text = _TERMINAL_CODES.sub("", text).replace("\r", "\n")

    @property
    def text(self) -> str:
        """The last 64 KiB of what was printed; complete once `quiet` was left."""
        return self._text

    def tail(self, lines: int = 3) -> str:
        """The last lines that are not blank, each cut at 200 characters."""
        kept = [line.strip()[:200] for line in self._text.splitlines() if line.strip()]
        return "\n".join(kept[-lines:])


class _Diverted(io.TextIOBase):
    """A text stream that goes to a file while diverted and to the original ever after.

    A library that keeps a reference to `sys.stderr` (a logging handler made during a conversion) thus never holds
    a closed file.
    """

    def __init__(self, file: io.TextIOWrapper, original: TextIO) -> None:
        self._file: TextIO = file
        self._original = original

    def restore(self) -> None:
        self._file = self._original

    def write(self, text: str) -> int:
        return self._file.write(text)

    def flush(self) -> None:
        self._file.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._file.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._file.encoding


@contextmanager
def quiet() -> Iterator[Noise]:
    """Divert everything printed in this process, by Python or C++, until the block is left.

    Yields:
        What was printed; filled when the block is left, by an exception too.
    """
    noise = Noise()
    with tempfile.TemporaryFile() as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", write_through=True)
        try:
            with ExitStack() as stack:
                _divert_descriptors(stack, raw.fileno())
                _divert_streams(stack, file)
                _divert_logging(stack, file)
                _divert_warnings(stack, file)
                yield noise
        finally:
            with suppress(ValueError, OSError):
                file.flush()
                size = raw.seek(0, os.SEEK_END)
                raw.seek(max(0, size - _KEPT_BYTES))
                noise.keep(raw.read().decode("utf-8", errors="replace"))
            file.detach()


def _divert_descriptors(stack: ExitStack, target: int) -> None:
    for descriptor in (1, 2):
        with suppress(OSError):  # a daemon may have closed them
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(target, descriptor)


def _divert_streams(stack: ExitStack, file: io.TextIOWrapper) -> None:
    for name in ("stdout", "stderr"):
        original = getattr(sys, name)
        if original is None:
            continue
        with suppress(ValueError, OSError):
            original.flush()
        diverted = _Diverted(file, original)
        setattr(sys, name, diverted)
        stack.callback(setattr, sys, name, original)
        stack.callback(diverted.restore)


def _divert_logging(stack: ExitStack, file: io.TextIOWrapper) -> None:
    """Give the root logger a handler: `logging.warning` would else install one on the terminal for good."""
    handler: logging.StreamHandler[Any] = logging.StreamHandler(file)
    logging.root.addHandler(handler)
    stack.callback(logging.root.removeHandler, handler)


def _divert_warnings(stack: ExitStack, file: io.TextIOWrapper) -> None:
    def show(message: Any, category: Any, *_: Any, **__: Any) -> None:
        file.write(f"{category.__name__}: {str(message).strip().splitlines()[0]}\n")

    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("default")
    warnings.showwarning = show
