"""Error-compensated rounding of weights: GPTQ on the layers of a float artifact.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv 2210.17323, applied to convolutions through the patches they multiply. A layer's squared output error is
``(w - q) H (w - q)ᵀ`` with H the second moments of its inputs; column by column a weight is rounded and its error
is pushed onto the columns not yet rounded. The weights stay on the grid that the quantizer stores.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.graph import FloatGraph, Layer, Window
from edgekit_converters.quantize.weights import WEIGHT_STEPS

DAMPING = 0.01
"""Part of the mean of H's diagonal that is added to it."""
_POSITIONS = 600
_BLOCK = 64
_PASSES = 6
# Second moments held at once, float64: the memory of a pass.
_MOMENT_BYTES = 256 * 2**20


def compensated_weights(graph: FloatGraph, samples: Samples, scales: Mapping[str, Array]) -> dict[str, Array]:
    """Round the weights of all layers that have scales, and leave the rounded weights in the graph.

    Layers are taken in the order they run, a few a pass over the samples, so that later ones see the inputs which
    the rounded earlier ones give.

    Args:
        graph: The float graph; its weights are replaced.
        samples: Calibration data, gone through about six times.
        scales: Name of a weight -> scale of each output channel.

    Returns:
        Name of a weight -> rounded weight, float32, of its shape: integers up to 127 times the scales.
    """
    rounded: dict[str, Array] = {}
    for group in _passes(graph, [layer for layer in graph.layers if layer.weight in scales]):
        moments = _second_moments(graph, samples, group)
        found = {layer.weight: _rounded(graph, layer, moments[layer.weight], scales[layer.weight]) for layer in group}
        graph.replace_weights(found)
        rounded.update(found)
    return rounded


def _rounded(graph: FloatGraph, layer: Layer, moments: Array, scales: Array) -> Array:
    weight = graph.weight(layer.weight)
    matrix = as_matrix(layer, weight)
    return from_matrix(layer, round_matrix(matrix, moments, scales.reshape(matrix.shape[0], -1, 1)), weight.shape)


def _passes(graph: FloatGraph, layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Groups of consecutive layers; a group's second moments fit into the memory set aside for them."""
    size = -(-len(layers) // _PASSES)
    group: list[Layer] = []
    held = 0
    for layer in layers:
        groups, _, columns = as_matrix(layer, graph.weight(layer.weight)).shape
        needed = groups * columns * columns * 8
        if group and (len(group) == size or held + needed > _MOMENT_BYTES):
            yield group
            group, held = [], 0
        group.append(layer)
        held += needed
    if group:
        yield group


def _second_moments(graph: FloatGraph, samples: Samples, layers: Sequence[Layer]) -> dict[str, Array]:
    """Sum of outer products of what each layer's weights are multiplied with, float64."""
    found: dict[str, Array] = {}
    names = list(dict.fromkeys(layer.input for layer in layers))
    for sample in samples:
        values = graph.watch(sample, names)
        generator = np.random.default_rng(_seed(sample))
        for layer in layers:
            rows = layer_inputs(layer, values[layer.input], generator)
            found[layer.weight] = found.get(layer.weight, 0.0) + np.matmul(rows.transpose(0, 2, 1), rows)
    return found


def _seed(sample: Feeds) -> int:
    """A number from the sample's contents: the same positions are drawn whatever the order of the samples."""
    return zlib.crc32(b"".join(np.ascontiguousarray(array).tobytes() for array in sample.values()))


def layer_inputs(layer: Layer, values: Array, generator: np.random.Generator) -> Array:
    """What the rows of a layer's weight matrix are multiplied with, at no more than 600 positions.

    Args:
        layer: The layer.
        values: Its input, in the artifact's layout, batch of one.
        generator: Draws the positions.

    Returns:
        float32 array of shape ``(groups, positions, columns)``.
    """
    if layer.window is None:
        rows = values.reshape(-1, values.shape[-1])
        if len(rows) > _POSITIONS:
            rows = rows[generator.choice(len(rows), _POSITIONS, replace=False)]
        return rows[None]
    image = values[0] if layer.window.layout == "NHWC" else values[0].transpose(1, 2, 0)
    return _patches(layer.window, image, generator)


def _patches(window: Window, image: Array, generator: np.random.Generator) -> Array:
    top, left, bottom, right = window.pads
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)))
    taps = [np.arange(size) * dilation for size, dilation in zip(window.kernel, window.dilations, strict=True)]
    counts = [
        (size - int(tap[-1]) - 1) // stride + 1
        for size, tap, stride in zip(padded.shape, taps, window.strides, strict=False)
    ]
    total = counts[0] * counts[1]
    chosen = np.arange(total) if total <= _POSITIONS else generator.choice(total, _POSITIONS, replace=False)
    rows, columns = np.divmod(chosen, counts[1])
    found = padded[
        (rows * window.strides[0])[:, None, None] + taps[0][None, :, None],
        (columns * window.strides[1])[:, None, None] + taps[1][None, None, :],
    ]
    channels = image.shape[2] // window.groups
    split = found.reshape(len(chosen), -1, window.groups, channels).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(split.reshape(window.groups, len(chosen), -1))


def as_matrix(layer: Layer, weight: Array) -> Array:
    """A stored weight as ``(groups, output channels of a group, columns)``, columns in the order of the inputs."""
    if layer.window is None:
        return (weight if layer.weight_axis == 0 else weight.T)[None]
    if layer.weight_axis == 3:  # depthwise, 1 x height x width x channels
        return weight.transpose(3, 0, 1, 2).reshape(layer.window.groups, -1, weight[..., 0].size)
    rows = weight if layer.window.layout == "NHWC" else weight.transpose(0, 2, 3, 1)
    return rows.reshape(layer.window.groups, -1, rows[0].size)


def from_matrix(layer: Layer, matrix: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of :func:`as_matrix`, float32."""
    values = matrix.astype(np.float32)
    if layer.window is None:
        return values[0] if layer.weight_axis == 0 else np.ascontiguousarray(values[0].T)
    if layer.weight_axis == 3:
        return np.ascontiguousarray(values.reshape(shape[3], *shape[:3]).transpose(1, 2, 3, 0))
    if layer.window.layout == "NHWC":
        return values.reshape(shape)
    outputs, inputs, height, width = shape
    return np.ascontiguousarray(values.reshape(outputs, height, width, inputs).transpose(0, 3, 1, 2))


def round_matrix(weight: Array, moments: Array, steps: Array) -> Array:
    """Round to multiples of ``steps``, spreading each error over the columns that follow.

    The largest weight of a row is rounded as it is: it defines the scale, so that any quantizer which takes
    ``max(|w|) / 127`` finds the same grid again.

    Args:
        weight: ``(groups, rows, columns)``.
        moments: Second moments of the inputs, ``(groups, columns, columns)``.
        steps: Scale of each row, ``(groups, rows, 1)``.

    Returns:
        float64 array of the weight's shape.
    """
    columns = weight.shape[2]
    diagonal = np.einsum("gkk->gk", moments).mean(1) * DAMPING + 1e-9
    damped = moments + diagonal[:, None, None] * np.eye(columns)
    # Upper factor of the inverse: row j says how the error of column j is best spread over those after it.
    upper = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    left = weight.astype(np.float64)
    largest = np.abs(weight).argmax(2)
    rounded = np.empty_like(left)
    for start in range(0, columns, _BLOCK):
        end = min(start + _BLOCK, columns)
        errors = np.empty_like(left[:, :, start:end])
        for j in range(start, end):
            column = left[:, :, j : j + 1]
            wanted = np.where((largest == j)[:, :, None], weight[:, :, j : j + 1], column)
            rounded[:, :, j : j + 1] = np.clip(np.rint(wanted / steps), -WEIGHT_STEPS, WEIGHT_STEPS) * steps
            error = (column - rounded[:, :, j : j + 1]) / upper[:, j, j][:, None, None]
            left[:, :, j:end] -= error * upper[:, None, j, j:end]
            errors[:, :, j - start] = error[:, :, 0]
        left[:, :, end:] -= errors @ upper[:, start:end, end:]
    return rounded
