"""The distance between a pruned network and its original, in answers and in between.

Imports TensorFlow when imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.engine import Array
from edgekit_converters.compress.keras_graph import run
from edgekit_converters.compress.keras_statistics import Tensors
from edgekit_converters.compress.learning import ANSWERS, CLASSES, FEATURES
from edgekit_converters.sources._quiet import import_tensorflow

tf = import_tensorflow()


class Distance:
    """How far a network is from its original: the same measure as ``torch_distillation.Distance``.

    Args:
        original: The original, a flat model.
        names: Layers whose outputs are compared.
        kept: Layer -> outputs of the original's layer that the pruned one still has.
        decides: Position of the output that holds class scores; ``None`` for none.
    """

    def __init__(self, original: Any, names: Sequence[str], kept: Mapping[str, Array], decides: int | None) -> None:
        self._original, self._names, self._decides = original, frozenset(names), decides
        self._kept = {name: kept[name] for name in names}

    def __call__(self, model: Any, tensors: Tensors, wanted_of: Tensors) -> Any:
        """The distance on a batch, a scalar with a gradient.

        Args:
            model: The network.
            tensors: Its inputs.
            wanted_of: The original's, which may be larger photos.
        """
        wanted, wanted_features = self._run(self._original, wanted_of)
        given, features = self._run(model, tensors)
        loss = tf.zeros(())
        pairs = [
            (feature, _on_grid(tf.gather(wanted_features[name], self._kept[name], axis=-1), feature))
            for name, feature in features.items()
        ]
        compared = [(feature, part) for feature, part in pairs if part is not None]
        for feature, part in compared:
            loss += FEATURES / len(compared) * _relative(feature, part)
        for place, (answer, target) in enumerate(zip(given, map(tf.stop_gradient, wanted), strict=True)):
            if answer.dtype.is_floating:
                loss += ANSWERS * _relative(answer, target)
            if place == self._decides and answer.shape[-1] > 1:
                loss += CLASSES * _divergence(answer, target)
        return loss

    def _run(self, model: Any, tensors: Tensors) -> tuple[list[Any], dict[str, Any]]:
        features: dict[str, Any] = {}

        def call(operation: Any, *arguments: Any, **keywords: Any) -> Any:
            answer = operation(*arguments, **keywords)
            if operation.name in self._names:
                features[operation.name] = answer
            return answer

        return run(model, tensors, call), features


def _on_grid(wanted: Any, given: Any) -> Any:
    """What the original sees in a larger photo, averaged onto the places that the network has.

    ``None`` where they lie on no grid, as tokens in a row.
    """
    if wanted.shape[1:] != given.shape[1:]:
        if len(wanted.shape) != 4:
            return None
        wanted = tf.image.resize(wanted, given.shape[1:3], method="area")
    return tf.stop_gradient(wanted)


def _relative(answer: Any, target: Any) -> Any:
    answer, target = tf.cast(answer, tf.float32), tf.cast(target, tf.float32)
    finite = tf.math.is_finite(target)
    target = tf.where(finite, target, 0.0)
    error = tf.where(finite, answer - target, 0.0)
    return tf.reduce_sum(error**2) / (tf.reduce_sum(target**2) + 1e-12)


def _divergence(answer: Any, target: Any) -> Any:
    own, wanted = _log_shares(answer), _log_shares(target)
    return tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - own), -1))


def _log_shares(scores: Any) -> Any:
    """Logarithms of class probabilities, from these or from logits."""
    flat = tf.cast(tf.reshape(scores, (-1, scores.shape[-1])), tf.float32)
    shares = tf.reduce_all(flat >= 0) & tf.reduce_all(tf.abs(tf.reduce_sum(flat, -1) - 1) < 1e-3)
    return tf.where(shares, tf.math.log(tf.maximum(flat, 1e-8)), tf.nn.log_softmax(flat))
