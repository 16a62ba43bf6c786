"""How much memory the activations of a `.tflite` model need at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ALIGNMENT = 16
"""Bytes to which TensorFlow Lite Micro aligns each tensor of its arena."""

_WIDTHS = {"float32": 4, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8, "float64": 8, "float16": 2, "int16": 2}


def activation_bytes(path: Path) -> int | None:
    """Largest sum of tensors that are alive at the same time, each rounded up to 16 bytes.

    A lower bound of TensorFlow Lite Micro's arena, which also holds its own structures and what operators need
    beside their tensors.

    Args:
        path: A `.tflite` file; open dimensions count as the size that the file declares.

    Returns:
        Bytes; ``None`` where the model has control flow, whose subgraphs have tensors of their own.
    """
    from edgekit_converters.quantize.tflite_graph import read_flatbuffer, tensor_types

    model = read_flatbuffer(path)
    if len(model.subgraphs) != 1:
        return None
    graph = model.subgraphs[0]
    spans = _spans(graph)
    sizes = {index: _size(graph.tensors[index], tensor_types()) for index in spans}
    steps = range(len(graph.operators) or 1)
    return max(sum(sizes[index] for index, (born, last) in spans.items() if born <= step <= last) for step in steps)


def _spans(graph: Any) -> dict[int, tuple[int, int]]:
    """Tensor that no constant fills -> first and last operator that needs it."""
    end = max(len(graph.operators) - 1, 0)
    spans = {int(index): (0, 0) for index in graph.inputs}
    for step, operator in enumerate(graph.operators):
        for index in _numbers(operator.outputs):
            spans[index] = (step, step)
        for index in _numbers(operator.inputs):
            if index in spans:
                spans[index] = (spans[index][0], step)
    return spans | {int(index): (spans[int(index)][0], end) for index in graph.outputs if int(index) in spans}


def _numbers(indices: Iterable[int] | None) -> list[int]:
    return [int(index) for index in (() if indices is None else indices) if index >= 0]


def _size(tensor: Any, types: dict[int, str]) -> int:
    shape: Sequence[int] = () if tensor.shape is None else tensor.shape
    count = math.prod(max(1, int(size)) for size in shape)
    return -(-count * _WIDTHS.get(types[tensor.type], 1) // ALIGNMENT) * ALIGNMENT
