"""Whether an artifact answers well enough, and by how much it does not."""

from __future__ import annotations

from typing import Any

from edgekit.metrics import points_lost
from edgekit.parity import AGREEMENT_PER_POINT, Gate, Parity
from edgekit_converters.plan.variants import Miss, Piece


def quality_gate(piece: Piece, max_drop: float) -> Gate:
    """Return what an artifact must reach: at a smaller input float artifacts may lose no more than integer ones."""
    return Gate.for_recipe("int8" if piece.resolution is not None else piece.recipe, max_drop=max_drop)


def quality_miss(piece: Piece, parity: Parity, max_drop: float) -> Miss | None:
    """Return how an artifact misses its gate or loses more than is allowed; ``None`` when it does neither.

    Args:
        piece: The artifact.
        parity: Measured against the original.
        max_drop: Points of the user's metric that may be lost; without truths five times as many of agreement.
    """
    drop = drop_points(parity)
    if drop is not None and drop > max_drop + 1e-9:
        return Miss("drop", drop, max_drop)
    if drop is None and parity.agreement is not None:
        least = 100 - AGREEMENT_PER_POINT * max_drop
        if 100 * parity.agreement.value < least - 1e-9:
            return Miss("agreement", 100 * parity.agreement.value, least)
    gate = quality_gate(piece, max_drop)
    if gate.failure(parity) is None:
        return None
    if gate.max_relative_l2 is not None:
        return Miss("parity", parity.worst.relative_l2, gate.max_relative_l2)
    return Miss("cosine", min(output.cosine for output in parity.outputs), gate.min_cosine or 0.0)


def drop_points(parity: Parity) -> float | None:
    """Points of the user's metric that were lost; ``None`` without truths."""
    if parity.metric is None or parity.reference_metric is None:
        return None
    return points_lost(parity.reference_metric, parity.metric)


def metric_entry(parity: Parity) -> dict[str, Any] | None:
    """The user's metric of artifact and original, for ``plan.json``; ``None`` without truths."""
    if parity.metric is None or parity.reference_metric is None:
        return None
    return {"name": parity.metric.name, "value": parity.metric.value, "original": parity.reference_metric.value}
