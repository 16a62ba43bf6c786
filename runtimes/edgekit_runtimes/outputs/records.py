"""Results as lines of text, each written as soon as it is known: a table for people, JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from edgekit.errors import DataRefused, EdgeKitError
from edgekit.tasks import Result
from edgekit_runtimes.outputs.sink import Answer, Sink

FORMATS = ("table", "jsonl", "csv")

_LIVE = ("captured", "age", "rate", "dropped")


class Records(Sink):
    """Writes results and failures to a stream, which stays open."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @abstractmethod
    def answer(self, answer: Answer) -> None:
        """Write one answer. Raises DataRefused when it cannot be written in this form."""

    def result(self, name: str, result: Result) -> None:
        """Write the result of a file: `answer` without what only live inputs have."""
        self.answer(Answer(name, result))

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


class Table(Records):
    """Two columns, input and result; of live inputs also age and rate. Failures go to the error report alone."""

    def __init__(self, stream: TextIO, width: int) -> None:
        super().__init__(stream)
        self._width = width

    def answer(self, answer: Answer) -> None:
        """Write a row."""
        live = "" if answer.age is None else f"{1000 * answer.age:5.0f} ms  {answer.rate:5.1f}/s  "
        self._line(f"{answer.name:<{self._width}}  {live}{answer.result}")


class JsonLines(Records):
    """``{"input": NAME, "result": {…}}`` or ``{"input": NAME, "error": TEXT}``, one a line.

    Answers of live inputs also have ``captured`` (seconds since the epoch), ``age`` (seconds), ``rate`` (answers a
    second) and ``dropped`` (frames).
    """

    def answer(self, answer: Answer) -> None:
        """Write a line. Raises DataRefused when a number is not finite, which JSON cannot carry."""
        self._line(answer_line(answer))

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Write a line."""
        self._line(failure_line(name, error))


class Csv(Records):
    """Comma-separated values with one header, which the first answer decides.

    A classification gives ``input,label_1,score_1,label_2,…``; any other result its JSON form, nested names joined
    by dots and lists as JSON text. Live inputs add the columns of `JsonLines`; ``error`` is the last one. Failures
    before the first answer wait for the header.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._writer: csv.DictWriter[str] | None = None
        self._waiting: list[tuple[str, str]] = []

    def answer(self, answer: Answer) -> None:
        """Write a row. Raises DataRefused when it has columns that the header lacks, or numbers that are not finite."""
        row = {"input": answer.name, **_cells(answer.name, answer.result.to_dict()), **_live(answer)}
        if self._writer is None:
            self._begin(tuple(row))
        assert self._writer is not None  # noqa: S101  set by _begin
        unknown = [column for column in row if column not in self._writer.fieldnames]
        if unknown:
            raise DataRefused(
                f"{answer.name}: the result has {', '.join(unknown)}, which the first result had not",
                expected="results of one shape in a CSV file",
                remedy="write JSON lines instead",
            )
        self._row(row)

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Write a row with the error alone."""
        if self._writer is None:
            self._waiting.append((name, error.received))
        else:
            self._row({"input": name, "error": error.received})

    def close(self) -> None:
        """Write the failures where there was no answer at all."""
        if self._writer is None and self._waiting:
            self._begin(("input",))

    def _begin(self, columns: tuple[str, ...]) -> None:
        self._writer = csv.DictWriter(self.stream, (*columns, "error"), lineterminator="\n")
        self._writer.writeheader()
        for name, error in self._waiting:
            self._row({"input": name, "error": error})
        self._waiting.clear()

    def _row(self, row: Mapping[str, Any]) -> None:
        assert self._writer is not None  # noqa: S101  set by _begin
        self._writer.writerow(row)
        self.stream.flush()


def records_for(kind: str, stream: TextIO, width: int) -> Records:
    """Return the writer for one of `FORMATS`; ``width`` is that of a table's first column in characters."""
    if kind == "csv":
        return Csv(stream)
    return JsonLines(stream) if kind == "jsonl" else Table(stream, width)


def answer_dict(answer: Answer) -> dict[str, Any]:
    """Return the JSON form of an answer, as `JsonLines` describes it."""
    return {"input": answer.name, "result": answer.result.to_dict(), **_live(answer)}


def answer_line(answer: Answer) -> str:
    """Return an answer as one line of JSON. Raises DataRefused when a number is not finite."""
    return finite_json(answer.name, answer_dict(answer))


def failure_line(name: str, error: EdgeKitError) -> str:
    """Return a failure as one line of JSON."""
    return json.dumps({"input": name, "error": error.received}, ensure_ascii=False)


def _live(answer: Answer) -> dict[str, float | int | None]:
    if answer.captured is None and answer.age is None:
        return {}
    return {key: getattr(answer, key) for key in _LIVE}


def finite_json(name: str, value: Any) -> str:
    """Return a value as one line of JSON. Raises DataRefused, naming the input, when a number is not finite."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise DataRefused(f"{name}: the result holds NaN or infinity", expected="finite numbers") from error


def _cells(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    labels = result.get("labels")
    if isinstance(labels, list) and labels and all(isinstance(item, dict) and "score" in item for item in labels):
        pairs = enumerate(labels, start=1)
        cells = {f"{key}_{i}": item[part] for i, item in pairs for key, part in (("label", "name"), ("score", "score"))}
        finite_json(name, cells)
        return cells
    return dict(_flat(name, result, ""))


def _flat(name: str, value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(name, item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item if isinstance(item, str) else finite_json(name, item)
