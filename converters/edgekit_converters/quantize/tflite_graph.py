"""The float TFLite flatbuffer as a graph that can be watched and changed."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgekit.engine import Array, Feeds, TensorInfo
from edgekit.errors import DataRefused, ModelRefused
from edgekit_converters.quantize.graph import FloatGraph, Flow, Layer, Node, Window
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.tflite_flows import flow
from edgekit_converters.quantize.weight_file import ALIGNMENT, LARGE, WeightFile, give_back_memory

# Longer than any flatbuffer without its weights: stands for offsets that are not known yet.
_SOMEWHERE = 2**48


@cache
def operator_names() -> dict[int, str]:
    """Builtin operator code -> name, e.g. 3 -> ``CONV_2D``."""
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


@cache
def tensor_types() -> dict[int, str]:
    """Tensor type code -> lower-case name, e.g. 9 -> ``int8``."""
    from ai_edge_litert import schema_py_generated as schema

    return {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}


def read_flatbuffer(path: Path) -> Any:
    """Open a .tflite as the schema's object tree. Raises ModelRefused when it is not one."""
    return read_flatbuffer_bytes(path.read_bytes(), path.name)


def read_flatbuffer_bytes(data: bytes, name: str) -> Any:
    """Open the bytes of a .tflite as the schema's object tree; ``name`` is for the message."""
    model = _parsed(data, name)
    for buffer in model.buffers:  # numpy arrays are written at once, bytes one by one
        if buffer.data is not None:
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    return model


def _read_apart(path: Path) -> tuple[Any, WeightFile]:
    """Open a .tflite with its large buffers in a file, under their numbers; the tree holds views of that file."""
    weights = WeightFile()
    with path.open("rb") as file:
        empty = not os.fstat(file.fileno()).st_size  # which cannot be mapped
        model = _parsed(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path.name)
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None:
            data = np.frombuffer(buffer.data, np.uint8)
            buffer.data = data.copy()  # the mapped file goes when nothing refers to it
            if len(data) >= LARGE:
                weights.put(number, data)
                buffer.data = None
    for number, buffer in enumerate(model.buffers):
        if number in weights:
            buffer.data = weights.view(number)
    return model, weights


def _parsed(data: Any, name: str) -> Any:
    """The object tree of a .tflite, its buffers still views of the data. Raises ModelRefused."""
    from ai_edge_litert.tools import flatbuffer_utils

    if len(data) < 8 or data[4:8] != b"TFL3":
        raise ModelRefused(f"{name} ({len(data)} bytes) is not a TFLite model", expected="a TFL3 flatbuffer")
    try:
        return flatbuffer_utils.read_model_from_bytearray(data)
    except Exception as error:  # the generated reader raises whatever a wrong offset leads to
        raise ModelRefused(
            f"{name} ({len(data)} bytes) is damaged: {type(error).__name__}: {error}",
            remedy="convert it again from the trained model",
        ) from error


def packed(model: Any) -> bytes:
    """Serialize an object tree."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def add_metadata(model: Any, name: str, value: bytes) -> None:
    """Add an entry to the metadata of an object tree."""
    from ai_edge_litert import schema_py_generated as schema

    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(value, np.uint8)
    model.buffers = [*model.buffers, buffer]
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def metadata_of(model: Any, name: str) -> bytes:
    """An entry of the metadata of an object tree; empty without one."""
    for entry in model.metadata or []:
        if (entry.name.decode() if isinstance(entry.name, bytes) else entry.name) == name:
            data = model.buffers[entry.buffer].data
            return b"" if data is None else bytes(data)
    return b""


def operator_name(model: Any, operator: Any) -> str:
    """Name of a node's operator, ``CUSTOM`` for custom ones."""
    code = model.operatorCodes[operator.opcodeIndex]
    return operator_names()[max(code.builtinCode, code.deprecatedBuiltinCode)]


def tensor_name(tensor: Any) -> str:
    """Name of a tensor as text."""
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name or "")


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


class TFLiteGraph(FloatGraph):
    """A float .tflite file.

    Args:
        path: The file.
        threads: Threads of the interpreter.
        keep_all: Whether LiteRT keeps all tensors and runs the graph with its own outputs, instead of watched tensors
            becoming outputs too. Takes the memory of all activations.

    Raises:
        ModelRefused: Not a TFLite file, or LiteRT cannot load it.
    """

    def __init__(self, path: Path, *, threads: int | None = None, keep_all: bool = False) -> None:
        self.path = path
        self._keep_all = keep_all
        self.model, self._weights = _read_apart(path)
        self._threads = threads
        self._interpreter: Any = None
        self._watched: frozenset[str] = frozenset()
        self._ranges: dict[str, Range] = {}
        self._rounded: dict[int, int] = {}
        self._graph = self.model.subgraphs[0]
        self._look()

    def _look(self) -> None:
        """Take in the structure of the main subgraph."""
        self._number_names()
        constants = {i for i, t in enumerate(self._graph.tensors) if self.model.buffers[t.buffer].data is not None}
        produced = [int(i) for op in self._graph.operators for i in op.outputs]
        floats = {i for i, t in enumerate(self._graph.tensors) if tensor_types()[t.type] == "float32"}
        order = [int(i) for i in self._graph.inputs] + produced
        self.activations = tuple(self.key(i) for i in order if i in floats and i not in constants)
        self.inputs = tuple(self._info(int(i)) for i in self._graph.inputs)
        self.outputs = tuple(self.key(int(i)) for i in self._graph.outputs)
        self.inputs_names = tuple(tensor_name(self._graph.tensors[i]) for i in self._graph.inputs)
        self.outputs_names = tuple(tensor_name(self._graph.tensors[i]) for i in self._graph.outputs)
        self.nodes = tuple(self._node(op) for op in self._graph.operators)
        self._operators = {node.name: op for node, op in zip(self.nodes, self._graph.operators, strict=True)}
        self.layers = tuple(filter(None, (self._layer(op) for op in self._graph.operators)))

    def _number_names(self) -> None:
        """Tensor names need not be unique in TFLite: repeated ones are told apart by their index."""
        names = [tensor_name(t) for t in self._graph.tensors]
        seen: dict[str, int] = {}
        for name in names:
            seen[name] = seen.get(name, 0) + 1
        self._keys = [name if seen[name] == 1 else f"{name}#{i}" for i, name in enumerate(names)]
        self._index = {key: i for i, key in enumerate(self._keys)}

    def key(self, index: int) -> str:
        """Unique name of a tensor."""
        return self._keys[index]

    def index(self, key: str) -> int:
        """Index of a tensor in the main subgraph."""
        return self._index[key]

    def _info(self, index: int) -> TensorInfo:
        tensor = self._graph.tensors[index]
        signature = tensor.shapeSignature
        shape = _shape(tensor) if signature is None or not len(signature) else tuple(int(s) for s in signature)
        dynamic = tuple(None if size < 0 else size for size in shape)
        return TensorInfo(self.key(index), dynamic, tensor_types()[tensor.type])

    def _node(self, operator: Any) -> Node:
        """A node is named after its first output, as LiteRT's tools do."""
        inputs = tuple(self.key(int(i)) for i in operator.inputs if i >= 0)
        outputs = tuple(self.key(int(i)) for i in operator.outputs if i >= 0)
        return Node(outputs[0] if outputs else "", operator_name(self.model, operator), inputs, outputs)

    def _layer(self, operator: Any) -> Layer | None:
        kind = operator_name(self.model, operator)
        axis = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}.get(kind)
        if axis is None:
            return None
        source, weight = int(operator.inputs[0]), int(operator.inputs[1])
        bias = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
        if not self._is_float_constant(weight):
            return None
        output = self.key(int(operator.outputs[0]))
        window = None if kind == "FULLY_CONNECTED" else self._window(operator, source, weight)
        return Layer(
            output, self.key(source), self.key(weight), self.key(bias) if bias >= 0 else None, output,
            axis, window,
        )  # fmt: skip

    def _window(self, operator: Any, source: int, weight: int) -> Window:
        options = operator.builtinOptions
        image, taps = _shape(self._graph.tensors[source]), _shape(self._graph.tensors[weight])
        depthwise = operator_name(self.model, operator) == "DEPTHWISE_CONV_2D"
        strides = (int(options.strideH), int(options.strideW))
        dilations = (int(options.dilationHFactor), int(options.dilationWFactor))
        pads = [(0, 0), (0, 0)]
        if options.padding == 0:  # SAME
            pads = [_same(image[i + 1], taps[i + 1], strides[i], dilations[i]) for i in (0, 1)]
        groups = image[3] if depthwise else image[3] // taps[3]
        (top, bottom), (left, right) = pads
        return Window("NHWC", (taps[1], taps[2]), strides, dilations, (top, left, bottom, right), groups)

    def flow(self, node: Node) -> Flow | None:
        """How channels pass a node; see :class:`FloatGraph`."""
        operator = self._operators.get(node.name)
        if operator is None or len(operator.outputs) != 1:
            return None
        indices = [int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]
        tensors = [self._graph.tensors[i] for i in indices]
        constants = [self._values(tensor) for tensor in tensors[:-1]]
        names = [self.key(i) for i in indices]
        return flow(node.operator, operator.builtinOptions, [_shape(t) for t in tensors], names, constants)

    def elements(self, name: str) -> int:
        """Number of values of an activation; see :class:`FloatGraph`."""
        shape = _shape(self._graph.tensors[self.index(name)])
        return math.prod(max(size, 1) for size in shape)

    def watch(self, feeds: Feeds, names: Collection[str]) -> dict[str, Array]:
        """Run one sample; see :class:`FloatGraph`. Raises DataRefused when LiteRT cannot run it."""
        return dict(self.visit(feeds, names))

    def visit(self, feeds: Feeds, names: Collection[str]) -> Iterator[tuple[str, Array]]:
        """Run one sample; see :class:`FloatGraph`. Raises DataRefused when LiteRT cannot run it."""
        interpreter = self._loaded(names)
        try:
            self._feed(interpreter, feeds)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise DataRefused(f"{self.path.name} cannot run a calibration sample: {error}") from error
        for name in names:
            yield name, interpreter.get_tensor(self.index(name))

    def simulate(self, ranges: Mapping[str, Range]) -> None:
        """Round activations from now on; see :class:`FloatGraph`."""
        self._ranges = dict(ranges)
        self._interpreter = None

    def _write(self, file: IO[bytes], names: Collection[str]) -> None:
        """Write a model that can be watched; activations with a range are followed by QUANTIZE and DEQUANTIZE.

        What is watched becomes an output. (LiteRT could keep all tensors, but then none shares memory with another.)
        """
        graph, operators, codes = self._graph, list(self._graph.operators), list(self.model.operatorCodes)
        tensors, kept, outputs = list(graph.tensors), [list(op.inputs) for op in operators], list(graph.outputs)
        self._rounded = {}
        try:
            if not self._keep_all:
                graph.outputs = list(dict.fromkeys([*map(int, outputs), *map(self.index, names)]))
            if self._ranges:
                self._insert_rounding()
            file.write(self._structure())
            self._weights.append_to(file)
        finally:
            graph.tensors, graph.operators, self.model.operatorCodes = tensors, operators, codes
            graph.outputs = outputs
            for operator, inputs in zip(operators, kept, strict=True):
                operator.inputs = inputs

    def _structure(self) -> bytes:
        """The flatbuffer without the blocks of the weight file, padded, for these to be appended to."""
        buffers = {n: buffer for n, buffer in enumerate(self.model.buffers) if n in self._weights}
        views = {n: buffer.data for n, buffer in buffers.items()}
        try:
            for number, buffer in buffers.items():
                buffer.data, (_, buffer.size) = None, self._weights.place(number)
                buffer.offset = _SOMEWHERE
            length = -(-len(packed(self.model)) // ALIGNMENT) * ALIGNMENT
            for number, buffer in buffers.items():
                buffer.offset = length + self._weights.place(number)[0]
            return packed(self.model).ljust(length, b"\0")
        finally:
            for number, buffer in buffers.items():
                buffer.data, buffer.offset, buffer.size = views[number], 0, 0

    def _insert_rounding(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        kinds = {}
        for name in ("QUANTIZE", "DEQUANTIZE"):
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
            code.version = 1
            kinds[name] = len(self.model.operatorCodes)
            self.model.operatorCodes = [*self.model.operatorCodes, code]
        made: dict[int, list[Any]] = {}
        for name, span in self._ranges.items():
            source = self.index(name)
            integer = self._added(source, schema.TensorType.INT8, span)
            self._rounded[source] = self._added(source, schema.TensorType.FLOAT32, None)
            pair = []
            for kind, taken, given in (("QUANTIZE", source, integer), ("DEQUANTIZE", integer, self._rounded[source])):
                operator = schema.OperatorT()
                operator.opcodeIndex, operator.inputs, operator.outputs = kinds[kind], [taken], [given]
                pair.append(operator)
            made[source] = pair
        ordered = [op for index in self._graph.inputs for op in made.get(int(index), [])]
        for operator in self._graph.operators:
            operator.inputs = [self._rounded.get(int(i), int(i)) for i in operator.inputs]
            ordered += [operator, *(op for index in operator.outputs for op in made.get(int(index), []))]
        self._graph.operators = ordered

    def _added(self, source: int, kind: int, span: Range | None) -> int:
        """A tensor of the shape of another; returns its index."""
        from ai_edge_litert import schema_py_generated as schema

        tensor = schema.TensorT()
        like = self._graph.tensors[source]
        tensor.shape, tensor.shapeSignature, tensor.type, tensor.buffer = like.shape, like.shapeSignature, kind, 0
        tensor.name = f"{len(self._graph.tensors)}"
        if span is not None:
            step, zero = span.grid()
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [step], [zero - 128]
        self._graph.tensors = [*self._graph.tensors, tensor]
        return len(self._graph.tensors) - 1

    def _feed(self, interpreter: Any, feeds: Feeds) -> None:
        resized = False
        for info in self.inputs:
            if None in info.shape:
                interpreter.resize_tensor_input(self.index(info.name), feeds[info.name].shape, strict=False)
                resized = True
        if resized:
            interpreter.allocate_tensors()
        for info in self.inputs:
            interpreter.set_tensor(self.index(info.name), feeds[info.name])

    def _loaded(self, names: Collection[str]) -> Any:
        if self._interpreter is None or not (self._keep_all or self._watched.issuperset(names)):
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = None  # its memory goes before the next one takes some
            give_back_memory()
            given = {info.name for info in self.inputs}
            with tempfile.NamedTemporaryFile(dir=self._weights.folder, suffix=".tflite") as file:
                self._write(file, [name for name in names if name not in given])
                file.flush()
                # Mapped, not read: LiteRT leaves the weights in the file.
                with warnings.catch_warnings():
                    # LiteRT warns of the memory that keeping all tensors takes; it is one sample's, and meant.
                    warnings.filterwarnings("ignore", message=".*preserve_all_tensors", category=UserWarning)
                    self._interpreter = Interpreter(
                        model_path=file.name,
                        num_threads=self._threads,
                        experimental_preserve_all_tensors=self._keep_all,
                    )
            self._interpreter.allocate_tensors()
            self._watched = frozenset((*names, *self.outputs, *given))
        return self._interpreter

    def weight(self, name: str) -> Array:
        """Return a constant as it is stored; see :class:`FloatGraph`."""
        tensor = self._graph.tensors[self.index(name)]
        values = self._values(tensor) if self._is_float_constant(self.index(name)) else None
        if values is None:
            raise KeyError(name)
        return values

    def _is_float_constant(self, index: int) -> bool:
        tensor = self._graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        return tensor_types()[tensor.type] == "float32" and data is not None and len(data) > 0

    def _values(self, tensor: Any) -> Array | None:
        """Values of a constant of a plain type (a copy), ``None`` for everything else."""
        data = self.model.buffers[tensor.buffer].data
        dtype = {"float32": np.float32, "int32": np.int32, "int64": np.int64}.get(tensor_types()[tensor.type])
        if data is None or len(data) == 0 or dtype is None:
            return None
        if tensor.buffer in self._weights:
            return self._weights.get(tensor.buffer, np.dtype(dtype)).reshape(_shape(tensor))
        return np.frombuffer(data.tobytes(), dtype).reshape(_shape(tensor)).copy()

    def replace_weights(self, weights: Mapping[str, Array]) -> None:
        """Replace constants; see :class:`FloatGraph`. A buffer shared by tensors is given to each its own."""
        self._interpreter = None  # it runs on the file that is written to
        shared: dict[int, int] = {}
        for tensor in self._graph.tensors:
            shared[tensor.buffer] = shared.get(tensor.buffer, 0) + 1
        for name, values in weights.items():
            tensor = self._graph.tensors[self.index(name)]
            if shared[tensor.buffer] > 1:
                self.model.buffers.append(type(self.model.buffers[0])())
                tensor.buffer = len(self.model.buffers) - 1
                shared[tensor.buffer] = 1
            self._store(tensor.buffer, np.ascontiguousarray(values, np.float32))

    def _store(self, number: int, values: Array) -> None:
        buffer = self.model.buffers[number]
        if values.nbytes < LARGE:
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        else:
            self._weights.put(number, values)
            buffer.data = self._weights.view(number)

    def divide_input(self, name: str, factors: Array, readers: Collection[str]) -> None:
        """Add a MUL before some layers; see :class:`FloatGraph`."""
        from ai_edge_litert import schema_py_generated as schema

        self._interpreter = None
        source = self.index(name)
        divided = self._added(source, schema.TensorType.FLOAT32, None)
        by = self._added(source, schema.TensorType.FLOAT32, None)
        for index, suffix in ((divided, "smooth"), (by, "smooth_factors")):
            self._graph.tensors[index].name = f"{tensor_name(self._graph.tensors[source])}_{suffix}"
        constant = self._graph.tensors[by]
        constant.shape, constant.shapeSignature = [len(factors)], None
        self.model.buffers = [*self.model.buffers, schema.BufferT()]
        constant.buffer = len(self.model.buffers) - 1
        self._store(constant.buffer, (1 / factors).astype(np.float32))
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self._code("MUL"), [source, by], [divided]
        made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()
        chosen = [self._operators[reader] for reader in readers]
        for operator in chosen:
            operator.inputs = [divided, *(int(i) for i in operator.inputs[1:])]
        operators = list(self._graph.operators)
        operators.insert(min(operators.index(operator) for operator in chosen), made)
        self._graph.operators = operators
        self._look()

    def _code(self, name: str) -> int:
        """Index of an operator's code, added where the model has none."""
        from ai_edge_litert import schema_py_generated as schema

        wanted = getattr(schema.BuiltinOperator, name)
        for place, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted:
                return place
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = wanted
        code.version = 1
        self.model.operatorCodes = [*self.model.operatorCodes, code]
        return len(self.model.operatorCodes) - 1

    def close(self) -> None:
        """Release the interpreter and remove temporary files."""
        self._interpreter = None
        self._weights.close()


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME padding along one axis: before and after."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2
