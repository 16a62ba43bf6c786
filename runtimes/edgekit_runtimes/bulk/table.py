"""Rows of results: one fixed schema a task, the same bytes for the same rows.

=================  ==========  =======================================================================================
column             type        what it is
=================  ==========  =======================================================================================
``input``          string      what the input is called: its path or URI, a file and line, a file and row
``input_sha256``   string      SHA-256 of its content; null where it could not be read
``status``         string      ``ok`` or ``failed``
``error``          string      why it failed; null otherwise
the task's own     see below   what most readers want of a result, ready to filter and sort by; null where it failed
``result``         string      the whole typed result as JSON; null where it failed
=================  ==========  =======================================================================================

Classifications have ``label`` and ``score`` (of the best class); detections, instances, poses, entities and keywords
``count``; answers ``text`` and ``score``; generated text and transcripts ``text``; embeddings ``vector``; rankings
``label`` and ``score`` of the first item; regressions and maps only ``result``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.spec import Spec
from edgekit_runtimes.outputs.records import finite_json
from edgekit_runtimes.pipeline import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
COMPRESSION = "zstd"


@dataclass(frozen=True)
class Column:
    """A column that comes from a task's result.

    Attributes:
        name: Of the column.
        type: ``string``, ``double``, ``int32`` or ``vector`` (list of float32).
        of: Returns its value from the result's JSON form; ``None`` for null.
    """

    name: str
    type: str
    of: Callable[[Mapping[str, Any]], Any]


def _best(group: str, key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda result: result[group][0][key] if result[group] else None


def _size(group: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda result: len(result[group])


def _same(key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda result: result[key]


_CLASSES = (Column("label", "string", _best("labels", "name")), Column("score", "double", _best("labels", "score")))
_TEXT = Column("text", "string", _same("text"))
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "image-classification": _CLASSES,
    "text-classification": _CLASSES,
    "audio-classification": _CLASSES,
    "tabular-classification": _CLASSES,
    "object-detection": (Column("count", "int32", _size("objects")),),
    "instance-segmentation": (Column("count", "int32", _size("instances")),),
    "keypoints": (Column("count", "int32", _size("poses")),),
    "token-classification": (Column("count", "int32", _size("entities")),),
    "keyword-spotting": (Column("count", "int32", _size("events")),),
    "question-answering": (_TEXT, Column("score", "double", _same("score"))),
    "text-generation": (_TEXT,),
    "speech-to-text": (_TEXT,),
    "text-embedding": (Column("vector", "vector", _same("vector")),),
    "ranking": (Column("label", "string", _best("items", "name")), Column("score", "double", _best("items", "score"))),
}


def columns(spec: Spec) -> tuple[Column, ...]:
    """Columns of a task's results, between ``error`` and ``result``."""
    return _CLASSES if spec.task == "tensors" and spec.labels else _COLUMNS.get(spec.task, ())


def schema(spec: Spec) -> pa.Schema:
    """The schema of a task's results."""
    import pyarrow as pa

    types = {"string": pa.string(), "double": pa.float64(), "int32": pa.int32(), "vector": pa.list_(pa.float32())}
    own = [(column.name, types[column.type]) for column in columns(spec)]
    head = [(name, pa.string()) for name in ("input", "input_sha256", "status", "error")]
    return pa.schema([*head, *own, ("result", pa.string())])


def row(outcome: Outcome, sha256: str | None, own: Sequence[Column]) -> Row:
    """Return the row of an outcome. Raises DataRefused when a number of the result is not finite."""
    name = outcome.item.name
    if outcome.error is not None or outcome.result is None:
        return failure(name, sha256, outcome.error.received if outcome.error else f"{name} has no result", own)
    result = outcome.result.to_dict()
    text = finite_json(name, result)
    cells = {column.name: column.of(result) for column in own}
    return {"input": _text(name), "input_sha256": sha256, "status": "ok", "error": None, **cells, "result": _text(text)}


def failure(name: str, sha256: str | None, error: str, own: Sequence[Column]) -> Row:
    """Return the row of an input that was set aside."""
    head = {"input": _text(name), "input_sha256": sha256, "status": "failed", "error": _text(error)}
    return {**head, **{column.name: None for column in own}, "result": None}


def _text(value: str) -> str:
    r"""Arrow holds UTF-8: bytes of a file name that are none are shown as ``\xff``."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def encode(rows: Sequence[Row], spec: Spec) -> bytes:
    """Return rows as a Parquet file of one row group."""
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(list(rows), schema=schema(spec))
    parquet.write_table(table, sink, compression=COMPRESSION, row_group_size=max(1, len(rows)))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(source: bytes | Path) -> pa.Table:
    """Read such a file. Raises OSError or ArrowException for another."""
    import pyarrow as pa
    from pyarrow import parquet

    table: pa.Table = parquet.read_table(pa.BufferReader(source) if isinstance(source, bytes) else source)
    return table
