"""TFLite artifacts in a recipe: our ranges and weight scales, ai-edge-quantizer's knowledge of the operators."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import QualityError
from edgekit_converters.quantize.channel_record import KEY, ChannelFactors, packed_factors
from edgekit_converters.quantize.policy import Placement
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.recipes import IoType, Recipe
from edgekit_converters.quantize.tflite_graph import (
    TFLiteGraph,
    add_metadata,
    operator_name,
    packed,
    read_flatbuffer_bytes,
    tensor_name,
)
from edgekit_converters.quantize.weights import WEIGHT_STEPS, along

_BIAS_INPUT = {"CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}


def quantize_weights(graph: TFLiteGraph, recipe: Recipe) -> bytes:
    """Write ``fp16`` (weights in float16) or ``dynamic-int8`` (weights int8 per channel); no data needed."""
    from ai_edge_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    if recipe.weight_bits == 16:
        manager.add_weight_only_config(".*", every, num_bits=16, algorithm_key="float_casting")
    else:
        manager.add_dynamic_config(".*", every, num_bits=8)
    return _quantized(graph, manager, None)


def quantize_static(
    graph: TFLiteGraph,
    recipe: Recipe,
    io_type: IoType,
    ranges: Mapping[str, Range],
    *,
    placement: Placement,
    scales: Mapping[str, Array],
    factors: Mapping[str, ChannelFactors],
) -> bytes:
    """Write ``int8`` or ``int8-int16``: integer weights and activations.

    Args:
        graph: The float model.
        recipe: Bits of weights and activations.
        io_type: ``float`` puts QUANTIZE and DEQUANTIZE at the edges, ``int8`` makes the edges integers.
        ranges: Range of every activation.
        placement: What stays in float.
        scales: Name of a weight -> scale of each output channel.
        factors: Activation -> what its channels are multiplied by; kept in the file's metadata.

    Returns:
        The flatbuffer.
    """
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    operation, leave = qtyping.TFLOperationName, algorithm_manager.AlgorithmName.NO_QUANTIZE
    manager.add_static_config(
        ".*", operation.ALL_SUPPORTED, activation_num_bits=recipe.activation_bits, weight_num_bits=8
    )
    if io_type == "float":
        for edge in (operation.INPUT, operation.OUTPUT):
            manager.add_quantization_config(".*", edge, algorithm_key=leave)
    # Control flow and composites have subgraphs of their own, whose tensors were not watched.
    manager.add_quantization_config("^s[1-9]", operation.ALL_SUPPORTED, algorithm_key=leave)
    if placement.float_nodes:
        scope = _scope(graph, placement.float_nodes)
        manager.add_quantization_config(scope, operation.ALL_SUPPORTED, algorithm_key=leave)
    manager.add_dynamic_config("^s0", operation.EMBEDDING_LOOKUP, num_bits=8)
    if placement.last_layers:
        manager.add_dynamic_config(_scope(graph, placement.last_layers), operation.ALL_SUPPORTED, num_bits=8)
    metadata = {KEY: packed_factors(factors)} if factors else {}
    return _quantized(graph, manager, _statistics(graph, ranges, scales), metadata)


def _label(index: int) -> str:
    return f"s0t{index}"


def _scope(graph: TFLiteGraph, nodes: Collection[str]) -> str:
    """Pattern of the nodes' scopes; the quantizer's scope of a node is its outputs' names, joined by ';'."""
    return "^(" + "|".join(_label(graph.index(name)) for name in sorted(nodes)) + ");"


def _statistics(
    graph: TFLiteGraph, ranges: Mapping[str, Range], scales: Mapping[str, Array]
) -> dict[str, dict[str, Any]]:
    """Minimum and maximum of activations and of weights a channel, as the quantizer takes them."""
    found: dict[str, dict[str, Any]] = {}
    for name, span in ranges.items():
        low, high = np.array([span.low], np.float32), np.array([span.high], np.float32)
        found[_label(graph.index(name))] = {"min": low, "max": high}
    for layer in graph.layers:
        if layer.weight in scales:
            bound = along(scales[layer.weight] * WEIGHT_STEPS, layer.weight_axis, graph.weight(layer.weight).ndim)
            found[_label(graph.index(layer.weight))] = {"min": -bound, "max": bound}
    return found


def _quantized(
    graph: TFLiteGraph,
    manager: Any,
    statistics: dict[str, dict[str, Any]] | None,
    metadata: Mapping[str, bytes] | None = None,
) -> bytes:
    """Run the quantizer on a copy whose tensors have short unique names, then give the names back."""
    from ai_edge_quantizer import quantizer

    labelled, names = _labelled(graph)
    with _quiet():
        try:
            work = quantizer.Quantizer(labelled, manager.get_quantization_recipe())
            result = work.quantize(statistics, enable_progress_report=False, enable_progress_bar=False)
        except (ValueError, TypeError, RuntimeError, LookupError, NotImplementedError, AttributeError) as error:
            raise QualityError(
                f"{graph.path.name} cannot be quantized: {_renamed(str(error), names)}",
                remedy="use the recipe dynamic-int8 or fp16 for this model",
            ) from error
    if result.quantized_model is None:
        raise QualityError(f"{graph.path.name}: the quantizer gave no model")
    return _with_names(graph, bytes(result.quantized_model), names, metadata or {})


def _labelled(graph: TFLiteGraph) -> tuple[bytes, dict[str, str]]:
    """The model with tensors called s0t0, s0t1, … (names may repeat in TFLite), and label -> name."""
    model = read_flatbuffer_bytes(packed(graph.model), graph.path.name)
    model.signatureDefs = model.signatureDefs or []  # the quantizer goes through them; older files have none
    names = {}
    for g, subgraph in enumerate(model.subgraphs):
        for i, tensor in enumerate(subgraph.tensors):
            names[f"s{g}t{i}"] = tensor_name(tensor)
            tensor.name = f"s{g}t{i}"
        _flatten_biases(model, subgraph)
    return packed(model), names


def _flatten_biases(model: Any, subgraph: Any) -> None:
    """Give biases the one dimension that the operators define.

    litert-torch folds a batch normalization into a transposed convolution as a bias of (1, 1, 1, channels); the
    quantizer would put a scale for each channel on its first axis, of size 1, and no runtime loads that.
    """
    for operator in subgraph.operators:
        place = _BIAS_INPUT.get(operator_name(model, operator))
        if place is not None and len(operator.inputs) > place and operator.inputs[place] >= 0:
            bias = subgraph.tensors[operator.inputs[place]]
            if bias.buffer and len(bias.shape) > 1 and bias.shape[-1] == np.prod(bias.shape):
                bias.shape, bias.shapeSignature = [int(bias.shape[-1])], None


def _with_names(graph: TFLiteGraph, data: bytes, names: Mapping[str, str], metadata: Mapping[str, bytes]) -> bytes:
    model = read_flatbuffer_bytes(data, graph.path.name)
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            label, rest, suffix = tensor_name(tensor).partition("_")
            tensor.name = names.get(label, label) + rest + suffix
    main = model.subgraphs[0]
    _same_edges(main.tensors, main.inputs, graph.inputs_names)
    _same_edges(main.tensors, main.outputs, graph.outputs_names)
    for name, value in metadata.items():
        add_metadata(model, name, value)
    return packed(model)


def _same_edges(tensors: Any, edges: Any, wanted: Collection[str]) -> None:
    """Inputs and outputs keep the float model's names, whatever was put between them and the graph."""
    for index, name in zip(edges, wanted, strict=True):
        if tensor_name(tensors[index]) == name:
            continue
        for tensor in tensors:
            if tensor_name(tensor) == name:
                tensor.name = f"{name}_quantized"
        tensors[index].name = name


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Put tensor names back into a message; longest labels first, s0t12 before s0t1."""
    for label in sorted(names, key=len, reverse=True):
        text = text.replace(label, names[label])
    return text


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's progress bars and log lines off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        silent = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
        with silent[0], silent[1], warnings.catch_warnings():
            # It opens the float model with all tensors kept, on purpose.
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
            yield
    finally:
        logging.disable(before)
