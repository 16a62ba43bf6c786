"""Quantization-aware fine-tuning by a function of the user's. Imports TensorFlow when imported.

The network computes with weights rounded to 8 bits per output channel and with activations rounded to 8 bits per
tensor (Jacob et al., 2018, arXiv:1712.05877), as its int8 artifact will; gradients pass straight through. Afterwards
the float weights are kept: ``edgekit convert`` chooses the grid anew, from calibration data.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edgekit.errors import ModelRefused
from edgekit_converters.compress.keras_channels import MIXERS
from edgekit_converters.compress.keras_graph import DEPTHWISE, TRANSPOSED, copied, keras
from edgekit_converters.compress.training import Tune
from edgekit_converters.sources._quiet import import_tensorflow

tf = import_tensorflow()
_MOMENTUM = 0.99
"""Of the running range of what a layer reads; the first batch sets it."""
_LEAST = 1e-8


def train_quantized(model: Any, tune: Tune, steps: int, examples: Sequence[Any]) -> Any:
    """Call the user's training function on a fake-quantized copy of the network.

    Args:
        model: The network, a flat model; it stays as it is.
        tune: The function.
        steps: What it is told.
        examples: A small batch, what the model is called with, to try the result on.

    Returns:
        The weights afterwards.

    Raises:
        InputRefused: The function failed.
        ModelRefused: The network gives NaN afterwards.
    """
    trained = fake_quantized(model)
    tune(trained, steps)
    answers = keras.tree.flatten(trained(examples))
    if any(answer.dtype.is_floating and bool(np.isnan(answer).any()) for answer in answers):
        raise ModelRefused("the model gives NaN after --train", expected="a smaller learning rate")
    return trained.get_weights()


def fake_quantized(model: Any) -> Any:
    """A copy whose convolutions and dense layers round their weights and what they read; it has the float weights."""
    made = copied(model)
    for layer in made.layers:
        if type(layer) in (*MIXERS, *DEPTHWISE):
            layer.call = _rounding(layer)
    return made


def _rounding(layer: Any) -> Any:
    """What a layer is called with instead: its own call() on rounded numbers."""
    own, rounded = layer.call, _Range()
    kernel = next(weight for weight in layer.weights if weight.name == "kernel")

    def call(inputs: Any, *arguments: Any, **keywords: Any) -> Any:
        taken = rounded(inputs)
        with keras.StatelessScope([(kernel, _rounded_kernel(layer, kernel.value))]):
            return own(taken, *arguments, **keywords)

    return call


def _rounded_kernel(layer: Any, kernel: Any) -> Any:
    """On the symmetric grid of 255 levels of each output channel."""
    order = list(range(len(kernel.shape)))
    if isinstance(layer, TRANSPOSED):
        order[-2:] = reversed(order[-2:])
    turned = tf.transpose(tf.cast(kernel, tf.float32), order)
    rows = tf.reshape(turned, (-1, prod(turned.shape[-2:]) if type(layer) in DEPTHWISE else turned.shape[-1]))
    most = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(rows), 0), _LEAST))
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(rows, -most, most, narrow_range=True)
    return tf.cast(tf.transpose(tf.reshape(rounded, turned.shape), order), kernel.dtype)


class _Range:
    """Rounds to the 256 levels of a running range."""

    def __init__(self) -> None:
        self._ends, self._seen = tf.Variable(tf.zeros(2), trainable=False), tf.Variable(False, trainable=False)

    def __call__(self, tensor: Any) -> Any:
        whole = tf.cast(tensor, tf.float32)
        flat = tf.stop_gradient(whole)
        ends = tf.stack([tf.minimum(tf.reduce_min(flat), 0.0), tf.maximum(tf.reduce_max(flat), _LEAST)])
        self._ends.assign(tf.where(self._seen, _MOMENTUM * self._ends + (1 - _MOMENTUM) * ends, ends))
        self._seen.assign(True)
        rounded = tf.quantization.fake_quant_with_min_max_vars(whole, self._ends[0], self._ends[1])
        return tf.cast(rounded, tensor.dtype)
