"""Watching a .tflite file of any precision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array, TensorInfo
from edgekit_converters.compare.trace import Activation, Grid, Trace, float_name
from edgekit_converters.quantize.channel_record import KEY, read_factors
from edgekit_converters.quantize.tflite_graph import TFLiteGraph, metadata_of, operator_name, tensor_types
from edgekit_converters.targets.quiet import quiet

_EDGES = ("QUANTIZE", "DEQUANTIZE")
_WEIGHTED = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL", "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
)  # fmt: skip
_INTEGERS = ("int8", "uint8", "int16")


class TFLiteTrace(Trace):
    """A .tflite file. LiteRT keeps all tensors, with the kernels that it computes them with otherwise too.

    Args:
        path: The file.
        threads: Threads of LiteRT.

    Raises:
        ModelRefused: Not a TFLite file, or LiteRT cannot load it.
    """

    format = "tflite"

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.path = path
        self.graph = TFLiteGraph(path, threads=threads, keep_all=True)
        reader = _Reader(self.graph)
        self.inputs = tuple(reader.edge(info) for info in self.graph.inputs)
        self.activations = reader.activations()
        self.factors = read_factors(metadata_of(self.graph.model, KEY))
        self._ran = False

    def _watch(self, feeds: Mapping[str, Array], tensors: Collection[str]) -> dict[str, Array]:
        with nullcontext() if self._ran else quiet():  # LiteRT announces its delegate
            self._ran = True
            return self.graph.watch(feeds, tensors)

    def close(self) -> None:
        """Release the interpreter."""
        self.graph.close()


class _Reader:
    """Goes through the main subgraph once."""

    def __init__(self, graph: TFLiteGraph) -> None:
        self.graph = graph
        self.model = graph.model
        self.main: Any = self.model.subgraphs[0]
        self.constants = {
            index
            for index, tensor in enumerate(self.main.tensors)
            if self.model.buffers[tensor.buffer].data is not None
        }
        self.root: dict[int, int] = {}
        self.readers: dict[int, list[Any]] = {}
        for operator in self.main.operators:
            for index in _indices(operator.inputs):
                self.readers.setdefault(index, []).append(operator)

    def activations(self) -> tuple[Activation, ...]:
        found: list[tuple[int, Any]] = [(int(index), None) for index in self.main.inputs]
        for operator in self.main.operators:
            taken, given = _indices(operator.inputs), _indices(operator.outputs)
            if operator_name(self.model, operator) in _EDGES:
                self._alias(taken[0], given[0])
            else:
                found += [(index, operator) for index in given]
        return tuple(self._activation(index, op) for index, op in found if op is None or self._is_number(index))

    def _alias(self, taken: int, given: int) -> None:
        if taken in self.constants:
            self.constants.add(given)
        self.root[given] = self.root.get(taken, taken)

    def _is_number(self, index: int) -> bool:
        kind = tensor_types()[self.main.tensors[index].type]
        return index not in self.constants and (kind == "float32" or self._grid(index) is not None)

    def _activation(self, index: int, operator: Any) -> Activation:
        shown = self._stored(index)
        sources = () if operator is None else _indices(operator.inputs)
        roots = dict.fromkeys(self.root.get(i, i) for i in sources if i not in self.constants)
        return Activation(
            float_name(self.graph.key(index)),
            self.graph.key(shown),
            "input" if operator is None else operator_name(self.model, operator),
            tuple(self.graph.key(self._stored(i)) for i in roots),
            None if operator is None else self._weight(operator),
            self._grid(shown),
        )

    def _stored(self, index: int) -> int:
        """The integers that a float activation becomes where nothing reads the floats themselves."""
        readers = self.readers.get(index, [])
        outside = index in _indices(self.main.outputs)
        if outside or not readers or any(operator_name(self.model, op) != "QUANTIZE" for op in readers):
            return index
        return int(readers[0].outputs[0])

    def _weight(self, operator: Any) -> tuple[int, ...] | None:
        taken = _indices(operator.inputs)
        if operator_name(self.model, operator) not in _WEIGHTED or len(taken) < 2 or taken[1] not in self.constants:
            return None
        return tuple(int(size) for size in self.main.tensors[taken[1]].shape)

    def _grid(self, index: int) -> Grid | None:
        tensor = self.main.tensors[index]
        kind, parameters = tensor_types()[tensor.type], tensor.quantization
        if kind not in _INTEGERS or parameters is None or parameters.scale is None or len(parameters.scale) != 1:
            return None
        zero = parameters.zeroPoint
        return Grid(kind, float(parameters.scale[0]), 0 if zero is None or not len(zero) else int(zero[0]))

    def edge(self, info: TensorInfo) -> TensorInfo:
        """An input with its scale, so that floats can be fed."""
        grid = self._grid(self.graph.index(info.name))
        return info if grid is None else TensorInfo(info.name, info.shape, info.dtype, grid.scale, grid.zero_point)


def _indices(values: Any) -> list[int]:
    return [int(index) for index in (np.asarray([]) if values is None else values) if index >= 0]
