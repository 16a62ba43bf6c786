"""How ONNX operators pass on scaled channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit_converters.quantize.graph import Flow

Shape = tuple[int, ...] | None
_SAME = frozenset(("Relu", "LeakyRelu", "Identity", "Dropout"))
# In three dimensions their channels come second, while tokens have them last: left alone.
_POOLS = frozenset(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))


def flow(
    kind: str, values: dict[str, Any], shapes: list[Shape], names: list[str], constants: list[Array | None]
) -> Flow | None:
    """What an operator does with scaled channels.

    Args:
        kind: Operator, e.g. ``Conv``.
        values: Its attributes.
        shapes: Shapes of its inputs, then of its output; ``None`` where unknown.
        names: Names of its inputs, then of its output.
        constants: Values of its inputs where they are constant.
    """
    source, out = names[0], names[-1]
    if kind == "Conv":
        return Flow({out: 1}, {source: 1}) if len(constants) < 3 or constants[2] is not None else None
    if kind in ("Gemm", "MatMul"):
        return _dense(values, shapes, names, constants)
    rank, result = len(shapes[0] or ()), len(shapes[-1] or ())
    if kind == "Shape" and rank > 1:
        return Flow({source: _axis(rank)})
    if rank < 2 or not result:
        return None
    if kind in _SAME or (kind in _POOLS and rank == 4):
        return Flow({source: _axis(rank), out: _axis(result)})
    return _checked(kind, values, shapes, names, constants)


def _checked(
    kind: str, values: dict[str, Any], shapes: list[Shape], names: list[str], constants: list[Array | None]
) -> Flow | None:
    """Nodes that pass channels on under conditions."""
    if kind == "Clip" and not values:  # before opset 11 the limits were attributes
        return _clip(names, constants, _axis(len(shapes[0] or ())))
    if kind in ("Add", "Sub"):
        return _sum(shapes, names, constants)
    return _moved(kind, values, shapes, names, constants)


def _axis(rank: int) -> int:
    """Channels come second in pictures, last in tokens and rows."""
    return 1 if rank in (2, 4, 5) else rank - 1


def _dense(values: dict[str, Any], shapes: list[Shape], names: list[str], constants: list[Array | None]) -> Flow | None:
    plain = values.get("alpha", 1.0) == 1.0 and values.get("beta", 1.0) == 1.0 and not values.get("transA")
    if constants[1] is None or constants[1].ndim != 2 or shapes[0] is None or not plain:
        return None
    if len(constants) > 2 and (
        constants[2] is None or constants[2].size != constants[1].shape[not values.get("transB")]
    ):
        return None  # a bias that is computed, or one value for several channels
    axis = len(shapes[0]) - 1
    return Flow({names[-1]: axis}, {names[0]: axis})


def _clip(names: list[str], constants: list[Array | None], axis: int) -> Flow | None:
    """A clip at zero from below; a limit from above is kept."""
    low = constants[1] if len(constants) > 1 else None
    high = constants[2] if len(constants) > 2 else None
    if (
        (len(constants) > 1 and low is None)
        or (low is not None and low.size != 1)
        or (len(constants) > 2 and high is None)
    ):
        return None
    if low is not None and not (float(low.reshape(-1)[0]) == 0 or float(low.reshape(-1)[0]) < -1e30):
        return None
    limit = None if high is None or float(high.reshape(-1)[0]) > 1e30 else float(high.reshape(-1)[0])
    return Flow({names[0]: axis, names[-1]: axis}, limit=limit)


def _sum(shapes: list[Shape], names: list[str], constants: list[Array | None]) -> Flow | None:
    """Activations of one shape, and constants with one value a channel."""
    result = shapes[-1]
    if result is None or not result[_axis(len(result))]:
        return None
    axis = _axis(len(result))
    tied: dict[str, int] = {}
    added = []
    for name, shape, values in zip(names[:-1], shapes[:-1], constants, strict=True):
        if values is not None:
            want = tuple(result[axis] if i == axis else 1 for i in range(len(result)))
            if tuple(np.broadcast_shapes(values.shape, (1,) * len(result))) != want:
                return None
            added.append(name)
        elif shape is None or len(shape) != len(result) or shape[axis] != result[axis]:
            return None
        else:
            tied[name] = axis
    return Flow({**tied, names[-1]: axis}, constants=tuple(added)) if tied else None


def _moved(
    kind: str, values: dict[str, Any], shapes: list[Shape], names: list[str], constants: list[Array | None]
) -> Flow | None:
    """Nodes that take positions together or renumber them."""
    source, result = shapes[0], shapes[-1]
    if source is None or result is None:
        return None
    axis, place = _axis(len(source)), _axis(len(result))
    tied = {names[0]: axis, names[-1]: place}
    if source[axis] < 2 or result[place] != source[axis]:
        return None
    if kind in ("Squeeze", "Unsqueeze", "Reshape", "Flatten"):
        # With the channels innermost on both sides, positions are renumbered and channels are not.
        return Flow(tied) if all(size == 1 for size in (*source[axis + 1 :], *result[place + 1 :])) else None
    if kind == "ReduceMean":
        axes = constants[1] if len(constants) > 1 else np.asarray(values.get("axes", ()))
        spatial = axes is not None and axes.size and all(i % len(source) > 1 for i in axes.reshape(-1))
        return Flow(tied) if len(source) == 4 and len(result) in (2, 4) and spatial else None
    return Flow(tied) if kind == "Pad" and _pads_with_zeros(axis, values, constants) else None


def _pads_with_zeros(axis: int, values: dict[str, Any], constants: list[Array | None]) -> bool:
    """Whether a Pad adds zeros, and none of them as channels."""
    if len(constants) not in (2, 3) or constants[1] is None or values.get("mode", b"constant") != b"constant":
        return False
    fill = constants[2] if len(constants) > 2 else np.zeros(1)
    return fill is not None and not fill.any() and not constants[1].reshape(2, -1)[:, axis].any()
