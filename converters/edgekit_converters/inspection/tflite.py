"""Read a `.tflite` file: a flatbuffer of the TFLite schema, not trusted.

The file is walked in Python with every vector's length checked against the file's size first, so a damaged file
costs no more than a whole one of its size: it ends in an error, never in a crash, a hang or a full memory.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.engine import TensorInfo
from edgekit.errors import MissingExtra, ModelRefused
from edgekit_converters.inspection import costs, macs
from edgekit_converters.inspection.model import Inspection, SizePart, Tally

MAX_RANK = 16
MAX_NAME = 80
MAX_TABLES = 1_000_000
DAMAGED = (struct.error, IndexError, ValueError, OverflowError, TypeError, KeyError, RecursionError)
INDEX_DTYPES = ("int32", "int64", "uint32", "uint64", "bool", "string")
LOOPS = ("WHILE", "STABLEHLO_WHILE")


class _Walk:
    """Hands out the parts of a flatbuffer while the sum of what was read stays in proportion to the file.

    In a sound file no byte is read much more than twice; vectors that overlap or are longer than the file show
    that offsets are damaged.
    """

    def __init__(self, data: bytes) -> None:
        self._left = 4 * len(data) + 4096
        self._tables_left = MAX_TABLES

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError("its vectors are longer than the file")

    def tables(self, owner: Any, field: str) -> list[Any]:
        """Return the tables of a vector."""
        length = getattr(owner, f"{field}Length")()
        self._spend(8 * length)
        self._tables_left -= length
        if self._tables_left < 0:
            raise ValueError(f"it has more than {MAX_TABLES} tables")
        return [getattr(owner, field)(index) for index in range(length)]

    def numbers(self, owner: Any, field: str) -> list[Any]:
        """Return the numbers of a vector."""
        self._spend(4 * getattr(owner, f"{field}Length")())
        values = getattr(owner, f"{field}AsNumpy")()
        return [] if isinstance(values, int) else list(values.tolist())

    def text(self, value: bytes | None) -> str:
        """Return a string."""
        self._spend(len(value or b""))
        return (value or b"").decode("utf-8", "replace")


@dataclass(frozen=True)
class _Tensor:
    info: TensorInfo
    buffer: int
    scales: int
    operand: macs.Operand


_ABSENT = _Tensor(TensorInfo("", (), ""), 0, 0, macs.Operand(()))


def read_tflite(path: Path) -> Inspection:
    """Summarise a `.tflite` file.

    Raises:
        ModelRefused: It is empty, truncated, damaged or no TFLite flatbuffer.
        MissingExtra: `ai_edge_litert`, which brings the schema, is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtra(
            f"inspecting {path.name} needs ai_edge_litert: {error}", remedy="pip install 'edgekit-ai[litert]'"
        ) from error
    data = path.read_bytes()
    try:
        if not schema.Model.ModelBufferHasIdentifier(data, 0):
            raise ValueError("it lacks the identifier TFL3")
        return _File(path, data, schema).inspect()
    except DAMAGED as error:
        raise ModelRefused(
            f"{path} ({len(data):,} bytes) is truncated or damaged: {error}",
            expected="a whole .tflite file",
            remedy="copy or convert the file again",
        ) from error


class _File:
    """One file on its way to an `Inspection`."""

    def __init__(self, path: Path, data: bytes, schema: Any) -> None:
        self.path, self.data = path, data
        self.walk = _Walk(data)
        self.model = schema.Model.GetRootAs(data, 0)
        self.dtypes = _names_of(schema.TensorType)
        self.builtins = _names_of(schema.BuiltinOperator)
        self.buffers = [self._buffer(item) for item in self.walk.tables(self.model, "Buffers")]
        self.codes = [self._code(item) for item in self.walk.tables(self.model, "OperatorCodes")]
        self.tally = Tally()
        self.counted: set[int] = set()
        self.index_bytes = 0

    def inspect(self) -> Inspection:
        graphs = self.walk.tables(self.model, "Subgraphs")
        if not graphs or not self.buffers:
            raise ValueError("it has no graph")
        self.tally.flow = costs.Flow() if len(graphs) == 1 else None
        ends = [self._graph(graph) for graph in graphs]
        metadata, metadata_bytes = self._metadata()
        attached, attached_bytes = _attached(self.path)
        self._check_end(attached_bytes)
        notes = self._notes(len(graphs)) + attached
        return Inspection(
            file=self.path.name,
            format="tflite",
            bytes=len(self.data),
            version=f"schema {self.model.Version()}",
            producer=self.walk.text(self.model.Description()) or "not stated",
            inputs=ends[0][0],
            outputs=ends[0][1],
            operators=self.tally.operators(),
            parameters=self.tally.parameters,
            macs=self.tally.macs,
            weights=self.tally.weights(),
            precisions=self.tally.precisions(),
            parts=self._parts(metadata_bytes, attached_bytes),
            metadata=metadata,
            notes=tuple(notes),
            resources=self.tally.resources(),
        )

    def _check_end(self, attached: int) -> None:
        """Refuse a file cut off in padding or in the attached archive, which no offset points to.

        A flatbuffer is padded to a multiple of 4 bytes when it is finished.
        """
        outside = any(table.Offset() > 1 for table in self.walk.tables(self.model, "Buffers"))
        if len(self.data) % 4 and not attached and not outside:
            raise ValueError("its size is not a multiple of 4 bytes")

    def _buffer(self, table: Any) -> int:
        """Return a buffer's size in bytes, after checking that it lies inside the file."""
        if table.Offset() > 1:  # files over 2 GB keep the data behind the flatbuffer
            if table.Offset() + table.Size() > len(self.data):
                raise ValueError("a weight buffer ends behind the end of the file")
            return int(table.Size())
        values = table.DataAsNumpy()
        return 0 if isinstance(values, int) else int(values.size)

    def _code(self, table: Any) -> tuple[str, bool]:
        """Return an operator's name and whether it is custom."""
        number = max(table.BuiltinCode(), table.DeprecatedBuiltinCode())
        if self.builtins.get(number) != "CUSTOM":
            return self.builtins.get(number, f"UNKNOWN_{number}"), number not in self.builtins
        return self.walk.text(table.CustomCode()) or "CUSTOM", True

    def _graph(self, graph: Any) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        tensors = [self._tensor(item) for item in self.walk.tables(graph, "Tensors")]
        for tensor in tensors:
            self._count_constant(tensor)
        stored_as: dict[int, _Tensor] = {}
        for operator in self.walk.tables(graph, "Operators"):
            self._operator(operator, tensors, stored_as)
        ends = [self.walk.numbers(graph, field) for field in ("Inputs", "Outputs")]
        inputs, outputs = (_picked(tensors, indices) for indices in ends)
        if (flow := self.tally.flow) is not None:
            flow.inputs, flow.outputs = (_values(indices) for indices in ends)
            for index, tensor in enumerate(tensors):
                flow.sizes[str(index)] = self._stored_bytes(tensor)
                if tensor.operand.constant:
                    flow.constants.add(str(index))
        return tuple(item.info for item in inputs), tuple(item.info for item in outputs)

    def _tensor(self, table: Any) -> _Tensor:
        sizes = self.walk.numbers(table, "Shape")
        signature = self.walk.numbers(table, "ShapeSignature") or sizes
        if len(sizes) > MAX_RANK or len(signature) != len(sizes) or any(size < 0 for size in sizes):
            raise ValueError(f"a tensor has the shape {sizes[:MAX_RANK]}")
        scales, zero_points = [], []
        if quantization := table.Quantization():
            scales = self.walk.numbers(quantization, "Scale")
            zero_points = self.walk.numbers(quantization, "ZeroPoint")
        shape = tuple(None if size < 0 else size for size in signature)
        info = TensorInfo(
            self.walk.text(table.Name()),
            shape,
            self.dtypes[table.Type()],
            float(scales[0]) if len(scales) == 1 else None,
            int(zero_points[0]) if len(zero_points) == 1 else 0,
        )
        buffer = table.Buffer()
        operand = macs.Operand((1, *shape[1:]) if shape[:1] == (None,) else shape, self.buffers[buffer] > 0)
        return _Tensor(info, buffer, len(scales), operand)

    def _count_constant(self, tensor: _Tensor) -> None:
        """Add a stored tensor to the weights, or to the constants when it holds shapes, axes or indices."""
        size = self.buffers[tensor.buffer]
        if not size or tensor.buffer in self.counted:
            return
        self.counted.add(tensor.buffer)
        if tensor.info.dtype in INDEX_DTYPES and not tensor.scales:
            self.index_bytes += size
        else:
            self.tally.weight(tensor.info.dtype, macs.elements(tensor.operand.dims), size)

    def _operator(self, operator: Any, tensors: Sequence[_Tensor], stored_as: dict[int, _Tensor]) -> None:
        """Count one operator; ``stored_as`` maps a dequantized tensor to what it was before."""
        name, custom = self.codes[operator.OpcodeIndex()]
        self.tally.operator(name, custom=custom, loop=name in LOOPS)
        at, to = self.walk.numbers(operator, "Inputs"), self.walk.numbers(operator, "Outputs")
        inputs, outputs = _picked(tensors, at), _picked(tensors, to)
        if name == "DEQUANTIZE":
            stored_as[to[0]] = inputs[0]
        step = costs.Step(_short(outputs[0].info.name) if outputs else name, name, _values(at), _values(to))
        if (compute := macs.TFLITE.get(name)) is None:
            self._add_step(step)
            return
        try:
            count = compute.formula([item.operand for item in inputs], [item.operand for item in outputs])
        except macs.UnknownShape:
            count = None
        sides = [stored_as.get(at[i], inputs[i]) for i in (compute.data, compute.weights)]
        scales = sides[1].scales
        granularity = ("per channel" if scales > 1 else "per tensor") if scales else ""
        self.tally.multiply(name, count, (sides[0].info.dtype, sides[1].info.dtype, granularity))
        int8 = costs.eight_bit(sides[0].info.dtype, sides[1].info.dtype, hybrid=sides[1] is inputs[compute.weights])
        self._add_step(replace(step, macs=count or 0, int8=int8))

    def _add_step(self, step: costs.Step) -> None:
        if self.tally.flow is not None:
            self.tally.flow.steps.append(step)

    def _stored_bytes(self, tensor: _Tensor) -> int:
        return self.buffers[tensor.buffer] or costs.tensor_bytes(tensor.info.dtype, tensor.operand.shape)

    def _metadata(self) -> tuple[dict[str, str], int]:
        """Return the metadata entries (short texts as they are, others by size) and their bytes."""
        found: dict[str, str] = {}
        size = 0
        tables = self.walk.tables(self.model, "Buffers")
        for item in self.walk.tables(self.model, "Metadata"):
            index, name = item.Buffer(), self.walk.text(item.Name())
            size += 0 if index in self.counted else self.buffers[index]
            self.counted.add(index)
            raw = b"" if self.buffers[index] > 64 or not self.buffers[index] else tables[index].DataAsNumpy().tobytes()
            text = raw.rstrip(b"\0").decode("utf-8", "replace")
            found[name] = text if text.isprintable() and text else f"{self.buffers[index]:,} bytes"
        for item in self.walk.tables(self.model, "SignatureDefs"):
            names = [
                [self.walk.text(entry.Name()) for entry in self.walk.tables(item, field)]
                for field in ("Inputs", "Outputs")
            ]
            key = self.walk.text(item.SignatureKey())
            found[f"signature {key}"] = f"{', '.join(names[0])} -> {', '.join(names[1])}"
        return found, size

    def _notes(self, graphs: int) -> list[str]:
        notes = self.tally.notes()
        if flex := [row.name for row in self.tally.operators() if row.name.startswith("Flex")]:
            notes.append(f"needs the Flex delegate (TensorFlow's own kernels): {', '.join(flex)}")
        if graphs > 1:
            notes.append(f"{graphs} subgraphs: operators and MACs are summed over all, each counted once")
        if self.model.ExternalBuffersLength():
            notes.append("weights in external buffers are not counted")
        return notes

    def _parts(self, metadata: int, attached: int) -> tuple[SizePart, ...]:
        parts = [SizePart(f"weights {row.dtype}", row.bytes) for row in self.tally.weights()]
        parts += [SizePart("shapes and indices", self.index_bytes), SizePart("metadata", metadata)]
        parts += [SizePart("attached files", attached)]
        rest = len(self.data) - sum(part.bytes for part in parts)
        return tuple(part for part in (*parts, SizePart("graph structure", rest)) if part.bytes)


def _names_of(enumeration: Any) -> dict[int, str]:
    """Return number -> name of a generated enumeration; dtypes become numpy's names."""
    names = {value: key for key, value in vars(enumeration).items() if isinstance(value, int)}
    return {value: key.lower() for value, key in names.items()} if enumeration.__name__ == "TensorType" else names


def _short(name: str) -> str:
    """The end of a tensor's name: converters join the names of all operators that were fused, a kilobyte of them."""
    return name.rpartition(";;")[2][-MAX_NAME:]


def _values(indices: Iterable[int]) -> tuple[str, ...]:
    """Tensors' positions as names of values; an absent one is empty."""
    return tuple("" if index < 0 else str(index) for index in indices)


def _picked(tensors: Sequence[_Tensor], indices: Iterable[int]) -> list[_Tensor]:
    """Return the tensors at some positions; -1 stands for an optional input that is absent."""
    if any(index < -1 for index in indices):
        raise IndexError("a tensor index is negative")
    return [_ABSENT if index == -1 else tensors[index] for index in indices]


def _attached(path: Path) -> tuple[list[str], int]:
    """Return a note on, and the size of, the zip archive that TFLite metadata appends for label files."""
    if not zipfile.is_zipfile(path):
        return [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        return [], 0
    if not entries:
        return [], 0
    start = min(entry.header_offset for entry in entries)
    names = ", ".join(entry.filename for entry in entries[:8])
    return [f"files attached behind the model: {names}"], max(0, path.stat().st_size - start)
