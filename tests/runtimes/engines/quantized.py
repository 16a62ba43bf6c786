"""A small network with what int8 files have: a dropped ReLU and ReLU6, a residual sum, biases, a pooled output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from edgekit.engine import Array


def network() -> Any:
    """Return the float model: ``x`` 1x3x8x8 to ``y`` 1x4."""
    random = np.random.default_rng(0)
    shapes = {"w1": (6, 3, 3, 3), "b1": (6,), "w2": (6, 6, 3, 3), "b2": (6,), "w3": (4, 6), "b3": (4,)}
    weights = [
        numpy_helper.from_array((random.standard_normal(shape) / 3).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    limits = [numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 6))]
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        make("Clip", ["c2", "low", "high"], ["r2"], "relu6"),
        make("Add", ["r1", "r2"], ["s"], "sum"),
        make("MaxPool", ["s"], ["p"], "pool", kernel_shape=[8, 8]),
        make("Flatten", ["p"], ["f"], "flatten"),
        make("Gemm", ["f", "w3", "b3"], ["y"], "dense", transB=1),
    ]
    value = helper.make_tensor_value_info
    edges = ([value("x", TensorProto.FLOAT, [1, 3, 8, 8])], [value("y", TensorProto.FLOAT, [1, 4])])
    graph = helper.make_graph(nodes, "small", *edges, [*weights, *limits])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def pictures(count: int = 16) -> Array:
    """Return inputs, each 1x3x8x8."""
    values: Array = np.random.default_rng(1).standard_normal((count, 1, 3, 8, 8)).astype(np.float32)
    return values


def quantized(folder: Path, **options: Any) -> tuple[Path, Path]:
    """Write the float model and its int8 form by ONNX Runtime's own quantizer; return both paths."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self.left: Iterator[Array] = iter(pictures())

        def get_next(self) -> dict[str, Array] | None:
            array = next(self.left, None)
            return None if array is None else {"x": array}

    before, after = folder / "small.onnx", folder / "small.int8.onnx"
    save(network(), str(before))
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, **options}
    quantize_static(str(before), str(after), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, **types)
    return before, after
