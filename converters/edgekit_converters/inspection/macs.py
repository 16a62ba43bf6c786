"""Multiply-accumulate operations of one operator, from the shapes of its tensors.

The convention is the usual one of model papers (MobileNetV2, 224 x 224: 300 million): one multiplication with
the addition that follows it is one MAC; biases, activations, pooling and element-wise operators count nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int | None, ...]


class UnknownShape(Exception):
    """A dimension that the formula needs is dynamic."""


def elements(shape: Sequence[int | None]) -> int:
    """Return the number of elements. Raises UnknownShape for a dynamic dimension."""
    if any(size is None for size in shape):
        raise UnknownShape
    return math.prod(size for size in shape if size is not None)


@dataclass(frozen=True)
class Operand:
    """A tensor as a formula sees it.

    Attributes:
        shape: Dimensions; ``None`` where dynamic; the whole shape is ``None`` where even the rank is unknown.
        constant: Whether its values are stored in the file.
    """

    shape: Shape | None
    constant: bool = False

    @property
    def dims(self) -> Shape:
        """The shape. Raises UnknownShape where the rank is unknown."""
        if self.shape is None:
            raise UnknownShape
        return self.shape


Operands = Sequence[Operand]
Formula = Callable[[Operands, Operands], int]


@dataclass(frozen=True)
class Compute:
    """How an operator multiplies.

    Attributes:
        formula: Input and output operands -> MACs.
        data: Position of the data input.
        weights: Position of the other factor.
    """

    formula: Formula
    data: int = 0
    weights: int = 1


def _contracted(left: Operand, product: Operand) -> int:
    """Length of the dimension that a matrix product sums over, however the left matrix is transposed."""
    if len(left.dims) < 2 or len(product.dims) < 2:
        return elements(left.dims[-1:])
    rows = elements(product.dims[-2:-1])
    return elements(left.dims[-2:]) // rows if rows else 0


def _recurrent(inputs: Operands, outputs: Operands) -> int:
    """Each step multiplies the step's input and the state by every stored matrix once."""
    matrices = [item for item in inputs[1:] if item.constant and len(item.dims) == 2]
    return elements(inputs[0].dims[:-1]) * sum(elements(item.dims) for item in matrices)


# Weight layouts are those of the TFLite schema: OHWI for convolutions, 1HWO for depthwise ones,
# DHWIO for 3-D convolutions and DHWOI for their transposes.
TFLITE: Mapping[str, Compute] = {
    "CONV_2D": Compute(lambda i, o: elements(o[0].dims) * elements(i[1].dims[1:])),
    "DEPTHWISE_CONV_2D": Compute(lambda i, o: elements(o[0].dims) * elements(i[1].dims[1:3])),
    "CONV_3D": Compute(lambda i, o: elements(o[0].dims) * elements(i[1].dims[:4])),
    "TRANSPOSE_CONV": Compute(lambda i, o: elements(i[2].dims) * elements(i[1].dims[:3]), data=2),
    "CONV_3D_TRANSPOSE": Compute(lambda i, o: elements(i[2].dims) * elements(i[1].dims[:4]), data=2),
    "FULLY_CONNECTED": Compute(lambda i, o: elements(o[0].dims) * elements(i[1].dims[-1:])),
    "BATCH_MATMUL": Compute(lambda i, o: elements(o[0].dims) * _contracted(i[0], o[0])),
    "RNN": Compute(_recurrent),
    "LSTM": Compute(_recurrent, weights=2),
    "SVDF": Compute(_recurrent),
    "UNIDIRECTIONAL_SEQUENCE_RNN": Compute(_recurrent),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Compute(_recurrent, weights=2),
    "BIDIRECTIONAL_SEQUENCE_RNN": Compute(_recurrent),
    "BIDIRECTIONAL_SEQUENCE_LSTM": Compute(_recurrent, weights=2),
}


def _onnx_convolution(weights: int) -> Compute:
    """Weights are O, I / groups, then the kernel."""
    return Compute(lambda i, o: elements(o[0].dims) * elements(i[weights].dims[1:]), weights=weights)


def _onnx_transposed(inputs: Operands, outputs: Operands) -> int:
    """Weights are I, O / groups, then the kernel: every input value meets the kernel of each of its outputs."""
    return elements(inputs[0].dims) * elements(inputs[1].dims[1:])


def _onnx_product(weights: int) -> Compute:
    return Compute(lambda i, o: elements(o[0].dims) * elements(i[0].dims[-1:]), weights=weights)


def _onnx_recurrent(inputs: Operands, outputs: Operands) -> int:
    """X is sequence, batch, features; W and R hold all gates of all directions."""
    return elements(inputs[0].dims[:2]) * (elements(inputs[1].dims) + elements(inputs[2].dims))


ONNX: Mapping[str, Compute] = {
    "Conv": _onnx_convolution(1),
    "ConvInteger": _onnx_convolution(1),
    "QLinearConv": _onnx_convolution(3),
    "com.microsoft::FusedConv": _onnx_convolution(1),
    "ConvTranspose": Compute(_onnx_transposed),
    "Gemm": Compute(lambda i, o: elements(o[0].dims) * _contracted(i[0], o[0])),
    "MatMul": _onnx_product(1),
    "MatMulInteger": _onnx_product(1),
    "QLinearMatMul": _onnx_product(3),
    "com.microsoft::FusedMatMul": Compute(lambda i, o: elements(o[0].dims) * _contracted(i[0], o[0])),
    "com.microsoft::DynamicQuantizeMatMul": _onnx_product(1),
    "com.microsoft::MatMulIntegerToFloat": _onnx_product(1),
    "com.microsoft::MatMulNBits": _onnx_product(1),
    "LSTM": Compute(_onnx_recurrent),
    "GRU": Compute(_onnx_recurrent),
    "RNN": Compute(_onnx_recurrent),
}


def einsum(equation: str, inputs: Operands) -> int:
    """MACs of a two-operand Einsum: the product of the sizes of all its subscripts (none for one operand).

    Raises:
        UnknownShape: A dynamic dimension, an ellipsis or more than two operands.
    """
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) == 1:
        return 0
    if "." in equation or len(terms) != 2 or len(inputs) != 2:
        raise UnknownShape
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, inputs, strict=True):
        for subscript, size in zip(term, operand.dims, strict=False):
            sizes[subscript] = max(sizes.get(subscript, 1), elements((size,)))
    return math.prod(sizes.values())
