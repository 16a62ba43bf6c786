"""One small network with random weights, written by hand as TFLite and as ONNX."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import open_engine

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """Convolution, depthwise convolution, mean over the picture, dense layer.

    Weights are laid out as TFLite has them; the input is ``[1, 12, 12, 3]`` there and ``[1, 3, 12, 12]`` in ONNX.
    """

    conv: FloatArray
    conv_bias: FloatArray
    depthwise: FloatArray
    depthwise_bias: FloatArray
    dense: FloatArray
    dense_bias: FloatArray

    @classmethod
    def random(cls, seed: int = 0) -> "Network":
        """Weights whose channels differ in size, as trained ones do."""
        generator = np.random.default_rng(seed)

        def normal(*shape: int) -> FloatArray:
            return generator.normal(size=shape).astype(np.float32)

        sizes = np.geomspace(0.2, 2, 16).astype(np.float32)
        return cls(
            normal(16, 3, 3, 3) * 0.3 * sizes[:, None, None, None], normal(16) * 0.1,
            normal(1, 3, 3, 16) * 0.3, normal(16) * 0.1, normal(10, 16), normal(10) * 0.1,
        )  # fmt: skip


def write_tflite(network: Network, path: Path) -> Path:
    """Write the network as a float .tflite."""
    from ai_edge_litert import schema_py_generated as schema

    from edgekit_converters.quantize.tflite_graph import packed

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []

    def tensor(name: str, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name.encode(), list(shape), 0
        made.type = schema.TensorType.INT32 if values is not None and values.dtype == np.int32 else 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options: Any) -> None:
        known = [entry.builtinCode for entry in model.operatorCodes]
        if code not in known:
            entry = schema.OperatorCodeT()
            entry.builtinCode = entry.deprecatedBuiltinCode = code
            entry.version = 1
            model.operatorCodes.append(entry)
        made = schema.OperatorT()
        made.opcodeIndex = [entry.builtinCode for entry in model.operatorCodes].index(code)
        made.inputs, made.outputs = inputs, [output]
        made.builtinOptionsType, made.builtinOptions = kind, options
        graph.operators.append(made)

    names = schema.BuiltinOperator, schema.BuiltinOptions
    source, first = tensor("picture", (1, 12, 12, 3)), tensor("first", (1, 6, 6, 16))
    second, pooled, logits = tensor("second", (1, 4, 4, 16)), tensor("pooled", (1, 16)), tensor("logits", (1, 10))
    conv = schema.Conv2DOptionsT()
    conv.padding, conv.strideH, conv.strideW, conv.fusedActivationFunction = 0, 2, 2, 1
    conv.dilationHFactor = conv.dilationWFactor = 1
    weights = [tensor("conv", network.conv.shape, network.conv), tensor("conv_bias", (16,), network.conv_bias)]
    operator(names[0].CONV_2D, [source, *weights], first, names[1].Conv2DOptions, conv)
    depthwise = schema.DepthwiseConv2DOptionsT()
    depthwise.padding, depthwise.strideH, depthwise.strideW, depthwise.depthMultiplier = 1, 1, 1, 1
    depthwise.dilationHFactor = depthwise.dilationWFactor = 1
    weights = [
        tensor("depthwise", network.depthwise.shape, network.depthwise),
        tensor("depthwise_bias", (16,), network.depthwise_bias),
    ]
    operator(names[0].DEPTHWISE_CONV_2D, [first, *weights], second, names[1].DepthwiseConv2DOptions, depthwise)
    axes = tensor("axes", (2,), np.array([1, 2], np.int32))
    operator(names[0].MEAN, [second, axes], pooled, names[1].ReducerOptions, schema.ReducerOptionsT())
    weights = [tensor("dense", network.dense.shape, network.dense), tensor("dense_bias", (10,), network.dense_bias)]
    options = schema.FullyConnectedOptionsT()
    operator(names[0].FULLY_CONNECTED, [pooled, *weights], logits, names[1].FullyConnectedOptions, options)
    graph.inputs, graph.outputs = [source], [logits]
    path.write_bytes(packed(model))
    return path


def write_onnx(network: Network, path: Path, *, opset: int = 17) -> Path:
    """Write the network as a float .onnx."""
    import onnx
    from onnx import helper

    constants = {
        "conv": network.conv.transpose(0, 3, 1, 2),
        "conv_bias": network.conv_bias,
        "depthwise": network.depthwise.transpose(3, 0, 1, 2),
        "depthwise_bias": network.depthwise_bias,
        "dense": network.dense,
        "dense_bias": network.dense_bias,
    }
    nodes = [
        helper.make_node("Conv", ["picture", "conv", "conv_bias"], ["c"], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("Relu", ["c"], ["first"]),
        helper.make_node("Conv", ["first", "depthwise", "depthwise_bias"], ["second"], group=16),
        helper.make_node("GlobalAveragePool", ["second"], ["g"]),
        helper.make_node("Flatten", ["g"], ["pooled"]),
        helper.make_node("Gemm", ["pooled", "dense", "dense_bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("picture", 1, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("logits", 1, [1, 10])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


class Pictures:
    """Random pictures, made anew at every iteration; nothing is kept."""

    def __init__(self, count: int, *, layout: str, seed: int = 1, order: list[int] | None = None) -> None:
        self.order = order or list(range(count))
        self.layout, self.seed = layout, seed

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for number in self.order:
            picture = np.random.default_rng((self.seed, number)).normal(size=(1, 12, 12, 3)).astype(np.float32)
            yield {"picture": picture if self.layout == "NHWC" else picture.transpose(0, 3, 1, 2)}


LAYOUTS = {"tflite": "NHWC", "onnx": "NCHW"}


@pytest.fixture(scope="session")
def network() -> Network:
    """The weights."""
    return Network.random()


@pytest.fixture(scope="session", params=["tflite", "onnx"])
def float_file(request: pytest.FixtureRequest, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a float file, once in each format."""
    path = tmp_path_factory.mktemp("float") / f"small.{request.param}"
    return {"tflite": write_tflite, "onnx": write_onnx}[request.param](network, path)


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Pictures]:
    """Make pictures that fit a file: ``pictures(path, 32)``."""

    def make(path: Path, count: int, **options: Any) -> Pictures:
        return Pictures(count, layout=LAYOUTS[path.suffix[1:]], **options)

    return make


@pytest.fixture(scope="session")
def answers(pictures: Callable[..., Pictures]) -> Callable[[Path], FloatArray]:
    """Answers of a file to 64 pictures that no test calibrates on."""

    def run(path: Path) -> FloatArray:
        with open_engine(path, threads=1) as engine:
            return np.concatenate([engine.run(sample)["logits"] for sample in pictures(path, 64, seed=2)])

    return run
