"""What the layers that read channels see, and how much the answers depend on it. Imports TensorFlow when imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit_converters.compress.keras_graph import run
from edgekit_converters.sources._quiet import import_tensorflow

tf = import_tensorflow()
Tensors = Sequence[Any]


class _Effects:
    """Sums at one layer; see :func:`gather`."""

    def __init__(self) -> None:
        self._count = 0
        self._total: Any = 0
        self._effects: list[Array] = []
        self._gradients: list[Array] = []

    def see(self, calls: Sequence[tuple[Any, Any]], inputs: int) -> None:
        """Add a batch of some inputs: what the layer takes, and its gradient, at each call."""
        for taken, _ in calls:
            rows = tf.reshape(taken, (-1, taken.shape[-1]))
            self._count += len(rows)
            self._total = self._total + tf.reduce_sum(rows, 0).numpy()
        self._effects.append(np.sum([_by_input(taken * gradient, inputs) for taken, gradient in calls], axis=0))
        self._gradients.append(np.sum([_by_input(gradient, inputs) for _, gradient in calls], axis=0))

    def result(self) -> Array:
        mean = self._total / self._count
        return np.asarray(np.concatenate(self._effects) - mean * np.concatenate(self._gradients))


def _by_input(tensor: Any, inputs: int) -> Array:
    """``[inputs, channels]``: the sum over the positions of each input, wherever the layer has them among its axes."""
    return np.asarray(tf.reduce_sum(tf.reshape(tensor, (inputs, -1, tensor.shape[-1])), 1))


def gather(model: Any, names: Iterable[str], batches: Iterable[Tensors], *, seed: int = 0) -> dict[str, Array]:
    """Measure what each input channel of some layers does to the answers.

    Random probes of the outputs stand for all their directions, so no labels are needed.

    Args:
        model: A flat model.
        names: Layers that read channels.
        batches: Tensors for each call, one for each input.
        seed: Of the probes.

    Returns:
        Layer -> change of the answers, to the first order, when a channel is fixed at its mean, ``[inputs, channels]``.
    """
    sums = {name: _Effects() for name in names}
    random = np.random.default_rng(seed)
    for tensors in batches:
        calls = _felt(model, set(sums), tensors, random)
        for name, effects in sums.items():
            effects.see(calls[name], len(tensors[0]))
    return {name: effects.result() for name, effects in sums.items()}


def _felt(model: Any, names: set[str], tensors: Tensors, random: Any) -> dict[str, list[tuple[Any, Any]]]:
    """For each layer what it takes at each call, with the gradient of a random probe."""
    seen: list[tuple[str, Any]] = []
    with tf.GradientTape() as tape:

        def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
            if operation.name in names:
                taken = _watched(tape, arguments[0])
                seen.append((operation.name, taken))
                arguments = (taken, *arguments[1:])
            return operation(*arguments, **keywords)

        outputs = [output for output in run(model, tensors, call) if output.dtype.is_floating]
        probe = tf.add_n([_probe(output, random) for output in outputs])
    gradients = tape.gradient(probe, [taken for _, taken in seen], unconnected_gradients="zero")
    calls: dict[str, list[tuple[Any, Any]]] = {name: [] for name in names}
    for (name, taken), gradient in zip(seen, gradients, strict=True):
        calls[name].append((tf.cast(taken, tf.float32), tf.cast(gradient, tf.float32)))
    return calls


def _watched(tape: Any, tensor: Any) -> Any:
    tape.watch(tensor)
    return tensor


def _probe(output: Any, random: Any) -> Any:
    output = tf.cast(output, tf.float32)
    scale = tf.norm(tf.stop_gradient(output)) / len(output) ** 0.5 + 1e-12
    directions = random.standard_normal(tuple(output.shape), np.float32)
    return tf.reduce_sum(output * directions) / scale
