"""Rows of CSV and JSON-lines files: what training data, inputs of a run and a person at the keyboard have in common."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused

ROW_SUFFIXES = (".csv", ".jsonl", ".tsv")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        where: File and line, for messages.
        values: Column -> value; text in a CSV. ``None`` where the row is damaged.
        damage: What is wrong with it; ``None`` for a good row.
    """

    where: str
    values: dict[str, Any] | None
    damage: DataRefused | None = None

    def load(self) -> dict[str, Any]:
        """Return the values. Raises DataRefused for a damaged row."""
        if self.damage is not None:
            raise self.damage
        return dict(self.values or {})


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Read a file row by row; empty lines are none.

    A CSV is UTF-8, with or without a byte order mark, with a header; commas, semicolons, tabs or bars separate its
    values, whichever of them the header needs to name the columns. Quoted values may hold separators and line breaks.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.jsonl`` file.
        columns: Columns that the header has to name; it may name more.

    Raises:
        DataRefused: It cannot be read, or its header does not name the columns. Damage further on is the row's own.
    """
    read = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    try:
        yield from read(path, columns)
    except (OSError, UnicodeDecodeError) as error:
        raise DataRefused(f"{path} cannot be read: {error}", expected="UTF-8 text") from error
    except csv.Error as error:
        raise DataRefused(f"{path} is no CSV: {error}", expected="a header and rows") from error


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    delimiter = _delimiter(path, columns)
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header = [name.strip() for name in next(reader)]
        before = reader.line_num
        for cells in reader:
            where, before = f"{path} line {before + 1}", reader.line_num
            if not any(cell.strip() for cell in cells) and len(cells) <= 1:
                continue
            if len(cells) != len(header):
                damage = DataRefused(f"{where} has {len(cells)} values", expected=f"{len(header)}, as the header")
                yield Row(where, None, damage)
            else:
                yield Row(where, dict(zip(header, cells, strict=True)))


def _delimiter(path: Path, columns: Sequence[str]) -> str:
    """The separator under which the header names the columns."""
    headers = {}
    for delimiter in _DELIMITERS:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            names = [name.strip() for name in next(csv.reader(stream, delimiter=delimiter), [])]
        if not any(names):
            raise DataRefused(f"{path} is empty", expected=f"a header with {', '.join(columns[:30])}")
        if set(columns) <= set(names):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DataRefused(f"{path} names the column {twice!r} twice", expected="different names")
            return delimiter
        headers[delimiter] = names
    longest = max(headers.values(), key=len)
    absent = [name for name in columns if name not in longest]
    raise DataRefused(
        f"{path} has the columns {', '.join(longest[:30])}",
        expected=f"also {', '.join(absent[:30])}",
        remedy="the first line names the columns, as the bundle does",
    )


def _json_rows(path: Path, _: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{path} line {number}"
            try:
                values = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                yield Row(where, None, DataRefused(f"{where}: {error}", expected="a JSON object a line"))
                continue
            if isinstance(values, dict):
                yield Row(where, values)
            else:
                yield Row(where, None, DataRefused(f"{where}: {line.strip():.80}", expected="a JSON object a line"))


def row_of_words(text: str) -> dict[str, str]:
    """Read ``name=value,name=value`` as a person types it; a value with a comma goes into double quotes.

    Raises:
        DataRefused: It is something else.
    """
    try:
        (cells,) = csv.reader([text], strict=True, skipinitialspace=True)
        pairs = [cell.partition("=") for cell in cells]
    except (csv.Error, ValueError):
        pairs = []
    names = [name.strip() for name, _, _ in pairs]
    if not pairs or not all(sign for _, sign, _ in pairs) or not all(names) or len(set(names)) != len(names):
        raise DataRefused(
            f"{text[:80]!r}",
            expected='a .csv, .tsv or .jsonl file, or one row as name=value,name=value ("name=a, b" with a comma)',
        )
    return {name: value for name, (_, _, value) in zip(names, pairs, strict=True)}


def json_object(line: str, where: str, key: str, example: str) -> dict[str, Any]:
    """Read a line of a JSON-lines file.

    Args:
        line: The line.
        where: File and number of it, for messages.
        key: A text that it must hold.
        example: A good line, for messages.

    Raises:
        DataRefused: No JSON, no object, or no text of that key.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataRefused(f"{where}: {error}", expected="a JSON object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get(key), str):
        raise DataRefused(f"{where}: {line[:80]}", expected=example)
    return row
