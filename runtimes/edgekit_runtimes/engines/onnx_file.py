"""An ``.onnx`` file as its graph, read and written without the onnx package.

ONNX is a protocol buffer (onnx.proto3, IR version 13). A message is kept as its fields in order, so that whatever is
not touched is written back as it was read.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekit.engine import Array
from edgekit_runtimes.engines.protobuf import BYTES, VARINT, Damaged, extents, varint

FLOAT, UINT8, INT8, UINT16, INT16, INT32, FLOAT16 = 1, 2, 3, 4, 5, 6, 10
"""Element types of ONNX."""

_DTYPES = {
    FLOAT: "<f4",
    UINT8: "u1",
    INT8: "i1",
    UINT16: "<u2",
    INT16: "<i2",
    INT32: "<i4",
    7: "<i8",
    FLOAT16: "<f2",
    11: "<f8",
    **dict.fromkeys((17, 18), "i1"),
}
_EXTERNAL = 1

Field = tuple[int, int, "int | bytes"]
"""Number, wire type and value."""


@dataclass
class Node:
    """An operator of a graph.

    Attributes:
        kind: Its name in ONNX, e.g. ``Conv``.
        inputs: Names of tensors; empty for one that is left out.
        outputs: Names of tensors.
        name: Its own name.
        rest: Fields that are not of interest here.
    """

    kind: str
    inputs: list[str]
    outputs: list[str]
    name: str = ""
    rest: list[Field] = field(default_factory=list)

    @property
    def output(self) -> str:
        """Its first output; empty when it has none."""
        return self.outputs[0] if self.outputs else ""

    @classmethod
    def read(cls, data: bytes) -> Node:
        """Read a NodeProto."""
        node = cls("", [], [])
        for number, wire, value in fields(data):
            if number == 1:
                node.inputs.append(_text(value))
            elif number == 2:
                node.outputs.append(_text(value))
            elif number == 3:
                node.name = _text(value)
            elif number == 4:
                node.kind = _text(value)
            else:
                node.rest.append((number, wire, value))
        return node

    def written(self) -> bytes:
        """Return the NodeProto."""
        parts = [*((1, name) for name in self.inputs), *((2, name) for name in self.outputs)]
        parts += [(3, self.name), (4, self.kind)]
        return packed([*((number, BYTES, text.encode()) for number, text in parts), *self.rest])


class Graph:
    """The main graph of a model.

    Args:
        path: The ``.onnx`` file. Its external data has been checked.

    Attributes:
        nodes: Its operators, in order.
        tensors: Initializer -> its TensorProto.
        values: Fields of the graph that describe inputs (11), outputs (12) and tensors in between (13).

    Raises:
        Damaged: The file is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: list[Node] = []
        self.tensors: dict[str, bytes] = {}
        self.values: list[tuple[int, bytes]] = []
        self._rest: list[Field] = []
        self.model: list[Field] = []
        self._read(path.read_bytes())

    def _read(self, data: bytes) -> None:
        for number, wire, value in fields(data):
            if number != 7 or not isinstance(value, bytes):
                self.model.append((number, wire, value))
                continue
            for inner in fields(value):
                self._read_field(inner)

    def _read_field(self, inner: Field) -> None:
        number, _, value = inner
        if number == 1 and isinstance(value, bytes):
            self.nodes.append(Node.read(value))
        elif number == 5 and isinstance(value, bytes):
            self.tensors[_name_of(value, 8)] = value
        elif number in (11, 12, 13) and isinstance(value, bytes):
            self.values.append((number, value))
        else:
            self._rest.append(inner)

    def written(self) -> bytes:
        """Return the model as a file holds it."""
        graph = packed(
            [
                *((1, BYTES, node.written()) for node in self.nodes),
                *((5, BYTES, tensor) for tensor in self.tensors.values()),
                *((number, BYTES, value) for number, value in self.values),
                *self._rest,
            ]
        )
        return packed([*self.model, (7, BYTES, graph)])

    def names(self, number: int) -> list[str]:
        """Return the names of the inputs (11) or outputs (12)."""
        return [_name_of(value, 1) for kind, value in self.values if kind == number]

    def element_type(self, name: str) -> int | None:
        """Return the element type of an initializer; ``None`` when there is none of that name."""
        if name not in self.tensors:
            return None
        return next((int(v) for number, _, v in fields(self.tensors[name]) if number == 2), 0)

    def array(self, name: str) -> Array:
        """Return an initializer. Raises Damaged when it is too short or of another type than numbers."""
        try:
            return _array(self.tensors[name], self.path.parent)
        except (KeyError, ValueError, OSError) as error:
            raise Damaged(f"tensor {name!r} cannot be read: {error}") from error

    def store(self, name: str, array: Array) -> None:
        """Add an initializer, or replace it."""
        kind = next(number for number, dtype in _DTYPES.items() if np.dtype(dtype) == array.dtype)
        dims: list[Field] = [(1, VARINT, size) for size in array.shape]
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        self.tensors[name] = packed([*dims, (2, VARINT, kind), (8, BYTES, name.encode()), (9, BYTES, data)])

    def retype(self, name: str, kind: int) -> None:
        """Change the element type of an input, output or tensor in between, where it is described."""
        for position, (number, value) in enumerate(self.values):
            if _name_of(value, 1) == name:
                self.values[position] = (number, _replaced(value, (2, 1, 1), kind))

    def drop_descriptions(self, names: Collection[str]) -> None:
        """Forget what is said of tensors in between; the runtime infers their types and shapes."""
        self.values = [(n, value) for n, value in self.values if n != 13 or _name_of(value, 1) not in names]


def fields(data: bytes) -> Iterator[Field]:
    """Yield number, wire type and value of each field of a message. Raises Damaged."""
    for number, wire, start, end in extents(data, 0, len(data)):
        yield number, wire, varint(data, start, end)[0] if wire == VARINT else data[start:end]


def packed(items: Iterable[Field]) -> bytes:
    """Write fields as a message."""
    parts = bytearray()
    for number, wire, value in items:
        parts += _written_varint(number << 3 | wire)
        if isinstance(value, int):
            parts += _written_varint(value)
            continue
        if wire == BYTES:
            parts += _written_varint(len(value))
        parts += value
    return bytes(parts)


def _written_varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _text(value: int | bytes) -> str:
    if isinstance(value, int):
        raise Damaged("a number instead of a name")
    return value.decode("utf-8", "surrogateescape")


def _name_of(message: bytes, number: int) -> str:
    return next((_text(value) for found, _, value in fields(message) if found == number), "")


def _replaced(message: bytes, way: tuple[int, ...], number: int) -> bytes:
    """Set a number that lies some messages deep."""
    items: list[Field] = []
    for found, wire, value in fields(message):
        if found != way[0]:
            items.append((found, wire, value))
        elif len(way) == 1:
            items.append((found, VARINT, number))
        elif isinstance(value, bytes):
            items.append((found, wire, _replaced(value, way[1:], number)))
    return packed(items)


def _array(message: bytes, folder: Path) -> Array:
    shape: list[int] = []
    kind, raw, typed, entries, location = 0, b"", [], {}, 0
    for number, wire, value in fields(message):
        if number == 1:
            shape += _numbers(wire, value)
        elif number == 2:
            kind = int(value)
        elif number in (4, 5, 7, 10):
            typed.append((number, wire, value))
        elif number == 9 and isinstance(value, bytes):
            raw = value
        elif number == 13 and isinstance(value, bytes):
            entries[_name_of(value, 1)] = _name_of(value, 2)
        elif number == 14:
            location = int(value)
    if kind not in _DTYPES:
        raise Damaged(f"element type {kind}")
    dtype, count = np.dtype(_DTYPES[kind]), math.prod(shape)
    if location == _EXTERNAL:
        with (folder / entries["location"]).open("rb") as stream:
            stream.seek(int(entries.get("offset", "0")))
            raw = stream.read(count * dtype.itemsize)
    flat = np.frombuffer(raw, dtype) if raw or not typed else _typed(typed, dtype)
    return flat.reshape(shape)


def _typed(items: list[Field], dtype: np.dtype[np.generic]) -> Array:
    """Values that a tensor holds as numbers of the protocol buffer instead of bytes."""
    found: list[Array] = []
    for number, wire, value in items:
        if number in (4, 10) and isinstance(value, bytes):
            found.append(np.frombuffer(value, "<f4" if number == 4 else "<f8"))
        else:
            # Negative ones are written as 64 bits; half precision stands in its 16 bits.
            wide = np.array(_numbers(wire, value), np.uint64).view(np.int64)
            found.append(wide.astype(np.uint16).view("<f2") if dtype == np.float16 else wide)
    return np.concatenate(found).astype(dtype)


def _numbers(wire: int, value: int | bytes) -> list[int]:
    """Whole numbers, one by one or packed."""
    if isinstance(value, int):
        return [value]
    if wire != BYTES:
        raise Damaged(f"wire type {wire} for whole numbers")
    numbers, at = [], 0
    while at < len(value):
        number, at = varint(value, at, len(value))
        numbers.append(number)
    return numbers
