"""Reads what an artifact holds for the check, without running it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.quantize.check import Contents, Quantized
from edgekit_converters.quantize.onnx_graph import read_onnx
from edgekit_converters.quantize.tflite_graph import operator_name, read_flatbuffer, tensor_name, tensor_types

# Operator -> position of its weights.
_TFLITE_WEIGHTS = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1,
    "EMBEDDING_LOOKUP": 1, "CONV_3D": 1, "UNIDIRECTIONAL_SEQUENCE_LSTM": 1, "SVDF": 1,
}  # fmt: skip
_ONNX_WEIGHTS = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "LSTM": 1, "GRU": 1, "RNN": 1,
    "DynamicQuantizeLSTM": 1, "DynamicQuantizeMatMul": 1, "Attention": 1, "QAttention": 1, "QLinearConv": 3,
    "QLinearMatMul": 3, "QGemm": 3, "ConvInteger": 1, "Gather": 0,
}  # fmt: skip
_INTEGER_NODES = ("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "QGemm", "DynamicQuantizeLSTM")
_TABLE = 4096


def tflite_contents(path: Path) -> Contents:
    """Read a .tflite. Raises ModelRefused when it is damaged."""
    model = read_flatbuffer(path)
    main = model.subgraphs[0]
    edges = [
        tuple((tensor_name(main.tensors[i]), tensor_types()[main.tensors[i].type]) for i in indices)
        for indices in (main.inputs, main.outputs)
    ]
    quantized = [found for graph in model.subgraphs for tensor in graph.tensors if (found := _tflite_scale(tensor))]
    weights: Counter[str] = Counter()
    integer = nodes = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            position = _TFLITE_WEIGHTS.get(operator_name(model, operator))
            if position is None or len(operator.inputs) <= position:
                continue
            stored = _tflite_stored(model, graph, int(operator.inputs[position]))
            if stored is None:
                continue
            dtype, count = stored
            weights[dtype] += count
            nodes += 1
            integer += tensor_types()[graph.tensors[operator.inputs[0]].type] in ("int8", "uint8", "int16")
    return Contents(edges[0], edges[1], tuple(quantized), dict(weights), integer, nodes)


def _tflite_scale(tensor: Any) -> Quantized | None:
    parameters = tensor.quantization
    dtype = tensor_types()[tensor.type]
    if parameters is None or parameters.scale is None or len(parameters.scale) == 0 or "int" not in dtype:
        return None
    kind = dtype if dtype in ("int8", "uint8", "int16", "uint16", "int32", "int64") else "int8"
    zeros = np.asarray([] if parameters.zeroPoint is None else parameters.zeroPoint, np.int64)
    return Quantized(tensor_name(tensor), kind, np.asarray(parameters.scale, np.float64), zeros)


def _tflite_stored(model: Any, graph: Any, index: int) -> tuple[str, int] | None:
    """Type and number of a layer's weights, seen through a DEQUANTIZE."""
    if index < 0:
        return None
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        for operator in graph.operators:
            if index in [int(i) for i in operator.outputs] and operator_name(model, operator) == "DEQUANTIZE":
                return _tflite_stored(model, graph, int(operator.inputs[0]))
        return None
    return tensor_types()[tensor.type], int(np.prod(tensor.shape)) if tensor.shape is not None else 1


def onnx_contents(path: Path) -> Contents:
    """Read an .onnx. Raises ModelRefused when it is damaged."""
    import onnx

    model = read_onnx(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    inputs = tuple(_onnx_edge(value) for value in model.graph.input if value.name not in constants)
    quantized = [found for node in model.graph.node if (found := _onnx_scale(node, constants))]
    weights: Counter[str] = Counter()
    integer = nodes = 0
    for node in model.graph.node:
        position = _ONNX_WEIGHTS.get(node.op_type)
        if position is None or len(node.input) <= position:
            continue
        tensor = _onnx_stored(node.input[position], constants, makers)
        if tensor is None or (node.op_type == "Gather" and np.prod(tensor.dims) < _TABLE):
            continue
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).name
        weights[dtype] += int(np.prod(tensor.dims))
        if node.op_type == "Gather":
            continue
        nodes += 1
        source = makers.get(node.input[0])
        integer += node.op_type in _INTEGER_NODES or (source is not None and source.op_type == "DequantizeLinear")
    outputs = tuple(_onnx_edge(value) for value in model.graph.output)
    return Contents(inputs, outputs, tuple(quantized), dict(weights), integer, nodes)


def _onnx_edge(value: Any) -> tuple[str, str]:
    import onnx

    return value.name, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name


def _onnx_scale(node: Any, constants: dict[str, Any]) -> Quantized | None:
    import onnx

    if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.input[1] not in constants:
        return None
    scales = np.atleast_1d(onnx.numpy_helper.to_array(constants[node.input[1]]).astype(np.float64))
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero is None:
        return Quantized(node.input[0], "uint8", scales, np.zeros(0, np.int64))
    zeros = onnx.numpy_helper.to_array(zero)
    return Quantized(node.input[0], zeros.dtype.name, scales, np.atleast_1d(zeros.astype(np.int64)))


def _onnx_stored(name: str, constants: dict[str, Any], makers: dict[str, Any]) -> Any:
    """The constant a layer's weights are stored in, seen through DequantizeLinear, Cast and Transpose."""
    for _ in range(4):
        if name in constants:
            return constants[name]
        node = makers.get(name)
        if node is None or node.op_type not in ("DequantizeLinear", "Cast", "Transpose", "QuantizeLinear"):
            return None
        name = node.input[0]
    return None
