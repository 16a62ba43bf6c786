"""Where the channels of a Keras layer's output come from. Imports Keras when imported.

The channels of a tensor are its last axis. A layer that is not known here fixes the channels that it takes and makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgekit_converters.compress.keras_graph import CONVOLUTIONS, DEPTHWISE, TRANSPOSED, keras, layers, linear
from edgekit_converters.compress.ties import Ids, Ties

_POOLING = tuple(getattr(layers, f"{kind}Pooling{axes}D") for kind in ("Average", "Max") for axes in (1, 2, 3))
_GLOBAL = tuple(getattr(layers, f"Global{kind}Pooling{axes}D") for kind in ("Average", "Max") for axes in (1, 2, 3))
_SPATIAL = tuple(
    getattr(layers, f"{kind}{axes}D") for kind in ("ZeroPadding", "Cropping", "UpSampling") for axes in (1, 2, 3)
)
_DROPOUT = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
_ONE_BY_ONE = (
    *(*_POOLING, *_GLOBAL, *_SPATIAL, *_DROPOUT, layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout),
    *(layers.Identity, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.ActivityRegularization),
)
_MERGES = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
_ACTIVATIONS = frozenset(
    (
        *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh"),
        *("leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink"),
        *("softplus", "softsign", "sparse_plus", "squareplus", "swish", "tanh", "tanh_shrink", "threshold"),
    )
)
_ACTIVATING_OPERATIONS = frozenset(
    ("Abs", "Clip", "Elu", "Exp", "Gelu", "HardSigmoid", "HardSilu", "LeakyRelu", "Negative", "Relu", "Relu6", "Selu")
) | {"Sigmoid", "Silu", "Softplus", "Softsign", "Sqrt", "Square", "Tanh"}
_MERGING_OPERATIONS = frozenset(("Add", "Divide", "Maximum", "Minimum", "Multiply", "Subtract"))
_REDUCING_OPERATIONS = frozenset(("Amax", "Max", "Mean"))


@dataclass(frozen=True)
class Traced:
    """A tensor on its way through the graph.

    Attributes:
        value: The tensor, with all its dimensions known.
        ids: Its channels, one for each place on the last axis.
    """

    value: Any
    ids: Ids

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch first."""
        return tuple(self.value.shape)


Kinds = tuple[Any, ...]
Rule = Callable[[Any, list[Traced], tuple[int, ...]], Ids | None]
"""Takes an operation, its tensors and the shape of what it gives; gives the channels of that, if it can tell."""


class Sides:
    """The channels on both sides of the layers with weights.

    Attributes:
        ties: Which channels are the same.
        ins: Layer -> channels that it takes.
        outs: Layer -> channels that it makes; those of a depthwise or normalizing layer are channels that it takes.
        layers: The layers with weights that mix or make channels or go along with them, by name.
        reshapes: Reshaping layers and operations, by name -> channels that they give.
    """

    def __init__(self) -> None:
        self.ties = Ties()
        self.ins: dict[str, Ids] = {}
        self.outs: dict[str, Ids] = {}
        self.layers: dict[str, Any] = {}
        self.reshapes: dict[str, Ids] = {}

    def follow(self, operation: Any, arguments: Any, answer: Any) -> Any:
        """Say where the channels of what an operation gives come from.

        Args:
            operation: A layer or a Keras operation.
            arguments: All that it is called with, tensors as :class:`Traced`.
            answer: The tensor or tensors that it gives.

        Returns:
            The answer, tensors as :class:`Traced`.
        """
        flat = keras.tree.flatten(arguments)
        taken = [item for item in flat if isinstance(item, Traced)]
        known = _is_own(operation) and all(item is None or isinstance(item, (Traced, int, float)) for item in flat)
        if known and hasattr(answer, "shape"):
            ids = self._of_known(operation, taken, tuple(answer.shape))
            if ids is not None and len(ids) == answer.shape[-1]:
                return Traced(answer, ids)
        for item in taken:
            self.ties.fix(item.ids, operation.name)
        return keras.tree.map_structure(lambda tensor: self.fixed(tensor, operation.name), answer)

    def fixed(self, tensor: Any, reason: str) -> Traced:
        """A tensor whose channels must stay."""
        ids = self.ties.fresh(int(tensor.shape[-1]) if len(tensor.shape) else 1)
        self.ties.fix(ids, reason)
        return Traced(tensor, ids)

    def _of_known(self, operation: Any, taken: list[Traced], given: tuple[int, ...]) -> Ids | None:
        first = taken[0]
        if getattr(operation, "data_format", "channels_last") != "channels_last" or len(first.shape) < 2:
            return None
        for kinds, names, rule in self._rules:
            if type(operation) in kinds or _named(operation, names):
                return rule(operation, taken, given)
        return first.ids if len(taken) == 1 and _one_by_one(operation, first) else None

    @property
    def _rules(self) -> tuple[tuple[Kinds, frozenset[str], Rule], ...]:
        """Layers and operations whose channels are not simply those of what they take."""
        return (
            ((*CONVOLUTIONS, *TRANSPOSED, layers.Dense), frozenset(), self._mixed),
            ((*DEPTHWISE, layers.BatchNormalization, layers.PReLU), frozenset(), self._along),
            ((layers.Concatenate,), frozenset(("Concatenate",)), self._joined),
            (_MERGES, _MERGING_OPERATIONS, self._merged),
            ((layers.Flatten, layers.Reshape), frozenset(("Reshape",)), self._reshaped),
        )

    def _mixed(self, layer: Any, taken: list[Traced], _: tuple[int, ...]) -> Ids | None:
        if not linear(layer) or getattr(layer, "groups", 1) != 1 or layer.dtype_policy.name.startswith("int"):
            return None
        self._takes(layer, taken[0].ids)
        if layer.name not in self.outs:
            self.outs[layer.name] = self.ties.fresh(layer.units if type(layer) is layers.Dense else layer.filters)
        return self.outs[layer.name]

    def _along(self, layer: Any, taken: list[Traced], _: tuple[int, ...]) -> Ids | None:
        first, *masks = taken
        if masks:
            return None
        given = first.ids
        if type(layer) is layers.BatchNormalization and layer.axis not in (-1, len(first.shape) - 1):
            return None
        if type(layer) in DEPTHWISE:
            if not linear(layer):
                return None
            given = np.repeat(given, layer.depth_multiplier)
        self._takes(layer, first.ids)
        self.outs[layer.name] = given
        return given

    def _takes(self, layer: Any, ids: Ids) -> None:
        self.layers[layer.name] = layer
        before = self.ins.setdefault(layer.name, ids)
        if before is not ids:
            self.ties.tie(before, ids)

    def _joined(self, operation: Any, taken: list[Traced], _: tuple[int, ...]) -> Ids:
        if operation.axis in (-1, len(taken[0].shape) - 1):
            return np.concatenate([item.ids for item in taken])
        for item in taken[1:]:
            self.ties.tie(taken[0].ids, item.ids)
        return taken[0].ids

    def _merged(self, _: Any, taken: list[Traced], __: tuple[int, ...]) -> Ids | None:
        if len({len(item.shape) for item in taken}) > 1:
            return None
        widest = max((item.ids for item in taken), key=len)
        for item in taken:
            if len(item.ids) == len(widest):
                self.ties.tie(widest, item.ids)
            else:
                self.ties.fix(item.ids, "")  # one channel that is laid over all of them
        return widest

    def _reshaped(self, operation: Any, taken: list[Traced], given: tuple[int, ...]) -> Ids | None:
        """Channels of a shape whose last axis is the old one, or several old ones that end in it."""
        shape = taken[0].shape
        for start in range(1, len(shape)):
            if prod(shape[start:]) == given[-1]:
                found = np.tile(taken[0].ids, prod(shape[start:-1]))
                self.ties.tie(self.reshapes.setdefault(operation.name, found), found)
                return found
        return None


def _is_own(operation: Any) -> bool:
    return type(operation).__module__.startswith("keras.src.")


def _named(operation: Any, names: frozenset[str]) -> bool:
    return not isinstance(operation, keras.Layer) and type(operation).__name__ in names


def _one_by_one(operation: Any, taken: Traced) -> bool:
    """Whether an operation gives for each channel something that it makes of this channel alone."""
    if isinstance(operation, layers.Activation):
        return getattr(operation.activation, "__name__", None) in _ACTIVATIONS
    if isinstance(operation, layers.Rescaling):
        return np.ndim(operation.scale) == 0 and np.ndim(operation.offset) == 0
    if _named(operation, _REDUCING_OPERATIONS):
        rank = len(taken.shape)
        axes = () if operation.axis is None else tuple(np.atleast_1d(operation.axis) % rank)
        return bool(axes) and not {0, rank - 1} & set(axes)
    return type(operation) in _ONE_BY_ONE or _named(operation, _ACTIVATING_OPERATIONS)
