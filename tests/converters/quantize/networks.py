"""Small networks with uneven channels, put together operator by operator, as TFLite and as ONNX alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from edgekit_converters.quantize.tflite_graph import TFLiteGraph, packed

Floats = NDArray[np.float32]
Shape = tuple[int, ...]
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}


class Net(ABC):
    """A network under construction; tensors are named, their shapes are those of TFLite (channels last).

    Attributes:
        shapes: Tensor -> shape.
        constants: Constant -> values as TFLite stores them.
    """

    suffix: str

    def __init__(self, seed: int = 0, *, side: int = 8, channels: int = 3) -> None:
        self.random = np.random.default_rng(seed)
        self.shapes: dict[str, Shape] = {"picture": (1, side, side, channels)}
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, values: NDArray[Any]) -> str:
        """Store a constant."""
        name = f"constant{len(self.constants)}"
        self.constants[name] = values
        return name

    def uneven(self, *shape: int, axis: int = 0) -> Floats:
        """Normal weights whose channels differ in size by up to about a hundred times."""
        sizes = np.exp(self.random.normal(size=shape[axis]))
        spread = sizes.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        values: Floats = (self.random.normal(size=shape) * spread).astype(np.float32)
        return values / np.float32(np.sqrt(values.size / shape[axis]))

    def conv(
        self, source: str, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1,
        activation: str = "none", weights: Sequence[str] | None = None,
    ) -> str:  # fmt: skip
        """Convolution, padded to keep the size; ``weights`` are constants of another one, to share."""
        _, height, width, channels = self.shapes[source]
        taps = self.uneven(outputs, kernel, kernel, channels // groups)
        chosen = weights or (self.constant(taps), self.constant(self.uneven(outputs) * np.float32(0.1)))
        shape = (1, -(-height // stride), -(-width // stride), outputs)
        return self.node("conv", [source, *chosen], shape, stride=stride, groups=groups, activation=activation)

    def depthwise(self, source: str, *, multiplier: int = 1, activation: str = "none") -> str:
        """Depthwise convolution with ``multiplier`` outputs a channel."""
        outputs = self.shapes[source][3] * multiplier
        chosen = [self.constant(self.uneven(1, 3, 3, outputs, axis=3)), self.constant(self.uneven(outputs))]
        return self.node("depthwise", [source, *chosen], (*self.shapes[source][:3], outputs), activation=activation)

    def dense(self, source: str, outputs: int, *, weights: Sequence[str] | None = None) -> str:
        """Dense layer on ``(1, features)``."""
        made = weights or [self.constant(self.uneven(outputs, self.shapes[source][1]))]
        return self.node("dense", [source, *made], (1, outputs))

    def unary(self, kind: str, source: str) -> str:
        """``relu``, ``relu6``, ``leaky``, ``sigmoid``, ``softmax``, ``norm`` (over the last axis), ``shape``."""
        return self.node(kind, [source], self.shapes[source])

    def add(self, first: str, second: str) -> str:
        """Sum of two tensors of one shape."""
        return self.node("add", [first, second], self.shapes[first])

    def add_constant(self, source: str, constant: str | None = None) -> str:
        """Add one value a channel."""
        return self.node("add", [source, constant or self.per_channel(source)], self.shapes[source])

    def per_channel(self, source: str) -> str:
        """A constant with one value a channel, all of them different."""
        shape = self.shapes[source]
        return self.constant(self.uneven(shape[-1]).reshape([1] * (len(shape) - 1) + [-1]))

    def pool(self, kind: str, source: str) -> str:
        """``max`` or ``average`` of 2 x 2."""
        _, height, width, channels = self.shapes[source]
        return self.node(kind, [source], (1, height // 2, width // 2, channels))

    def pad(self, source: str) -> str:
        """A row and a column of zeros on each side."""
        _, height, width, channels = self.shapes[source]
        return self.node("pad", [source], (1, height + 2, width + 2, channels))

    def mean(self, source: str) -> str:
        """Mean over the picture."""
        return self.node("mean", [source], (1, self.shapes[source][3]))

    def flatten(self, source: str) -> str:
        """All values in a row."""
        return self.node("flatten", [source], (1, int(np.prod(self.shapes[source]))))

    def concat(self, first: str, second: str) -> str:
        """Channels of both, one after the other."""
        shape = self.shapes[first]
        return self.node("concat", [first, second], (*shape[:-1], shape[-1] + self.shapes[second][-1]))

    def node(self, kind: str, inputs: Sequence[str], shape: Shape, **options: Any) -> str:
        """Append an operator and name its output."""
        name = f"{kind}{len(self.shapes)}"
        self.shapes[name] = shape
        self.append(kind, list(inputs), name, options)
        return name

    @abstractmethod
    def append(self, kind: str, inputs: list[str], output: str, options: dict[str, Any]) -> None:
        """Write the operator in the format."""

    @abstractmethod
    def save(self, path: Path, *outputs: str) -> FloatGraph:
        """Write the file and open it."""

    def pictures(self, count: int, *, seed: int = 1) -> list[dict[str, Floats]]:
        """Random inputs in the format's layout."""
        random = np.random.default_rng(seed)
        made = [random.normal(size=self.shapes["picture"]).astype(np.float32) for _ in range(count)]
        return [{"picture": self.laid_out(picture)} for picture in made]

    def laid_out(self, picture: Floats) -> Floats:
        """A picture in the format's layout."""
        return picture


class OnnxNet(Net):
    """Written as ONNX."""

    suffix = "onnx"

    def __init__(self, seed: int = 0, *, side: int = 8, channels: int = 3) -> None:
        super().__init__(seed, side=side, channels=channels)
        self.nodes: list[Any] = []
        self.stored: dict[str, NDArray[Any]] = {}

    def laid_out(self, picture: Floats) -> Floats:
        """Channels first."""
        return np.ascontiguousarray(picture.transpose(0, 3, 1, 2))

    def _emit(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))

    def _stored(self, name: str, values: NDArray[Any]) -> str:
        self.stored[name] = np.ascontiguousarray(values)
        return name

    def append(self, kind: str, inputs: list[str], output: str, options: dict[str, Any]) -> None:
        """One or two nodes."""
        for name in inputs:
            if name in self.constants and name not in self.stored:
                values = self.constants[name]
                order = (3, 0, 1, 2) if kind == "depthwise" else (0, 3, 1, 2)
                self._stored(name, values.transpose(order) if values.ndim == 4 else values)
        if kind in ("conv", "depthwise"):
            return self._convolution(kind, inputs, output, options)
        plain = {"relu": "Relu", "leaky": "LeakyRelu", "sigmoid": "Sigmoid", "add": "Add", "softmax": "Softmax"}
        if kind in plain:
            return self._emit(plain[kind], inputs, output)
        if kind in ("max", "average"):
            name = {"max": "MaxPool", "average": "AveragePool"}[kind]
            return self._emit(name, inputs, output, kernel_shape=[2, 2], strides=[2, 2])
        return self._other(kind, inputs, output)

    def _other(self, kind: str, inputs: list[str], output: str) -> None:
        if kind == "dense":
            self._emit("Gemm", inputs, output, transB=1)
        elif kind == "concat":
            self._emit("Concat", inputs, output, axis=1)
        elif kind == "flatten":
            self._emit("Flatten", inputs, output)
        elif kind == "mean":
            self._emit("GlobalAveragePool", inputs, f"{output}_kept")
            self._emit("Flatten", [f"{output}_kept"], output)
        elif kind == "relu6":
            limits = self._stored("zero", np.array(0, "f4")), self._stored("six", np.array(6, "f4"))
            self._emit("Clip", [*inputs, *limits], output)
        elif kind == "pad":
            pads = self._stored("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
            self._emit("Pad", [*inputs, pads], output)
        else:
            scale = self._stored(f"{output}_scale", np.ones(self.shapes[output][-1], np.float32))
            self._emit("LayerNormalization", [*inputs, scale], output)

    def _convolution(self, kind: str, inputs: list[str], output: str, options: dict[str, Any]) -> None:
        kernel, stride = self.stored[inputs[1]].shape[2], options.get("stride", 1)
        size = self.shapes[inputs[0]][1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads = [total // 2, total // 2, total - total // 2, total - total // 2]
        groups = self.shapes[inputs[0]][3] if kind == "depthwise" else options["groups"]
        activation = options["activation"]
        result = output if activation == "none" else f"{output}_linear"
        self._emit("Conv", inputs, result, strides=[stride] * 2, pads=pads, group=groups)
        if activation != "none":
            self.append(activation, [result], output, {})

    def save(self, path: Path, *outputs: str) -> FloatGraph:
        """Write the file and open it."""
        import onnx
        from onnx import helper

        _, height, width, channels = self.shapes["picture"]
        picture = helper.make_tensor_value_info("picture", 1, [1, channels, height, width])
        given = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
        constants = [onnx.numpy_helper.from_array(values, name) for name, values in self.stored.items()]
        graph = helper.make_graph(self.nodes, "drawn", [picture], given, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path.write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
        return OnnxGraph(path, threads=1)


class TFLiteNet(Net):
    """Written as TFLite."""

    suffix = "tflite"

    def __init__(self, seed: int = 0, *, side: int = 8, channels: int = 3) -> None:
        from ai_edge_litert import schema_py_generated as schema

        super().__init__(seed, side=side, channels=channels)
        self.schema, self.model, self.graph = schema, schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers, self.model.subgraphs = 3, [schema.BufferT()], [self.graph]
        self.model.operatorCodes, self.graph.tensors, self.graph.operators = [], [], []
        self.places: dict[str, int] = {}

    def _place(self, name: str) -> int:
        """Index of a tensor, made where it is first named."""
        if name not in self.places:
            values = self.constants.get(name)
            made = self.schema.TensorT()
            made.name, made.buffer = name.encode(), 0
            made.shape = list(self.shapes[name] if values is None else values.shape)
            made.type = 2 if values is not None and values.dtype == np.int32 else 0
            if values is not None:
                buffer = self.schema.BufferT()
                buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
                self.model.buffers.append(buffer)
                made.buffer = len(self.model.buffers) - 1
            self.graph.tensors.append(made)
            self.places[name] = len(self.graph.tensors) - 1
        return self.places[name]

    def _emit(self, operator: str, inputs: Sequence[str], output: str, kind: str = "", **values: Any) -> None:
        code = getattr(self.schema.BuiltinOperator, operator)
        codes = [entry.builtinCode for entry in self.model.operatorCodes]
        if code not in codes:
            entry = self.schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, code, 1
            self.model.operatorCodes.append(entry)
            codes.append(code)
        made = self.schema.OperatorT()
        made.opcodeIndex = codes.index(code)
        made.inputs, made.outputs = [self._place(name) for name in inputs], [self._place(output)]
        if kind:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            made.builtinOptions = getattr(self.schema, f"{kind}T")()
            for name, value in values.items():
                setattr(made.builtinOptions, name, value)
        self.graph.operators.append(made)

    def append(self, kind: str, inputs: list[str], output: str, options: dict[str, Any]) -> None:
        """One operator, or several for a norm."""
        if kind in ("conv", "depthwise"):
            stride, fused = options.get("stride", 1), ACTIVATIONS[options["activation"]]
            values = {"padding": 0, "strideH": stride, "strideW": stride, "fusedActivationFunction": fused,
                      "dilationHFactor": 1, "dilationWFactor": 1}  # fmt: skip
            if kind == "depthwise":
                values["depthMultiplier"] = self.shapes[output][3] // self.shapes[inputs[0]][3]
                return self._emit("DEPTHWISE_CONV_2D", inputs, output, "DepthwiseConv2DOptions", **values)
            return self._emit("CONV_2D", inputs, output, "Conv2DOptions", **values)
        plain = {
            "relu": ("RELU", ""), "relu6": ("RELU6", ""), "sigmoid": ("LOGISTIC", ""), "add": ("ADD", "AddOptions"),
            "leaky": ("LEAKY_RELU", "LeakyReluOptions"), "dense": ("FULLY_CONNECTED", "FullyConnectedOptions"),
        }  # fmt: skip
        if kind in plain:
            values = {"alpha": 0.01} if kind == "leaky" else {}
            return self._emit(plain[kind][0], inputs, output, plain[kind][1], **values)
        return self._other(kind, inputs, output)

    def _other(self, kind: str, inputs: list[str], output: str) -> None:
        if kind in ("max", "average"):
            sizes = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2, "padding": 1}
            self._emit(
                {"max": "MAX_POOL_2D", "average": "AVERAGE_POOL_2D"}[kind], inputs, output, "Pool2DOptions", **sizes
            )
        elif kind == "softmax":
            self._emit("SOFTMAX", inputs, output, "SoftmaxOptions", beta=1.0)
        elif kind == "concat":
            self._emit("CONCATENATION", inputs, output, "ConcatenationOptions", axis=len(self.shapes[output]) - 1)
        elif kind == "flatten":
            shape = self.constant(np.array(self.shapes[output], np.int32))
            self._emit("RESHAPE", [*inputs, shape], output, "ReshapeOptions")
        elif kind == "mean":
            axes = self.constant(np.array([1, 2], np.int32))
            self._emit("MEAN", [*inputs, axes], output, "ReducerOptions", keepDims=False)
        elif kind == "pad":
            pads = self.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
            self._emit("PAD", [*inputs, pads], output, "PadOptions")
        else:
            self._norm(inputs[0], output)

    def _norm(self, source: str, output: str) -> None:
        axes = self.constant(np.array([1], np.int32))
        shape = self.shapes[source]
        parts = {name: f"{output}_{name}" for name in ("mean", "centred", "square", "variance", "scale")}
        self.shapes |= {name: (1, 1) if key in ("mean", "variance", "scale") else shape for key, name in parts.items()}
        self._emit("MEAN", [source, axes], parts["mean"], "ReducerOptions", keepDims=True)
        self._emit("SUB", [source, parts["mean"]], parts["centred"], "SubOptions")
        self._emit("MUL", [parts["centred"]] * 2, parts["square"], "MulOptions")
        self._emit("MEAN", [parts["square"], axes], parts["variance"], "ReducerOptions", keepDims=True)
        self._emit("RSQRT", [parts["variance"]], parts["scale"])
        self._emit("MUL", [parts["centred"], parts["scale"]], output, "MulOptions")

    def save(self, path: Path, *outputs: str) -> FloatGraph:
        """Write the file and open it."""
        self.graph.inputs, self.graph.outputs = [self._place("picture")], [self._place(name) for name in outputs]
        path.write_bytes(packed(self.model))
        return TFLiteGraph(path, threads=1)


FORMATS: tuple[type[Net], ...] = (OnnxNet, TFLiteNet)
