"""Write `edgekit_runtimes/bench/roofline/peak_models.py`: small artifacts that keep a machine's multipliers busy.

Needs the extra `convert`; the module that it writes needs nothing. Run it from the repository's root:

    python scripts/make_peak_models.py > runtimes/edgekit_runtimes/bench/roofline/peak_models.py
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
WIDE = {"fp32": (128, 8), "int8": (256, 4)}
"""dtype -> channels and layers: the weights of a layer, 64 kB, and its activations stay in a second-level cache.

1 x 1 convolutions are products of [1024, channels] by [channels, channels]. No engine has a way around their
multiplications, as there is for 3 x 3 (Winograd)."""

NARROW = 8
"""Channels of input and output, behind one convolution more at each end: what is copied in and out takes no time."""

WEIGHT_PERIOD = 61
"""The weights repeat, so that the files pack well; a prime, so that neighbouring rows differ."""

LINE = 100
SCALE, WEIGHT_SCALE = 0.05, 0.002
HEAD = '''"""Artifacts that keep a machine's multipliers busy: a few wide 1 x 1 convolutions.

Made by ``scripts/make_peak_models.py``; a device has no library that writes them.
"""

from __future__ import annotations

import base64
import zlib

MACS = {macs}
"""Multiply-accumulate operations of one run."""

_PACKED = {{
'''
TAIL = '''}


def peak_model(form: str, dtype: str) -> bytes:
    """Return the bytes of an artifact.

    Args:
        form: ``tflite`` or ``onnx``.
        dtype: ``fp32`` or ``int8``.
    """
    return zlib.decompress(base64.b85decode(_PACKED[form, dtype]))
'''


def layers(dtype: str) -> list[tuple[int, int]]:
    """Return input and output channels of each convolution."""
    channels, count = WIDE[dtype]
    return [(NARROW, channels), *[(channels, channels)] * count, (channels, NARROW)]


def weights(dtype: str, inputs: int, outputs: int) -> NDArray[Any]:
    """Return weights of shape [outputs, inputs] as stored."""
    period = np.random.default_rng(0).integers(-127, 128, WEIGHT_PERIOD)
    stored = np.resize(period, (outputs, inputs))
    return stored.astype(np.int8) if dtype == "int8" else (stored * WEIGHT_SCALE).astype(np.float32)


def onnx_model(dtype: str) -> bytes:
    """Return an ``.onnx`` file of `Conv` or `QLinearConv`."""
    quantized = dtype == "int8"
    constants, nodes = [], []
    if quantized:
        stored = {"s": np.float32(SCALE), "z": np.uint8(128), "v": np.float32(WEIGHT_SCALE), "o": np.int8(0)}
        constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    for number, shape in enumerate(layers(dtype)):
        weight = f"w{min(number, 1)}" if shape[0] == shape[1] else f"w{number}"
        if weight not in [constant.name for constant in constants]:
            constants.append(numpy_helper.from_array(weights(dtype, *shape)[..., None, None], weight))
        names = [f"x{number}", "s", "z", weight, "v", "o", "s", "z"] if quantized else [f"x{number}", weight]
        nodes.append(helper.make_node("QLinearConv" if quantized else "Conv", names, [f"x{number + 1}"]))
    kind = TensorProto.UINT8 if quantized else TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(n, kind, [1, NARROW, SIDE, SIDE]) for n in ("x0", f"x{len(nodes)}")]
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return bytes(made.SerializeToString())


def tflite_model(dtype: str) -> bytes:
    """Return a ``.tflite`` file of `CONV_2D`."""
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3 if dtype == "int8" else 1
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [code], [schema.BufferT()]
    graph.tensors, graph.operators = [], []
    constants: dict[tuple[int, int], tuple[int, int]] = {}
    source = _activation(graph, dtype, NARROW)
    graph.inputs = [source]
    for shape in layers(dtype):
        if shape not in constants:
            constants[shape] = _constants(model, graph, dtype, shape)
        target = _activation(graph, dtype, shape[1])
        graph.operators.append(_convolution(source, *constants[shape], target))
        source = target
    graph.outputs = [source]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _activation(graph: Any, dtype: str, channels: int) -> int:
    scales = np.array([SCALE], np.float32) if dtype == "int8" else None
    return _tensor(graph, (1, SIDE, SIDE, channels), "INT8" if dtype == "int8" else "FLOAT32", 0, scales)


def _constants(model: Any, graph: Any, dtype: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Add weights and biases; return their tensors."""
    inputs, outputs = shape
    quantized = dtype == "int8"
    scales = np.full(outputs, WEIGHT_SCALE, np.float32)
    biases = np.zeros(outputs, np.int32 if quantized else np.float32)
    numbers = []
    for values in (weights(dtype, inputs, outputs), biases):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        model.buffers.append(buffer)
        numbers.append(len(model.buffers) - 1)
    kinds = ("INT8", "INT32") if quantized else ("FLOAT32", "FLOAT32")
    form = (outputs, 1, 1, inputs)
    return (
        _tensor(graph, form, kinds[0], numbers[0], scales if quantized else None),
        _tensor(graph, (outputs,), kinds[1], numbers[1], scales * SCALE if quantized else None),
    )


def _tensor(graph: Any, shape: tuple[int, ...], kind: str, buffer: int, scales: NDArray[np.float32] | None) -> int:
    """Add a tensor; return its number."""
    made = schema.TensorT()
    made.name, made.shape, made.buffer = f"t{len(graph.tensors)}".encode(), list(shape), buffer
    made.type = getattr(schema.TensorType, kind)
    if scales is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = scales, np.zeros(scales.size, np.int64)
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def _convolution(source: int, weight: int, bias: int, target: int) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = 0, [source, weight, bias], [target]
    made.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    options = made.builtinOptions = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    return made


def _entry(form: str, dtype: str, data: bytes) -> str:
    text = base64.b85encode(zlib.compress(data, 9)).decode()
    lines = [text[at : at + LINE] for at in range(0, len(text), LINE)]
    body = "\n".join(f'        b"{line}"' for line in lines)
    return f'    ("{form}", "{dtype}"): (\n{body}\n    ),'


def main() -> None:
    """Write the module to standard output."""
    macs = {dtype: sum(SIDE * SIDE * a * b for a, b in layers(dtype)) for dtype in WIDE}
    entries = [
        _entry(form, dtype, write(dtype))
        for dtype in WIDE
        for form, write in (("tflite", tflite_model), ("onnx", onnx_model))
    ]
    text = HEAD.format(macs=json.dumps(macs)) + "\n".join(entries) + "\n" + TAIL
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
