"""Results as a file that appears when everything is written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from edgekit.atomic import atomic_file
from edgekit.errors import EdgeKitError
from edgekit_runtimes.outputs.records import Records
from edgekit_runtimes.outputs.sink import Answer, Sink


class TextFile(Sink):
    """Writes a table or CSV beside ``path`` and puts it in place on `close`.

    An old file stays until then, and for good when nothing is written or the disk is full.

    Args:
        path: The file.
        make: Gives the writer for a stream.
    """

    def __init__(self, path: Path, make: Callable[[TextIO], Records]) -> None:
        self.path = path
        self._make = make
        self._stack = ExitStack()
        self._records: Records | None = None

    def answer(self, answer: Answer) -> None:
        """Write one answer; raises as the writer does."""
        self._write(lambda records: records.answer(answer))

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Write a failure; raises as the writer does."""
        self._write(lambda records: records.failure(name, error))

    def close(self) -> None:
        """Put the file in place. Raises EnvironmentFault when the disk is full."""
        if self._records is not None:
            self._write(Records.close)
        self._stack.close()

    def _write(self, call: Callable[[Records], None]) -> None:
        try:
            if self._records is None:
                temporary = self._stack.enter_context(atomic_file(self.path))
                stream = self._stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
                self._records = self._make(stream)
            call(self._records)
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Remove what was written, and raise the error as the fault it is."""
        self._stack.__exit__(type(error), error, error.__traceback__)
        raise error
