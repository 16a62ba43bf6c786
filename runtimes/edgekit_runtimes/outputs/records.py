"""Results as lines of text, each written as soon as it is known: a table for people or JSON lines for programs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TextIO

from edgekit.errors import DataRefused, EdgeKitError
from edgekit.tasks import Result

FORMATS = ("table", "jsonl")


class Records(ABC):
    """Writes results and failures to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @abstractmethod
    def result(self, name: str, result: Result) -> None:
        """Write one result. Raises DataRefused when it cannot be written in this form."""

    @abstractmethod
    def failure(self, name: str, error: EdgeKitError) -> None:
        """Write that an input has no result."""

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class Table(Records):
    """Two columns, input and result. Failures go to the error report alone."""

    def __init__(self, stream: TextIO, width: int) -> None:
        super().__init__(stream)
        self._width = width

    def result(self, name: str, result: Result) -> None:
        """Write a row."""
        self._line(f"{name:<{self._width}}  {result}")

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Leave it to the error report."""


class JsonLines(Records):
    """``{"input": NAME, "result": {…}}`` or ``{"input": NAME, "error": TEXT}``, one a line."""

    def result(self, name: str, result: Result) -> None:
        """Write a line. Raises DataRefused when a number is not finite, which JSON cannot carry."""
        try:
            self._line(json.dumps({"input": name, "result": result.to_dict()}, ensure_ascii=False, allow_nan=False))
        except ValueError as error:
            raise DataRefused(f"{name}: the result holds NaN or infinity", expected="finite numbers") from error

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Write a line."""
        self._line(json.dumps({"input": name, "error": error.received}, ensure_ascii=False))


def records_for(kind: str, stream: TextIO, width: int) -> Records:
    """Return the writer for one of `FORMATS`; ``width`` is that of a table's first column in characters."""
    return JsonLines(stream) if kind == "jsonl" else Table(stream, width)
