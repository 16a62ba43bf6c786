"""Write a flatbuffer from values: tables by the field numbers of a schema, without generated code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from edgekit.engine import Array

Value = Union[str, "Table", "np.integer[Any]", Array, "tuple[str | Table, ...]"]
"""Text, table, number of the schema's width (``np.int8`` …), vector of numbers, or vector of texts or tables."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a schema.

    Attributes:
        fields: Field number, counted from 0 in the order of the schema (a union takes two: its type, then its
            value) -> value. Fields that are left out have the schema's default.
    """

    fields: Mapping[int, Value]


def packed_table(root: Table, identifier: bytes) -> bytes:
    """Return the flatbuffer of a root table, with a file identifier of four bytes."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_put(builder, root), file_identifier=identifier)
    return bytes(builder.Output())


def _put(builder: Any, value: Value) -> int:
    """Write something that a table refers to; return its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Table):
        return _put_table(builder, value)
    if isinstance(value, tuple):
        offsets = [_put(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    return int(builder.CreateNumpyVector(value))


def _put_table(builder: Any, table: Table) -> int:
    """What a table refers to must be complete before the table is begun."""
    numbers = {at: value for at, value in table.fields.items() if isinstance(value, np.integer)}
    offsets = {at: _put(builder, value) for at, value in table.fields.items() if at not in numbers}
    builder.StartObject(max(table.fields, default=-1) + 1)
    for at, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(at, offset, 0)
    for at, number in numbers.items():
        slot = getattr(builder, f"Prepend{number.dtype.name.capitalize()}Slot")
        slot(at, int(number), 0)
    return int(builder.EndObject())
