"""Error-compensated rounding of weights: GPTQ on the layers of a float artifact.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv 2210.17323, applied to convolutions through the patches they multiply. A layer's squared output error is
``(w - q) H (w - q)ᵀ`` with H the second moments of its inputs; column by column a weight is rounded and its error
is pushed onto the columns not yet rounded. The weights stay on the grid that the quantizer stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.engine import Array
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.chosen import contents_code
from edgekit_converters.quantize.graph import FloatGraph, Layer, Window
from edgekit_converters.quantize.weights import WEIGHT_STEPS

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

DAMPING = 0.01
"""Part of the mean of H's diagonal that is added to it."""
# Rows drawn from a sample: enough to tell the columns apart, 64 to 600.
_ROWS_A_COLUMN = 4
_FEWEST, _MOST = 64, 600
# Positions of a sample for each input of a row: second moments of 9 taps need fewer than those of 960 channels.
_POSITIONS_PER_COLUMN = 8
_FEWEST_POSITIONS = 64
_BLOCK = 64
# Columns up to which a product is too small for several threads.
_SMALL = 256
_PASSES = 6
# Second moments held at once, float32: the memory of a pass.
_MOMENT_BYTES = 256 * 2**20


def compensate(
    graph: FloatGraph,
    samples: Samples,
    scales: Mapping[str, Array],
    *,
    spread: bool = True,
    correct: bool = True,
) -> None:
    """Round the weights of all layers that have scales, correct their biases, and leave both in the graph.

    Layers are taken in the order they run, a few a pass over the samples, so that later ones see the inputs which
    the rounded earlier ones give. A bias takes up what the rounding of its layer's weights would still move the
    mean of its channel by. (What the rounding of activations moves it by is left: clipped outliers make that mean,
    and making it up moves all other positions away. MobileNetV2: relative L2 0.21 instead of 0.07.)

    Args:
        graph: The float graph; its weights and biases are replaced.
        samples: Calibration data, gone through about six times.
        scales: Name of a weight -> scale of each output channel.
        spread: Whether a weight's rounding error is spread over the weights not yet rounded; otherwise each is
            rounded to its nearest step.
        correct: Whether biases are corrected.
    """
    from threadpoolctl import ThreadpoolController

    layers = [layer for layer in graph.layers if layer.weight in scales and is_known(graph, layer)]
    blas = ThreadpoolController()
    for group in _passes(graph, layers):
        gathered = {layer: _Gathered(moments=spread) for layer in group}
        uses = Counter(name for layer in group for name in (layer.weight, layer.bias))
        shared: dict[str, Array] = {}
        _gather(graph, samples, gathered, blas)
        for layer in group:
            sums = gathered.pop(layer)  # second moments go one by one, new weights never pile up
            with _threads(blas, sums.columns):
                found = _compensated(graph, layer, sums, scales[layer.weight], spread=spread, correct=correct)
            changed = {name: values for name, values in found.items() if uses[name] > 1}
            graph.replace_weights({name: values for name, values in found.items() if name not in changed})
            shared.update(changed)
        graph.replace_weights(shared)


def _threads(blas: ThreadpoolController, columns: int) -> AbstractContextManager[Any]:
    """One thread for small matrices: threads that wait for each other stand still where other processes run too.

    (ResNet8 on busy cores: 20 s instead of 3 s. On idle ones two threads make products of 960 columns 1.8 times as
    fast, and take a few hundredths of a millisecond off those of 96.)
    """
    return blas.limit(limits=1, user_api="blas") if columns < _SMALL else nullcontext()


def is_known(graph: FloatGraph, layer: Layer) -> bool:
    """Whether a layer's patches can be taken; convolutions in one or three dimensions round to nearest."""
    return layer.window is not None or graph.weight(layer.weight).ndim == 2


def _compensated(
    graph: FloatGraph, layer: Layer, sums: _Gathered, scales: Array, *, spread: bool, correct: bool
) -> dict[str, Array]:
    """New weight and bias of a layer."""
    weight = graph.weight(layer.weight)
    matrix = as_matrix(layer, weight)
    steps = scales.reshape(matrix.shape[0], -1, 1)
    if spread:
        rounded = round_matrix(matrix, sums.moments, steps)
    else:
        rounded = np.clip(np.rint(matrix / steps), -WEIGHT_STEPS, WEIGHT_STEPS) * steps
    found = {layer.weight: from_matrix(layer, rounded, weight.shape)}
    if correct and layer.bias is not None:
        bias = graph.weight(layer.bias)
        moved = (matrix - rounded) @ sums.mean[..., None]
        if bias.size == moved.size:
            found[layer.bias] = (bias + moved.reshape(bias.shape)).astype(np.float32)
    return found


def _passes(graph: FloatGraph, layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Groups of consecutive layers; a group's second moments fit into the memory set aside for them."""
    size = -(-len(layers) // _PASSES)
    group: list[Layer] = []
    held = 0
    for layer in layers:
        groups, _, columns = as_matrix(layer, graph.weight(layer.weight)).shape
        needed = groups * columns * columns * 4
        if group and (len(group) == size or held + needed > _MOMENT_BYTES):
            yield group
            group, held = [], 0
        group.append(layer)
        held += needed
    if group:
        yield group


class _Gathered:
    """Sums over what a layer's weights are multiplied with.

    Args:
        moments: Whether to sum up outer products.

    Attributes:
        moments: Sum of outer products of the rows, float32, ``(groups, columns, columns)``.
    """

    def __init__(self, *, moments: bool) -> None:
        self._count, self._wanted = 0, moments
        self._total: Array = np.zeros(())
        self.moments: Array = np.zeros((), np.float32)

    def add(self, rows: Array) -> None:
        """Add rows ``(groups, positions, columns)``."""
        self._count += rows.shape[1]
        self._total = self._total + rows.sum(1, dtype=np.float64)
        if not self._wanted:
            return
        # For one matrix numpy notices that both sides are the same and computes half.
        products = (rows[0].T @ rows[0])[None] if len(rows) == 1 else np.matmul(rows.transpose(0, 2, 1), rows)
        if not self.moments.shape:
            self.moments = np.zeros(products.shape, np.float32)
        self.moments += products

    @property
    def columns(self) -> int:
        """Columns of a row."""
        return int(self.moments.shape[-1]) if self.moments.shape else 0

    @property
    def mean(self) -> Array:
        """Mean row of each group, ``(groups, columns)``."""
        return self._total / self._count


def _gather(
    graph: FloatGraph, samples: Samples, gathered: Mapping[Layer, _Gathered], blas: ThreadpoolController
) -> None:
    """Go through the samples once."""
    readers: dict[str, list[Layer]] = {}
    for layer in gathered:
        readers.setdefault(layer.input, []).append(layer)
    for sample in samples:
        seed = contents_code(sample)  # the same positions are drawn whatever the order of the samples
        for name, values in graph.visit(sample, list(readers)):
            for layer in readers[name]:
                rows = layer_inputs(layer, values, np.random.default_rng(seed))
                with _threads(blas, rows.shape[2]):
                    gathered[layer].add(rows)


def layer_inputs(layer: Layer, values: Array, generator: np.random.Generator) -> Array:
    """What the rows of a layer's weight matrix are multiplied with, at 64 to 600 positions.

    Args:
        layer: The layer.
        values: Its input, in the artifact's layout, batch of one.
        generator: Draws the positions.

    Returns:
        float32 array of shape ``(groups, positions, columns)``.
    """
    if layer.window is None:
        rows = values.reshape(-1, values.shape[-1])
        return rows[_drawn(len(rows), rows.shape[1], generator)][None]
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
    channels = image.shape[2] // window.groups
    chosen = _drawn(counts[0] * counts[1], channels * window.kernel[0] * window.kernel[1], generator)
    rows, columns = np.divmod(chosen, counts[1])
    found = padded[
        (rows * window.strides[0])[:, None, None] + taps[0][None, :, None],
        (columns * window.strides[1])[:, None, None] + taps[1][None, None, :],
    ]
    split = found.reshape(len(chosen), -1, window.groups, channels).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(split.reshape(window.groups, len(chosen), -1))


def _drawn(rows: int, columns: int, generator: np.random.Generator) -> Array:
    """Indices of the rows to take."""
    wanted = min(max(_ROWS_A_COLUMN * columns, _FEWEST), _MOST)
    return np.arange(rows) if rows <= wanted else generator.choice(rows, wanted, replace=False)


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
    damped = moments.astype(np.float64) + diagonal[:, None, None] * np.eye(columns)
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
