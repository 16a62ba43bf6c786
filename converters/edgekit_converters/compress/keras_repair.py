"""Least squares at the layers that lost inputs: their weights and bias make up for what is gone.

Imports TensorFlow when imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

from edgekit.engine import Array
from edgekit_converters.compress.keras_graph import layers, run
from edgekit_converters.compress.keras_statistics import Tensors
from edgekit_converters.compress.least_squares import WIDEST, LeastSquares
from edgekit_converters.sources._quiet import import_tensorflow

tf = import_tensorflow()
_REFITTED = (layers.Conv1D, layers.Conv2D, layers.Dense)
_AT_ONCE = 1 << 24
"""Numbers that are laid out side by side at a time."""
Batches = Callable[[], Iterable[Tensors]]
Kept = Mapping[str, Array]


def repair(model: Any, original: Any, names: Sequence[str], batches: Batches, *, kept: Kept, read: Kept) -> None:
    """Refit layers to the original's outputs of the same layers.

    As in He et al., "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017, arXiv:1707.06168), with
    a prior at the weights as they are, and for all layers at once, as if everything before a layer were as in the
    original. What is too wide to be solved for, transposed or in three dimensions is left to distillation.

    Args:
        model: The pruned network.
        original: The network it comes from; both are flat models.
        names: Layers that mix channels; in the pruned network they have a bias.
        batches: Gives the inputs anew at each call.
        kept: Layer -> outputs of the original's layer that the pruned one still has.
        read: Layer -> inputs of the original's layer that the pruned one still has.
    """
    found = [model.get_layer(name) for name in names]
    fitted = {layer.name: layer for layer in found if isinstance(layer, _REFITTED) and _size(layer) <= WIDEST}
    sums = {name: LeastSquares(_size(layer)) for name, layer in fitted.items()}

    def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
        answer, name = operation(*arguments, **keywords), operation.name
        if name in sums:
            taken, wanted = (
                tf.cast(tf.gather(tensor, places[name], axis=-1), tf.float32)
                for tensor, places in ((arguments[0], read), (answer, kept))
            )
            few = max(1, _AT_ONCE * len(wanted) // (tf.size(wanted).numpy() // wanted.shape[-1] * _size(fitted[name])))
            for start in range(0, len(taken), few):
                rows = taps(taken[start : start + few], fitted[name])
                sums[name].add(rows.numpy(), tf.reshape(wanted[start : start + few], (-1, wanted.shape[-1])).numpy())
        return answer

    for tensors in batches():
        run(original, tensors, call)
    for name, layer in fitted.items():
        size = _size(layer)
        weights, bias = sums[name].solve(layer.kernel.numpy().reshape(size, -1).T)
        layer.kernel.assign(weights.T.reshape(layer.kernel.shape))
        layer.bias.assign(bias)


def _size(layer: Any) -> int:
    return prod(layer.kernel.shape[:-1])


def taps(taken: Any, layer: Any) -> Any:
    """``[positions, taps * inputs]``: what each output of a layer is a weighted sum of."""
    if not isinstance(layer, layers.Dense):
        taken = _patches(taken, layer)
    return tf.reshape(taken, (-1, _size(layer)))


def _patches(taken: Any, layer: Any) -> Any:
    sizes, strides, rates = (list(each) for each in (layer.kernel_size, layer.strides, layer.dilation_rate))
    padding = layer.padding.upper()
    if isinstance(layer, layers.Conv1D):
        if padding == "CAUSAL":
            taken, padding = tf.pad(taken, [[0, 0], [rates[0] * (sizes[0] - 1), 0], [0, 0]]), "VALID"
        taken = taken[:, None]
        sizes, strides, rates = [1, *sizes], [1, *strides], [1, *rates]
    return tf.image.extract_patches(taken, [1, *sizes, 1], [1, *strides, 1], [1, *rates, 1], padding)
