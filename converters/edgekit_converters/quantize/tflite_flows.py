"""How TFLite operators pass on scaled channels; the channel axis is the last."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit_converters.quantize.graph import Flow

# Fused activations that a positive factor passes through, and where they clip.
_ACTIVATIONS: dict[int, float | None] = {0: None, 1: None, 3: 6.0}
_LAYERS = frozenset(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"))
_ELEMENTWISE = frozenset(("RELU", "RELU6", "LEAKY_RELU", "ADD", "SUB", "MAXIMUM", "MINIMUM"))
_SPATIAL = frozenset(
    ("MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "MIRROR_PAD", "MEAN", "SUM", "RESHAPE", "SQUEEZE")
) | frozenset(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"))


def flow(
    kind: str, options: Any, shapes: list[tuple[int, ...]], names: list[str], constants: list[Array | None]
) -> Flow | None:
    """What an operator does with scaled channels.

    Args:
        kind: Operator, e.g. ``CONV_2D``.
        options: Its builtin options.
        shapes: Shapes of its inputs, then of its output.
        names: Names of its inputs, then of its output.
        constants: Values of its inputs where they are constant.
    """
    activation = getattr(options, "fusedActivationFunction", 0)
    if activation not in _ACTIVATIONS:
        return None
    limit = 6.0 if kind == "RELU6" else _ACTIVATIONS[activation]
    out, last = names[-1], [max(len(shape) - 1, 0) for shape in shapes]
    if kind in _LAYERS:
        whole = kind != "FULLY_CONNECTED" or shapes[1][-1] % (shapes[0] or (1,))[-1] == 0
        biased = len(constants) < 3 or constants[2] is not None
        return Flow({out: last[-1]}, {names[0]: last[0]}, limit=limit) if whole and biased else None
    if kind == "SHAPE":
        return Flow({names[0]: last[0]})
    if kind in _SPATIAL and _keeps_channels(kind, shapes, constants):
        return Flow({names[0]: last[0], out: last[-1]}, limit=limit)
    if kind not in _ELEMENTWISE:
        return None
    return _elementwise(shapes, names, constants, limit)


def _elementwise(
    shapes: list[tuple[int, ...]], names: list[str], constants: list[Array | None], limit: float | None
) -> Flow | None:
    """Activations of one shape, and constants with one value a channel."""
    channels = shapes[-1][-1] if shapes[-1] else 0
    tied: dict[str, int] = {}
    added = []
    for name, shape, values in zip(names[:-1], shapes[:-1], constants, strict=True):
        if not shape or shape[-1] != channels:
            return None
        if values is None:
            tied[name] = len(shape) - 1
        elif values.size == channels and values.dtype == np.float32:
            added.append(name)
        else:
            return None
    return Flow({**tied, names[-1]: len(shapes[-1]) - 1}, constants=tuple(added), limit=limit)


def _keeps_channels(kind: str, shapes: list[tuple[int, ...]], constants: list[Array | None]) -> bool:
    """Whether every channel of the output comes from the same channel of the input."""
    source, result = shapes[0], shapes[-1]
    if not source or not result or source[-1] != result[-1]:
        return False
    if kind in ("RESHAPE", "SQUEEZE"):
        return True  # the last axis is the innermost: positions are renumbered, channels are not
    if kind in ("MEAN", "SUM"):
        axes = constants[1]
        return axes is not None and all(axis % len(source) != len(source) - 1 for axis in axes.reshape(-1))
    if kind in ("PAD", "MIRROR_PAD"):
        pads = constants[1]
        return pads is not None and not pads.reshape(-1, 2)[-1].any()
    return True
