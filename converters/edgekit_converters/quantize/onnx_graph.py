"""The float ONNX model as a graph that can be watched and changed."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array, Feeds, TensorInfo
from edgekit.errors import DataRefused, ModelRefused
from edgekit_converters.quantize.graph import FloatGraph, Flow, Layer, Node, Window
from edgekit_converters.quantize.onnx_flows import flow
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.weight_file import LARGE, WeightFile, give_back_memory

# Per-channel QuantizeLinear came with opset 13, 16-bit integers with 21.
OPSET_PER_CHANNEL = 13
OPSET_INT16 = 21


def read_onnx(path: Path) -> Any:
    """Open an .onnx file with its weights. Raises ModelRefused when it is not one."""
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf, onnx and the file system each have their own
        size = path.stat().st_size if path.is_file() else 0
        raise ModelRefused(
            f"{path.name} ({size} bytes) cannot be read: {error}",
            expected="an ONNX model",
            remedy="convert it again from the trained model",
        ) from error
    if not model.graph.node:
        raise ModelRefused(f"{path.name} has no nodes", expected="an ONNX model")
    return model


def prepared(path: Path, *, opset: int = OPSET_PER_CHANNEL) -> Any:
    """Read a float model and make it ready to be quantized.

    Raises the opset where the integer types need it, lets ONNX Runtime fold constants and batch normalization
    (its basic optimizations give standard operators only), and infers shapes.

    Args:
        path: A float .onnx file.
        opset: Lowest opset of the default domain wanted.

    Raises:
        ModelRefused: It cannot be read, or ONNX Runtime cannot load it.
    """
    weights = WeightFile()
    try:
        return _whole(_prepared_apart(path, opset, weights), weights)
    finally:
        weights.close()


def _prepared_apart(path: Path, opset: int, weights: WeightFile) -> Any:
    """As :func:`prepared`; what is large is left in the file and referred to as ONNX's external data."""
    import onnx

    named = weights.folder / "named.onnx"
    _write_named(path, opset, named)
    give_back_memory()
    model = _folded(named, path.name, weights)
    named.unlink()
    _name_nodes(model)
    _constants_to_initializers(model)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            where = onnx.external_data_helper.ExternalDataInfo(tensor)
            weights.adopt(tensor.name, where.offset or 0, where.length)
    return onnx.shape_inference.infer_shapes(model)


def _write_named(path: Path, opset: int, named: Path) -> None:
    model = _upgraded(read_onnx(path), opset)
    _name_nodes(model)
    named.write_bytes(model.SerializeToString())


def _whole(model: Any, weights: WeightFile) -> Any:
    """A copy of a model with all its weights inside."""
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    onnx.external_data_helper.load_external_data_for_model(whole, str(weights.folder))
    return whole


def _take_apart(model: Any, weights: WeightFile) -> None:
    """Move large initializers to the file."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= LARGE:
            weights.put(tensor.name, np.frombuffer(tensor.raw_data, np.uint8))
            _refer(tensor, weights)


def _refer(tensor: Any, weights: WeightFile) -> None:
    """Let an initializer refer to its block of the file."""
    import onnx

    tensor.raw_data = b""
    offset, size = weights.place(tensor.name)
    onnx.external_data_helper.set_external_data(tensor, weights.path.name, offset, size)
    tensor.ClearField("raw_data")


def opset_of(model: Any) -> int:
    """Opset of the default domain."""
    return max((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _upgraded(model: Any, opset: int) -> Any:
    """Raise the opset; a model that onnx cannot upgrade stays as it is (its own opset may still do)."""
    import onnx

    if opset_of(model) >= opset:
        return model
    try:
        return onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        return model


def _folded(path: Path, name: str, weights: WeightFile) -> Any:
    """The model after ONNX Runtime's basic optimizations; it writes large weights to the file itself."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    folded = weights.folder / "folded.onnx"
    options.optimized_model_filepath = str(folded)
    prefix = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{prefix}_file_name", weights.path.name)
    options.add_session_config_entry(f"{prefix}_min_size_in_bytes", str(LARGE))
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ModelRefused(f"{name} cannot be loaded by ONNX Runtime: {error}") from error
    return onnx.load(str(folded), load_external_data=False)


def _name_nodes(model: Any) -> None:
    """The quantizer finds nodes by name: every node gets one of its own."""
    used: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in used:
            node.name = f"{node.op_type}_{number}"
        used.add(node.name)


def _constants_to_initializers(model: Any) -> None:
    import onnx

    kept = []
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def attributes(node: Any) -> dict[str, Any]:
    """Attributes of a node as Python values."""
    import onnx

    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


class OnnxGraph(FloatGraph):
    """A float ONNX model.

    Args:
        path: Where it came from, for messages.
        model: The model as :func:`prepared` returns it, taken over; read from ``path`` if left out.
        opset: As for :func:`prepared`, where the model is read.
        threads: Threads of ONNX Runtime.

    Raises:
        ModelRefused: It cannot be read.
    """

    def __init__(
        self, path: Path, model: Any = None, *, opset: int = OPSET_PER_CHANNEL, threads: int | None = None
    ) -> None:
        self.path = path
        self._weights = WeightFile()
        if model is None:
            model = _prepared_apart(path, opset, self._weights)
        else:
            _take_apart(model, self._weights)
        self._model = model
        self._threads = threads
        self._session: Any = None
        self._watched: tuple[str, ...] = ()
        self._ranges: dict[str, Range] = {}
        self._look()

    def _look(self) -> None:
        """Take in the structure of the model."""
        graph = self._model.graph
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)}
        sources = [value for value in graph.input if value.name not in self._initializers]
        self.inputs = tuple(_info(value) for value in sources)
        self.outputs = tuple(value.name for value in graph.output)
        produced = [name for node in graph.node for name in node.output if name]
        self.activations = tuple(n for n in [v.name for v in sources] + produced if self._is_float(n))
        self.nodes = tuple(
            Node(node.name, node.op_type, tuple(filter(None, node.input)), tuple(filter(None, node.output)))
            for node in graph.node
        )
        self._protos = {node.name: node for node in graph.node}
        self.fused = self._fused()
        self.layers = tuple(filter(None, (self._layer(node) for node in graph.node)))

    @property
    def model(self) -> Any:
        """The model with its present weights: a copy, as large as the file."""
        return _whole(self._model, self._weights)

    def elements(self, name: str) -> int:
        """Number of values of an activation; see :class:`FloatGraph`."""
        shape = self._shape(name)
        return 0 if shape is None else math.prod(max(size, 1) for size in shape)

    def _fused(self) -> frozenset[str]:
        """What only a Relu or a Clip reads: ONNX Runtime's quantizer lets the writer's range do the clipping."""
        readers = Counter(name for node in self.nodes for name in node.inputs)
        ends = {*self.outputs, *(info.name for info in self.inputs)}
        clipped = {node.inputs[0] for node in self.nodes if node.operator in ("Relu", "Clip")}
        return frozenset(name for name in clipped - ends if readers[name] == 1)

    def _values(self, name: str) -> Array:
        """Values of an initializer."""
        import onnx

        tensor = self._initializers[name]
        if name not in self._weights:
            found: Array = onnx.numpy_helper.to_array(tensor)
            return found
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return self._weights.get(name, dtype).reshape(tuple(tensor.dims))

    def _is_float(self, name: str) -> bool:
        kind = self._types.get(name)
        return kind is not None and kind.elem_type == 1

    def _layer(self, node: Any) -> Layer | None:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2:
            return None
        weight = self._initializers.get(node.input[1])
        if weight is None or weight.data_type != 1 or len(weight.dims) < 2:
            return None
        values = attributes(node)
        if values.get("transA") or (node.op_type == "MatMul" and len(weight.dims) != 2):
            return None
        axis = 0 if node.op_type == "Conv" or values.get("transB") else len(weight.dims) - 1
        bias = node.input[2] if len(node.input) > 2 and node.input[2] in self._initializers else None
        window = self._window(node, list(weight.dims), values) if node.op_type == "Conv" else None
        return Layer(
            node.name, node.input[0], node.input[1], bias, node.output[0], axis, window
        )  # fmt: skip

    def _window(self, node: Any, dims: list[int], values: dict[str, Any]) -> Window | None:
        if len(dims) != 4 or values.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            return None
        strides, dilations = values.get("strides", [1, 1]), values.get("dilations", [1, 1])
        pads = tuple(values.get("pads", [0, 0, 0, 0]))
        return Window(
            "NCHW", (dims[2], dims[3]), tuple(strides), tuple(dilations), pads, int(values.get("group", 1))
        )  # fmt: skip

    def flow(self, node: Node) -> Flow | None:
        """How channels pass a node; see :class:`FloatGraph`."""
        proto = self._protos[node.name]
        if len(node.outputs) != 1 or not node.inputs or len(node.inputs) != len(proto.input):
            return None
        names = [*node.inputs, node.outputs[0]]
        constants = [self._values(name) if name in self._initializers else None for name in node.inputs]
        return flow(node.operator, attributes(proto), [self._shape(name) for name in names], names, constants)

    def _shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor, 0 for a size that is not fixed."""
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        kind = self._types.get(name)
        return tuple(d.dim_value for d in kind.shape.dim) if kind is not None and kind.HasField("shape") else None

    def watch(self, feeds: Feeds, names: Collection[str]) -> dict[str, Array]:
        """Run one sample; see :class:`FloatGraph`. Raises DataRefused when ONNX Runtime cannot run it."""
        wanted = tuple(dict.fromkeys(names))
        given = {info.name for info in self.inputs}
        computed = [name for name in wanted if name not in given]
        session = self._loaded(tuple(computed))
        try:
            arrays = session.run(computed, dict(feeds)) if computed else []
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise DataRefused(f"{self.path.name} cannot run a calibration sample: {error}") from error
        found = dict(zip(computed, arrays, strict=True))
        return {name: found[name] if name in found else np.asarray(feeds[name]) for name in wanted}

    def simulate(self, ranges: Mapping[str, Range]) -> None:
        """Round activations from now on; see :class:`FloatGraph`."""
        self._ranges = dict(ranges)
        self._session = None

    def _stored(self, name: str) -> str:
        return f"{name}_rounded" if name in self._ranges else name

    def _simulated(self) -> Any:
        """A copy of the model in which activations with a range are quantized and dequantized."""
        import onnx
        from onnxruntime.quantization.onnx_model import ONNXModel

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for node in model.graph.node:
            for position, name in enumerate(node.input):
                node.input[position] = self._stored(name)
        for name, span in self._ranges.items():
            step, zero = span.grid()
            parts = (f"{name}_step", np.array(step, np.float32)), (f"{name}_zero", np.array(zero, np.uint8))
            model.graph.initializer.extend(onnx.numpy_helper.from_array(value, part) for part, value in parts)
            between, (scale, origin) = f"{name}_integer", [part for part, _ in parts]
            model.graph.node.extend(
                (
                    onnx.helper.make_node("QuantizeLinear", [name, scale, origin], [between]),
                    onnx.helper.make_node("DequantizeLinear", [between, scale, origin], [self._stored(name)]),
                )
            )
        if self._ranges:
            ONNXModel(model).topological_sort()
        return model

    def _loaded(self, names: tuple[str, ...]) -> Any:
        if self._session is None or not set(names) <= set(self._watched):
            import onnx
            import onnxruntime

            watching = self._simulated()
            # With other outputs gone, ONNX Runtime leaves out what only they need.
            del watching.graph.output[:]
            watching.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            # Freed blocks go back at once: the arena would grow to the sum of all activations.
            options.enable_cpu_mem_arena = False
            options.intra_op_num_threads = self._threads or 0
            if self._ranges:  # round where asked, and nowhere else
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
                options.add_session_config_entry("session.disable_quant_qdq", "1")
            self._watched = names
            self._session = None  # its memory goes before the next one takes some
            give_back_memory()
            file = self._weights.folder / "watched.onnx"  # weights are looked for beside it
            file.write_bytes(watching.SerializeToString())
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return self._session

    def weight(self, name: str) -> Array:
        """Return a constant as it is stored; see :class:`FloatGraph`."""
        values: Array = self._values(name).astype(np.float32)
        return values

    def replace_weights(self, weights: Mapping[str, Array]) -> None:
        """Replace constants; see :class:`FloatGraph`."""
        self._session = None  # it runs on the file that is written to
        for name, values in weights.items():
            self._store(self._initializers[name], name, values.astype(np.float32))

    def _store(self, tensor: Any, name: str, values: Array) -> None:
        import onnx

        if values.nbytes < LARGE:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
        else:
            self._weights.put(name, values)
            tensor.name, tensor.data_type = name, onnx.TensorProto.FLOAT
            del tensor.dims[:]
            tensor.dims.extend(values.shape)
            _refer(tensor, self._weights)

    def divide_input(self, name: str, factors: Array, readers: Collection[str]) -> None:
        """Add a Mul before some layers; see :class:`FloatGraph`."""
        import onnx

        self._session = None
        graph, taken = self._model.graph, {tensor for node in self.nodes for tensor in (*node.inputs, *node.outputs)}
        divided = next(new for new in (f"{name}_smooth{i or ''}" for i in itertools.count()) if new not in taken)
        self._store(graph.initializer.add(), f"{divided}_factors", (1 / factors).astype(np.float32))
        places = [place for place, node in enumerate(graph.node) if node.name in readers]
        for place in places:
            graph.node[place].input[0] = divided
        made = onnx.helper.make_node("Mul", [name, f"{divided}_factors"], [divided], f"{divided}_mul")
        graph.node.insert(places[0], made)
        value = graph.value_info.add()
        value.name = divided
        value.type.tensor_type.CopyFrom(self._types[name])
        self._look()

    def close(self) -> None:
        """Release the session and remove temporary files."""
        self._session = None
        self._weights.close()


def _info(value: Any) -> TensorInfo:
    import onnx

    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return TensorInfo(value.name, shape, dtype)
