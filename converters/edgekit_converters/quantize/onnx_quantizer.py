"""ONNX artifacts in a recipe: our ranges and weight scales, ONNX Runtime's QDQ quantizer for the operators.

Weights are signed; activations are unsigned (U8S8) with float inputs and outputs, signed (S8S8) with integer ones.
On x86-64 ONNX Runtime computes S8S8 as U8S8, but rewrites only tensors with one reader: behind every residual
connection convolutions then stay in float (MobileNetV2: 15 of 52, 3.0 ms instead of 1.6 ms). Accelerators and
microcontrollers, which integer inputs and outputs are for, want S8S8.

A CPU with AVX2 but without VNNI saturates sums of two products of such a file; ONNX Runtime's session option
``session.x64quantprecision=1`` makes it use exact instructions on such a CPU. That keeps one artifact right
everywhere without a seventh bit given up (``reduce_range``).
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import ONNX_IO_METADATA, Array
from edgekit.errors import QualityError
from edgekit_converters.quantize.channel_record import KEY, ChannelFactors, packed_factors
from edgekit_converters.quantize.graph import Layer
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from edgekit_converters.quantize.policy import Placement
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.recipes import IoType, Recipe
from edgekit_converters.quantize.weights import WEIGHT_STEPS, along, channel_maxima

_OPERATORS = [
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize", "Split", "Pad", "Reshape", "Squeeze"),
    *("Unsqueeze", "Flatten", "Transpose", "Slice", "Gather"),
]


def quantize_half(graph: OnnxGraph) -> Any:
    """Return the model with float16 inside and float32 inputs and outputs (``fp16``)."""
    from onnxruntime.transformers import float16

    with _quiet():
        return float16.convert_float_to_float16(
            graph.model,
            keep_io_types=True,
            max_finite_val=65504.0,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, "Softmax", "LayerNormalization", "ReduceMean"],
        )


def quantize_dynamic(graph: OnnxGraph) -> Any:
    """Return the model with int8 weights and activations quantized on the fly (``dynamic-int8``).

    MatMul, Gemm and LSTM compute in integers. Convolutions and embeddings keep int8 weights and compute in
    float: ConvInteger is slow or missing on most execution providers.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as dynamic

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "dynamic.onnx")
        dynamic(
            graph.model,
            written,
            op_types_to_quantize=["MatMul", "Gemm", "LSTM", "Attention"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        model = onnx.load(str(written))
    for layer in graph.layers:
        if layer.window is not None:
            _store_weight(model, graph, layer)
    _store_embeddings(model)
    return _sorted(model)


def _store_weight(model: Any, graph: OnnxGraph, layer: Layer) -> None:
    """Put int8 and DequantizeLinear in place of a float weight."""
    import onnx

    weight = graph.weight(layer.weight)
    scale = (np.maximum(channel_maxima(weight, layer.weight_axis), 1e-12) / WEIGHT_STEPS).astype(np.float32)
    stored = np.clip(np.rint(weight / along(scale, layer.weight_axis, weight.ndim)), -127, 127).astype(np.int8)
    name = layer.weight
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    if len(kept) == len(model.graph.initializer):
        return
    parts = {"int8": stored, "scale": scale, "zero": np.zeros(scale.size, np.int8)}
    kept += [onnx.numpy_helper.from_array(values, f"{name}_{part}") for part, values in parts.items()]
    _set(model.graph.initializer, kept)
    node = onnx.helper.make_node(
        "DequantizeLinear", [f"{name}_{part}" for part in parts], [name], f"{name}_dequantize", axis=layer.weight_axis
    )
    model.graph.node.insert(0, node)


def _store_embeddings(model: Any) -> None:
    """Keep tables that Gather reads row by row in int8, one scale a row, and scale the rows read."""
    import onnx

    tables = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = [name for node in model.graph.node for name in node.input]
    nodes = []
    for node in model.graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        wanted = table is not None and table.data_type == 1 and len(table.dims) == 2 and axis == 0
        if table is None or not wanted or readers.count(table.name) > 1 or table.dims[0] * table.dims[1] < 4096:
            nodes.append(node)
            continue
        name, rows = table.name, node.output[0]
        values = onnx.numpy_helper.to_array(table)
        scale = (np.maximum(np.abs(values).max(1, keepdims=True), 1e-12) / WEIGHT_STEPS).astype(np.float32)
        stored = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
        for part, array in (("int8", stored), ("scale", scale)):
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, f"{name}_{part}"))
            nodes.append(onnx.helper.make_node("Gather", [f"{name}_{part}", node.input[1]], [f"{rows}_{part}"]))
        nodes.append(onnx.helper.make_node("Cast", [f"{rows}_int8"], [f"{rows}_float"], to=1))
        nodes.append(onnx.helper.make_node("Mul", [f"{rows}_float", f"{rows}_scale"], [rows], node.name))
        model.graph.initializer.remove(table)
    _set(model.graph.node, nodes)


def quantize_static(
    graph: OnnxGraph,
    recipe: Recipe,
    io_type: IoType,
    ranges: Mapping[str, Range],
    *,
    placement: Placement,
    scales: Mapping[str, Array],
    factors: Mapping[str, ChannelFactors],
) -> Any:
    """Return the model in ``int8`` or ``int8-int16`` as QuantizeLinear/DequantizeLinear pairs.

    Args:
        graph: The float model, prepared.
        recipe: Bits of weights and activations.
        io_type: ``int8`` makes the edges of the graph integers.
        ranges: Range of every activation.
        placement: What stays in float.
        scales: Name of a weight -> scale of each output channel.
        factors: Activation -> what its channels are multiplied by; kept in the file's metadata.

    Raises:
        QualityError: ONNX Runtime's quantizer cannot handle the model.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    spans = {name: (np.float32(span.low), np.float32(span.high)) for name, span in ranges.items()}
    wide = recipe.activation_bits == 16
    narrow = QuantType.QInt8 if io_type == "int8" or placement.attention else QuantType.QUInt8
    options = {
        "TensorQuantOverrides": _weight_overrides(graph, scales),
        "ActivationSymmetric": wide,
        "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm", "Conv"] if placement.attention else [],
        "MatMulConstBOnly": placement.attention,
        # A transpose or reshape right behind the input has to be integer for the input to be.
        "ForceQuantizeNoInputCheck": io_type == "int8",
    }
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    with _quiet():
        try:
            quantizer = QDQQuantizer(
                model, True, False, QuantType.QInt8, QuantType.QInt16 if wide else narrow,
                TensorsData(CalibrationMethod.MinMax, spans), [], sorted(placement.float_nodes), _OPERATORS, options,
            )  # fmt: skip
            quantized = quantizer.quantize_model()
        except (ValueError, TypeError, RuntimeError, KeyError, AssertionError, NotImplementedError) as error:
            raise QualityError(
                f"{graph.path.name} cannot be quantized: {error}",
                remedy="use the recipe dynamic-int8 or fp16 for this model",
            ) from error
    for layer in graph.layers:
        if layer.name in placement.last_layers:
            _leave_output_float(quantized, layer.output)
    _store_embeddings(quantized)
    if io_type == "int8":
        _integer_edges(quantized)
    if factors:
        entry = quantized.metadata_props.add()
        entry.key, entry.value = KEY, base64.b64encode(packed_factors(factors)).decode()
    return _sorted(quantized)


def _sorted(model: Any) -> Any:
    """Put the nodes in topological order, which ONNX demands and the quantizer leaves undone."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    ONNXModel(model).topological_sort()
    return model


def _weight_overrides(graph: OnnxGraph, scales: Mapping[str, Array]) -> dict[str, list[dict[str, Any]]]:
    """Scales of the weights, channel by channel, as the quantizer takes them."""
    from onnxruntime.quantization import QuantType

    return {
        layer.weight: [
            {
                "axis": layer.weight_axis,
                "scale": np.array(scale, np.float32),
                "zero_point": np.array(0, np.int8),
                "quant_type": QuantType.QInt8,
            }
            for scale in scales[layer.weight]
        ]
        for layer in graph.layers
        if layer.weight in scales
    }


def _leave_output_float(model: Any, name: str) -> None:
    """Take the QuantizeLinear/DequantizeLinear pair out that follows a layer."""
    nodes = list(model.graph.node)
    names = {name, f"{name}_QuantizeLinear_Input"}
    pair = next((q for q in nodes if q.op_type == "QuantizeLinear" and q.input[0] in names), None)
    if pair is None:
        return
    back = next(d for d in nodes if d.op_type == "DequantizeLinear" and d.input[0] == pair.output[0])
    source, result = pair.input[0], back.output[0]
    left = [node for node in nodes if node is not pair and node is not back]
    for node in left:
        _rename(node.output, source, result)
        _rename(node.input, source, result)
    _set(model.graph.node, left)
    used = {name for node in left for name in node.input}
    _set(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in used])


def _integer_edges(model: Any) -> None:
    """Fold QuantizeLinear at the inputs and DequantizeLinear at the outputs into integer edges."""
    stored: dict[str, dict[str, Any]] = {}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    for value in model.graph.input:
        node = _only(model, "QuantizeLinear", lambda n, name=value.name: n.input[0] == name)
        readers = [n for n in model.graph.node if value.name in n.input]
        if node is None or len(readers) != 1 or value.name in outputs:
            continue
        stored[value.name] = _retyped(value, node, constants)
        for reader in model.graph.node:
            _rename(reader.input, node.output[0], value.name)
        model.graph.node.remove(node)
    for value in model.graph.output:
        node = _only(model, "DequantizeLinear", lambda n, name=value.name: n.output[0] == name)
        if node is None or any(value.name in n.input for n in model.graph.node):
            continue
        stored[value.name] = _retyped(value, node, constants)
        inner = node.input[0]
        model.graph.node.remove(node)
        for other in model.graph.node:
            _rename(other.output, inner, value.name)
            _rename(other.input, inner, value.name)
    entry = model.metadata_props.add()
    entry.key, entry.value = ONNX_IO_METADATA, json.dumps(stored)


def _retyped(value: Any, node: Any, constants: Mapping[str, Any]) -> dict[str, Any]:
    """Make an edge's type the quantized one; return its scale and zero point."""
    import onnx

    zero = constants[node.input[2]]
    value.type.tensor_type.elem_type = zero.data_type
    scale = float(onnx.numpy_helper.to_array(constants[node.input[1]]))
    return {"scale": scale, "zero_point": int(onnx.numpy_helper.to_array(zero))}


def _only(model: Any, operator: str, fits: Any) -> Any:
    found = [node for node in model.graph.node if node.op_type == operator and fits(node)]
    return found[0] if len(found) == 1 else None


def _rename(names: Any, old: str, new: str) -> None:
    for position, name in enumerate(names):
        if name == old:
            names[position] = new


def _set(field: Any, values: list[Any]) -> None:
    copies = list(values)
    del field[:]
    field.extend(copies)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's log lines and its notes on truncated numbers off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
