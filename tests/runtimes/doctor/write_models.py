"""Writes the doctor's tiny models: ``python tests/runtimes/doctor/write_models.py`` prints the module's source.

The device has no package that writes models, so their bytes are code there (`edgekit_runtimes.doctor.models`); a test
compares them with what this gives.
"""

from __future__ import annotations

import base64
import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE, CHANNELS = 8, 4
WEIGHTS = (np.arange(CHANNELS * 27).reshape(CHANNELS, 3, 3, 3) % 7 - 3).astype(np.float32) / 4
"""Of a 3x3 convolution, out, in, height, width; multiples of 1/4, so half precision holds them exactly."""


def onnx_model() -> bytes:
    """Write ``y = Relu(Conv(x))`` with ``x`` of shape 1x3x8x8."""
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]), helper.make_node("Relu", ["c"], ["y"])],
        "doctor",
        [value("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [value("y", TensorProto.FLOAT, [1, CHANNELS, SIZE - 2, SIZE - 2])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def tflite_model() -> bytes:
    """Write the same network with ``x`` of shape 1x8x8x3."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: list[int], buffer: int) -> object:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name, shape, buffer, schema.TensorType.FLOAT32
        return made

    buffers = [schema.BufferT() for _ in range(3)]
    constants: list[NDArray[Any]] = [WEIGHTS.transpose(0, 2, 3, 1), np.zeros(CHANNELS, np.float32)]
    for buffer, array in zip(buffers[1:], constants, strict=True):
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("x", [1, SIZE, SIZE, 3], 0),
        tensor("w", [CHANNELS, 3, 3, 3], 1),
        tensor("b", [CHANNELS], 2),
        tensor("y", [1, SIZE - 2, SIZE - 2, CHANNELS], 0),
    ]
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    options.padding = schema.Padding.VALID
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    convolution = schema.OperatorT()
    convolution.inputs, convolution.outputs = [0, 1, 2], [3]
    convolution.builtinOptionsType, convolution.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    graph.inputs, graph.outputs, graph.operators = [0], [3], [convolution]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], buffers
    builder = flatbuffers.Builder(2048)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def literal(data: bytes) -> str:
    """Write bytes as lines of base64."""
    return "\n".join(f'    "{line}"' for line in textwrap.wrap(base64.b64encode(data).decode(), 112))


SOURCE = '''"""Two tiny files of the same network, to see whether an engine loads, runs and computes rightly.

Written by ``tests/runtimes/doctor/write_models.py``: a 3x3 convolution of 3 to 4 channels and a ReLU. Code, because
nothing on a device writes models.
"""

from __future__ import annotations

import base64

import numpy as np

from edgekit.engine import Array

_WEIGHTS = (np.arange(108).reshape(4, 3, 3, 3) % 7 - 3).astype(np.float32) / 4

ONNX = base64.b64decode(
{onnx}
)
"""``x`` and ``y`` are NCHW, ``x`` of shape 1x3x8x8."""

TFLITE = base64.b64decode(
{tflite}
)
"""``x`` and ``y`` are NHWC, ``x`` of shape 1x8x8x3."""

FILES = {{"onnx": ONNX, "tflite": TFLITE}}


def picture() -> Array:
    """Return an input, NCHW; multiples of 1/8, which half precision holds exactly."""
    values: Array = ((np.arange(192).reshape(1, 3, 8, 8) % 17 - 8) / 8).astype(np.float32)
    return values


def answer() -> Array:
    """Return what the network gives for `picture`, NCHW, computed by numpy."""
    windows = np.lib.stride_tricks.sliding_window_view(picture()[0], (3, 3), axis=(1, 2))
    values: Array = np.maximum(np.einsum("cyxhw,ochw->oyx", windows, _WEIGHTS), 0)[np.newaxis]
    return values
'''


def source() -> str:
    """Return the source of `edgekit_runtimes.doctor.models`."""
    return SOURCE.format(onnx=literal(onnx_model()), tflite=literal(tflite_model()))


if __name__ == "__main__":
    print(source(), end="")
