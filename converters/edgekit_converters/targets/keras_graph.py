"""A Keras source as the converters want it: named inputs and outputs, in the artifact's layout and batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgekit.spec import TensorSpec
from edgekit_converters.sources._keras_graph import takes_list
from edgekit_converters.targets.base import inverse
from edgekit_converters.targets.binding import Permute


def named_call(source: Any, outputs: Sequence[str], permute: Permute) -> Callable[..., dict[str, Any]]:
    """Return a function from the artifact's inputs, in the source's order, to its named outputs.

    Args:
        source: The Keras source.
        outputs: Name of each output in the artifact.
        permute: Source input name -> axes that turn its array into the artifact's layout.
    """
    import keras

    axes = [inverse(permute[spec.name]) if spec.name in permute else None for spec in source.inputs]
    model, as_list = source.model, takes_list(source.model)

    def call(*arrays: Any) -> dict[str, Any]:
        laid_out = [
            array if order is None else keras.ops.transpose(array, order)
            for array, order in zip(arrays, axes, strict=True)
        ]
        answers = keras.tree.flatten(model(laid_out if as_list else laid_out[0], training=False))
        return dict(zip(outputs, answers, strict=True))

    return call


def signature(inputs: Sequence[TensorSpec], names: Sequence[str], permute: Permute, batch: int | None) -> list[Any]:
    """TensorFlow's description of the artifact's inputs.

    Args:
        inputs: The source's inputs.
        names: Name of each in the artifact.
        permute: Source input name -> axes that turn its array into the artifact's layout.
        batch: Batch to fix; ``None`` keeps the source's.
    """
    import tensorflow as tf

    found = []
    for spec, name in zip(inputs, names, strict=True):
        shape = (batch if batch is not None else spec.shape[0], *spec.shape[1:])
        order = permute.get(spec.name, range(len(shape)))
        found.append(tf.TensorSpec([shape[i] for i in order], spec.dtype, name=name))
    return found
