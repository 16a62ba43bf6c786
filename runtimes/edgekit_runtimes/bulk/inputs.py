"""Entries as inputs that a task takes, on the side that answers them, with the hash of what was read."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.sound.reading import StreamedSound
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.base import Takes
from edgekit.tasks.picture import PictureFile
from edgekit_runtimes.bulk import files
from edgekit_runtimes.bulk.chunk import Entry
from edgekit_runtimes.inputs.item import Item, raiser
from edgekit_runtimes.inputs.uri import redacted

_BATCH_ROWS = 32
_BUFFER_BYTES = 1 << 20


@dataclass
class Read:
    """One input on its way.

    Attributes:
        item: The input.
        sha256: Of its content, in hexadecimal, once it was loaded: of a file its bytes; of a text its UTF-8; of a row
            or question its JSON with sorted names; of arrays their names, dtypes, shapes and bytes.
    """

    item: Item
    sha256: str | None = field(default=None)


def read(entry: Entry, spec: Spec) -> Iterator[Read]:
    """Yield the inputs of an entry; nothing of single files is opened before ``item.load``."""
    takes = task_class(spec.task).takes
    if entry.kind == "refused":
        yield Read(Item(entry.name, raiser(DataRefused(str(entry.value)))))
    elif entry.kind == "file":
        yield _hashed(entry.name, lambda: _file(entry.value, entry.name, takes))
    elif entry.kind == "value":
        value = tuple(entry.value) if takes == "text" and isinstance(entry.value, list) else entry.value
        yield _hashed(entry.name, lambda: (value, _value_bytes(value)))
    else:
        yield from (_arrays if entry.kind == "arrays" else _rows)(entry, spec)


def _hashed(name: str, fetch: Callable[[], tuple[Any, bytes]]) -> Read:
    def load() -> Any:
        value, content = fetch()
        found.sha256 = hashlib.sha256(content).hexdigest()
        return value

    found = Read(Item(name, load))
    return found


def _file(path: str, name: str, takes: Takes) -> tuple[Any, bytes]:
    data = files.read_bytes(path)
    return _encoded(data, name, takes), data


def _encoded(data: bytes, name: str, takes: Takes) -> PictureFile | StreamedSound:
    return PictureFile(data, name) if takes == "picture" else StreamedSound(io.BytesIO(data), name=name)


def _value_bytes(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _array_bytes(arrays: Mapping[str, Array]) -> bytes:
    parts = [
        f"{name}:{array.dtype.str}{list(array.shape)}".encode() + np.ascontiguousarray(array).tobytes()
        for name, array in sorted(arrays.items())
    ]
    return b"".join(parts)


def _arrays(entry: Entry, spec: Spec) -> Iterator[Read]:
    from edgekit_runtimes.inputs.items import chosen_arrays

    path, start, stop = entry.value
    try:
        arrays = chosen_arrays(_loaded(path), entry.name, spec)
    except DataRefused as error:
        yield Read(Item(entry.name, raiser(error)))
        return
    for sample in range(start, stop if stop is not None else len(next(iter(arrays.values())))):
        parts = {name: array[sample] for name, array in arrays.items()}
        yield _hashed(f"{redacted(path)} sample {sample}", lambda parts=parts: (parts, _array_bytes(parts)))  # type: ignore[misc]


def _loaded(path: str) -> dict[str, Array]:
    try:
        if files.is_uri(path):
            loaded = np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)
        else:
            loaded = np.load(path, mmap_mode="r" if path.endswith(".npy") else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise DataRefused(
            f"{redacted(path)} cannot be read: {files.said(error)}", expected=".npz or .npy without pickles"
        ) from error


def _rows(entry: Entry, spec: Spec) -> Iterator[Read]:
    path, group, start, stop, first, columns = entry.value
    takes = task_class(spec.task).takes
    reader = fault = None
    try:
        reader = _row_group(path, group, tuple(columns), entry.stamp)
    except DataRefused as error:
        fault = error
    for row in range(start, stop):
        name = f"{redacted(path)} row {first + row}"
        try:
            cells = reader.cells(row) if reader is not None else {}
        except DataRefused as error:
            fault = error
        if fault is not None:
            yield Read(Item(name, raiser(fault)))
            continue
        values = {column: _cell(cell, takes) for column, cell in cells.items()}
        yield _row(name, values if takes in ("row", "question") else next(iter(values.values())), takes, values)


def _cell(scalar: Any, takes: Takes) -> Any:
    """A tensor column gives arrays of its shape; its ``as_py`` would be flat."""
    return (
        scalar.to_numpy() if takes == "arrays" and scalar.is_valid and hasattr(scalar, "to_numpy") else scalar.as_py()
    )


def _row(name: str, value: Any, takes: Takes, values: Mapping[str, Any]) -> Read:
    if value is None:
        return Read(Item(name, raiser(DataRefused(f"{name} is null", expected="an input"))))
    if takes in ("picture", "sound"):
        return _file_cell(name, value, takes)
    if takes == "arrays":
        return _hashed(name, lambda: _array_cells(values))
    return _hashed(name, lambda: (value, _value_bytes(value)))


def _file_cell(name: str, value: Any, takes: Takes) -> Read:
    """A path or URI, the bytes of a file, or both in a struct as Hugging Face's data sets have them."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        data = value
        return _hashed(name, lambda: (_encoded(data, name, takes), data))
    if isinstance(value, str):
        path, called = value, redacted(value)
        return _hashed(called, lambda: _file(path, called, takes))
    refusal = DataRefused(f"{name} is {value!r:.80}", expected="a path, a URI or the bytes of a file")
    return Read(Item(name, raiser(refusal)))


def _array_cells(values: Mapping[str, Any]) -> tuple[Any, bytes]:
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return (arrays if len(arrays) > 1 else next(iter(arrays.values()))), _array_bytes(arrays)


class _RowGroup:
    """Rows of one row group, read from the front: a batch and the pages it comes from are held, never all of it.

    Args:
        path: Path or URI.
        group: Number of the row group.
        columns: To read.
        stamp: Of the file when it was listed.

    Raises:
        DataRefused: It has changed, or cannot be read.
    """

    def __init__(self, path: str, group: int, columns: tuple[str, ...], stamp: str) -> None:
        if stamp != files.stamp(path):
            raise DataRefused(
                f"{redacted(path)} has changed since it was listed", expected="a file that stays as it is"
            )
        self._path, self._group, self._columns = path, group, columns
        self._begin()

    def _begin(self) -> None:
        self._batch: Any = None
        self._first = self._end = 0
        self._fault = DataRefused(f"{redacted(self._path)} ends before the row", expected="a whole file")
        self._batches = self._read()

    def _read(self) -> Iterator[Any]:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            # Without a buffer Arrow reads the whole column of the group at once.
            with files.open_binary(self._path) as stream, ParquetFile(stream, buffer_size=_BUFFER_BYTES) as table:
                yield from table.iter_batches(_BATCH_ROWS, row_groups=[self._group], columns=list(self._columns))
        except (OSError, ArrowException, IndexError) as error:
            yield DataRefused(f"{redacted(self._path)} cannot be read: {files.said(error)}")

    def cells(self, row: int) -> dict[str, Any]:
        """Return a row, column -> Arrow scalar. Raises DataRefused when it cannot be read."""
        if row < self._first:
            self._begin()
        while row >= self._end:
            batch = next(self._batches, self._fault)
            if isinstance(batch, DataRefused):
                self._fault = batch
                raise batch
            self._batch, self._first, self._end = batch, self._end, self._end + batch.num_rows
        return {column: self._batch.column(column)[row - self._first] for column in self._columns}


@lru_cache(maxsize=1)
def _row_group(path: str, group: int, columns: tuple[str, ...], stamp: str) -> _RowGroup:
    """The neighbouring entry is likely to be of the same row group, and to follow."""
    return _RowGroup(path, group, columns, stamp)
