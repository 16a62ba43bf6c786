"""How single operators pass on scaled channels: the conditions that no network of the other tests meets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit_converters.quantize import onnx_flows, tflite_flows
from edgekit_converters.quantize.graph import Flow

Shape = tuple[int, ...]
Constant = NDArray[Any] | None


def names_of(count: int) -> list[str]:
    return [*"abcd"[:count], "out"]


def onnx_flow(kind: str, shapes: list[Shape], *constants: Constant, **values: Any) -> Flow | None:
    """Flow of a node whose first input is an activation and whose other inputs are these constants."""
    given = [None, *constants]
    every: list[Shape | None] = [shapes[0], *(() if c is None else c.shape for c in constants), shapes[-1]]
    return onnx_flows.flow(kind, values, every, names_of(len(given)), given)


def tflite_flow(kind: str, shapes: list[Shape], *constants: Constant, fused: int = 0) -> Flow | None:
    """As :func:`onnx_flow`; ``fused`` is the activation."""
    given = [None, *constants]
    every = [shapes[0], *(() if c is None else c.shape for c in constants), shapes[-1]]
    options = SimpleNamespace(fusedActivationFunction=fused)
    return tflite_flows.flow(kind, options, every, names_of(len(given)), given)


def ones(*shape: int) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


def whole(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


PICTURE = (1, 8, 4, 4)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
def test_pools_in_one_dimension_mix_what_tokens_have_as_channels(kind: str) -> None:
    assert onnx_flow(kind, [(1, 6, 8), (1, 6, 4)]) is None
    assert onnx_flow(kind, [PICTURE, (1, 8, 1, 1)]) == Flow({"a": 1, "out": 1})


@pytest.mark.parametrize(
    ("source", "result", "passes"),
    [
        ((1, 8, 1, 1), (1, 8), True),
        ((1, 8, 1, 1), (1, 1, 8), True),
        ((2, 5, 8), (10, 8), True),
        ((1, 8, 2, 2), (1, 32), False),
        ((1, 4, 2, 2), (4, 4), False),
        ((4, 8), (1, 8, 2, 2), False),
        ((1, 8, 4, 4), (1, 8, 16), False),
        ((0, 8, 0, 0), (0, 8), False),
    ],
)
@pytest.mark.parametrize("kind", ["Reshape", "Flatten", "Squeeze"])
def test_onnx_channels_pass_a_reshape_where_they_are_innermost(
    kind: str, source: Shape, result: Shape, passes: bool
) -> None:
    assert (onnx_flow(kind, [source, result]) is not None) == passes


@pytest.mark.parametrize(
    ("source", "result", "passes"),
    [((1, 4, 4, 8), (1, 16, 8), True), ((1, 4, 4, 8), (1, 128), False), ((1, 8), (1, 1, 8), True)],
)
def test_tflite_channels_pass_a_reshape_that_keeps_the_last_axis(source: Shape, result: Shape, passes: bool) -> None:
    assert (tflite_flow("RESHAPE", [source, result], whole(*result)) is not None) == passes


def test_a_mean_over_the_picture_passes_and_one_over_channels_does_not() -> None:
    assert onnx_flow("ReduceMean", [PICTURE, (1, 8)], whole(2, 3)) == Flow({"a": 1, "out": 1})
    assert onnx_flow("ReduceMean", [PICTURE, (1, 8)], axes=[-1, -2]) == Flow({"a": 1, "out": 1})
    assert onnx_flow("ReduceMean", [PICTURE, (1, 1, 4, 4)], whole(1)) is None
    assert onnx_flow("ReduceMean", [(1, 4, 4, 4), (1, 4, 4)], whole(3)) is None  # tells nothing of which 4 is which
    assert onnx_flow("ReduceMean", [PICTURE, (1, 1, 1, 1)]) is None
    assert tflite_flow("MEAN", [(1, 4, 4, 8), (1, 8)], whole(1, 2)) == Flow({"a": 3, "out": 1})
    assert tflite_flow("MEAN", [(1, 4, 4, 8), (1, 4, 4, 8)], whole(-1)) is None
    assert tflite_flow("MEAN", [(1, 4, 4, 8), (1, 8)], None) is None


def test_padding_passes_with_zeros_beside_the_channels() -> None:
    beside, among = whole(0, 0, 1, 1, 0, 0, 1, 1), whole(0, 1, 0, 0, 0, -1, 0, 0)
    assert onnx_flow("Pad", [PICTURE, (1, 8, 6, 6)], beside) == Flow({"a": 1, "out": 1})
    assert onnx_flow("Pad", [PICTURE, (1, 8, 6, 6)], beside, ones(1) * 0) == Flow({"a": 1, "out": 1})
    assert onnx_flow("Pad", [PICTURE, (1, 8, 6, 6)], beside, ones(1)) is None
    assert onnx_flow("Pad", [PICTURE, PICTURE], among) is None
    assert onnx_flow("Pad", [PICTURE, (1, 8, 6, 6)], whole(1, 1, 1, 1), ones(1) * 0, whole(2, 3)) is None
    pads = np.array([[0, 0], [1, 1], [1, 1], [0, 0]])
    assert tflite_flow("PAD", [(1, 4, 4, 8), (1, 6, 6, 8)], pads) == Flow({"a": 3, "out": 3})
    assert tflite_flow("PAD", [(1, 4, 4, 8), (1, 4, 4, 8)], pads[[0, 0, 0, 1]]) is None


def test_clips_pass_with_zero_below_and_keep_their_limit() -> None:
    shapes: list[Shape] = [PICTURE, PICTURE]
    assert onnx_flow("Clip", shapes, ones() * 0, ones() * 6) == Flow({"a": 1, "out": 1}, limit=6.0)
    assert onnx_flow("Clip", shapes, ones() * 0) == Flow({"a": 1, "out": 1})
    assert onnx_flow("Clip", shapes, -ones(), ones()) is None
    assert onnx_flow("Clip", shapes, ones() * 0, None) is None
    assert onnx_flow("Clip", shapes, min=0.0, max=6.0) is None  # opset 6
    for fused, limit in ((0, None), (1, None), (3, 6.0)):
        assert tflite_flow("CONV_2D", shapes, ones(8, 3, 3, 8), fused=fused) == Flow({"out": 3}, {"a": 3}, limit=limit)
    for fused in (2, 4, 5):
        assert tflite_flow("CONV_2D", shapes, ones(8, 3, 3, 8), fused=fused) is None


def test_dense_layers_pass_with_one_bias_a_channel() -> None:
    rows: list[Shape] = [(1, 8), (1, 4)]
    assert onnx_flow("Gemm", rows, ones(4, 8), ones(4), transB=1) == Flow({"out": 1}, {"a": 1})
    assert onnx_flow("Gemm", rows, ones(8, 4), ones(4)) == Flow({"out": 1}, {"a": 1})
    assert onnx_flow("Gemm", rows, ones(8, 4), ones(1)) is None
    assert onnx_flow("Gemm", rows, ones(8, 4), None) is None
    assert onnx_flow("Gemm", rows, ones(8, 4), alpha=0.5) is None
    assert onnx_flow("MatMul", [(1, 5, 8), (1, 5, 4)], ones(8, 4)) == Flow({"out": 2}, {"a": 2})
    assert onnx_flow("MatMul", rows, None) is None
    assert onnx_flow("Conv", [PICTURE, PICTURE], ones(8, 8, 3, 3), None) is None


def test_a_tflite_dense_layer_takes_positions_and_channels_in_one_row() -> None:
    assert tflite_flow("FULLY_CONNECTED", [(1, 2, 2, 8), (1, 4)], ones(4, 32)) == Flow({"out": 1}, {"a": 3})
    assert tflite_flow("FULLY_CONNECTED", [(1, 4, 8), (8, 5)], ones(5, 4)) is None
    assert tflite_flow("FULLY_CONNECTED", [(1, 8), (1, 4)], ones(4, 8), None) is None


def test_sums_pass_with_one_constant_a_channel() -> None:
    passed = Flow({"a": 1, "out": 1}, constants=("b",))
    assert onnx_flow("Add", [PICTURE, PICTURE], ones(8, 1, 1)) == passed
    assert onnx_flow("Add", [PICTURE, PICTURE], ones(1)) is None
    assert onnx_flow("Add", [PICTURE, PICTURE], ones(4)) is None
    assert onnx_flow("Add", [(1, 0, 4, 4), (1, 0, 4, 4)], None) is None
    assert tflite_flow("ADD", [(1, 4, 4, 8)] * 2, ones(8)) == Flow({"a": 3, "out": 3}, constants=("b",))
    assert tflite_flow("ADD", [(1, 4, 4, 8)] * 2, ones(1)) is None
    assert tflite_flow("ADD", [(1, 4, 4, 8)] * 2, ones(4, 4, 8)) is None


def test_asking_for_a_shape_reads_no_values() -> None:
    assert onnx_flow("Shape", [PICTURE, (4,)]) == Flow({"a": 1})
    assert tflite_flow("SHAPE", [(1, 4, 4, 8), (4,)]) == Flow({"a": 3})


@pytest.mark.parametrize("kind", ["Sigmoid", "Softmax", "Mul", "Transpose", "LayerNormalization", "Concat"])
def test_other_onnx_operators_hold_their_channels(kind: str) -> None:
    assert onnx_flow(kind, [PICTURE, PICTURE]) is None


@pytest.mark.parametrize("kind", ["LOGISTIC", "SOFTMAX", "MUL", "TRANSPOSE", "BATCH_MATMUL", "CONCATENATION"])
def test_other_tflite_operators_hold_their_channels(kind: str) -> None:
    assert tflite_flow(kind, [PICTURE, PICTURE]) is None
