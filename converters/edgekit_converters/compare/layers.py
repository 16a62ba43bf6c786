"""The error of each layer, accumulated sample by sample in fixed memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array
from edgekit_converters.compare.align import Pair
from edgekit_converters.compare.trace import Grid

HUGE = 1e30
"""Larger magnitudes stand for minus infinity (masked attention scores); they are left out of the sums."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class LayerError:
    """How far one activation of the artifact is from the float artifact's, over all samples.

    Attributes:
        name: Tensor in the float artifact.
        operator: Operator that computes it.
        how: What it was recognized by in the artifact: ``name``, ``weights``, ``structure`` or ``input``.
        dtype: How the artifact stores it.
        relative_l2: ``||artifact - float|| / ||float||``, what came in with the inputs included.
        own: The part the layer itself adds: ``||artifact - float layer on the artifact's inputs|| / ||float||``.
            ``None`` where the float artifact cannot be taken apart there.
        inherited: The part that came in: ``||float layer on the artifact's inputs - float|| / ||float||``.
        at_output: Relative L2 of the outputs (before a last softmax or sigmoid) if the error that this layer adds
            were the only one; ``None`` where it was not measured.
        sqnr_db: Signal to quantization noise ratio, ``-20 log10(relative_l2)``; ``None`` for no error at all.
        cosine: Cosine of the angle between the two.
        max_error: Largest absolute difference.
        mean_error: Mean difference: the shift that bias correction is for.
        bias_share: Share of the squared error that is a constant shift of each channel, 0..1.
        clipped: Share of the float values that lie outside the range the artifact can store, 0..1.
        scale: Step of the artifact's grid; ``None`` for floats. Where the artifact stores channels multiplied by
            factors, this and the next two are of what it stores.
        stored_low: Smallest value that the artifact can store; ``None`` for floats.
        stored_high: Largest value that the artifact can store; ``None`` for floats.
        low: Smallest float value seen.
        high: Largest float value seen.
    """

    name: str
    operator: str
    how: str
    dtype: str
    relative_l2: float
    own: float | None
    inherited: float | None
    at_output: float | None
    sqnr_db: float | None
    cosine: float
    max_error: float
    mean_error: float
    bias_share: float
    clipped: float
    scale: float | None
    stored_low: float | None
    stored_high: float | None
    low: float
    high: float


class LayerMeter:
    """Sums of one pair of activations, in float64.

    Args:
        pair: The activations.
        channels_last: Whether the last axis holds the channels; otherwise the second (ONNX, more than two axes).
    """

    def __init__(self, pair: Pair, *, channels_last: bool) -> None:
        self.pair = pair
        self.channels_last = channels_last
        self.fits = True
        self.outputs_moved: float | None = None
        self._error = self._reference = self._candidate = self._product = self._own = self._inherited = 0.0
        self._sum = self._largest = 0.0
        self._count = self._clipped = 0
        self._has_own = False
        self._low, self._high = math.inf, -math.inf
        self._shift: Array | None = None

    def add(self, reference: Array, candidate: Array, own: Array | None, factors: Array | None = None) -> None:
        """Add a sample.

        Args:
            reference: Float values.
            candidate: The artifact's values, dequantized.
            own: What the float layer makes of the artifact's inputs.
            factors: What the artifact stores the channels multiplied by, in a shape that broadcasts.
        """
        if reference.shape != candidate.shape or not reference.size:
            self.fits = False
            return
        want, got, layer = _bounded(reference, candidate, own)
        low, high = float(want.min()), float(want.max())
        difference = got - want
        error = _square(difference)
        if not math.isfinite(error):
            self._error = math.inf
            self._count += want.size
            return
        self._error += error
        self._reference += _square(want)
        self._candidate += _square(got)
        self._product += _dot(want, got)
        self._largest = max(self._largest, float(difference.max()), -float(difference.min()))
        self._count += want.size
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._add_shift(difference)
        if factors is None:
            self._add_range(want, low, high)
        else:
            stored = want * factors
            self._add_range(stored, float(stored.min()), float(stored.max()))
        if layer is not None:
            self._has_own = True
            self._own += _square(np.subtract(got, layer, out=difference))
            self._inherited += _square(np.subtract(layer, want, out=difference))

    def _add_shift(self, difference: Array) -> None:
        axis = difference.ndim - 1 if self.channels_last or difference.ndim <= 2 else 1
        others = tuple(place for place in range(difference.ndim) if place != axis)
        shift = difference.sum(axis=others, dtype=np.float64) if others else difference.astype(np.float64)
        self._sum += float(shift.sum())
        if self._shift is None or self._shift.shape == shift.shape:
            self._shift = shift if self._shift is None else self._shift + shift

    def _add_range(self, want: Array, low: float, high: float) -> None:
        grid = self.pair.artifact.grid
        if grid is None:
            return
        bottom, top = grid.low - grid.scale / 2, grid.high + grid.scale / 2  # up to half a step still rounds to the end
        if low < bottom or high > top:
            self._clipped += int(((want < bottom) | (want > top)).sum())

    @property
    def seen(self) -> bool:
        """Whether any sample was added."""
        return self._count > 0 or self._error == math.inf

    @property
    def own(self) -> float | None:
        """Relative L2 of what the layer itself adds, so far."""
        return self._relative(self._own) if self._has_own else None

    def _relative(self, squares: float) -> float:
        if not math.isfinite(squares):
            return math.inf
        if self._reference == 0.0:
            return 0.0 if squares == 0.0 else math.inf
        return math.sqrt(squares / self._reference)

    def result(self) -> LayerError:
        """The error of everything added so far."""
        relative = self._relative(self._error)
        norm = math.sqrt(self._reference * self._candidate)
        grid = self.pair.artifact.grid
        return LayerError(
            name=self.pair.reference.name,
            operator=_operator(self.pair),
            how=self.pair.how,
            dtype="float32" if grid is None else grid.dtype,
            relative_l2=relative,
            own=self.own,
            inherited=self._relative(self._inherited) if self._has_own else None,
            at_output=self.outputs_moved,
            sqnr_db=-20 * math.log10(relative) if 0.0 < relative < math.inf else None,
            cosine=min(1.0, self._product / norm) if norm else float(relative == 0.0),
            max_error=self._largest,
            mean_error=self._sum / max(1, self._count),
            bias_share=self._bias_share(),
            clipped=self._clipped / max(1, self._count),
            low=self._low,
            high=self._high,
            **_stored(grid),
        )

    def _bias_share(self) -> float:
        if self._shift is None or not self._error or not math.isfinite(self._error):
            return 0.0
        each = self._count / len(self._shift)
        return min(1.0, float(np.square(self._shift).sum()) / each / self._error)


def _stored(grid: Grid | None) -> dict[str, float | None]:
    if grid is None:
        return {"scale": None, "stored_low": None, "stored_high": None}
    return {"scale": grid.scale, "stored_low": grid.low, "stored_high": grid.high}


def _operator(pair: Pair) -> str:
    """A layer whose rectifier was fused into it is called by the layer, not by the rectifier."""
    return pair.artifact.operator if pair.artifact.weight else pair.reference.operator


def _bounded(want: Array, got: Array, own: Array | None) -> tuple[Array, Array, Array | None]:
    """The values without those that stand for minus infinity in the float model."""
    if own is not None and own.shape != want.shape:
        own = None
    if float(want.min()) > -HUGE and float(want.max()) < HUGE:
        return want, got, own
    kept = np.abs(want) < HUGE
    return np.where(kept, want, 0.0), np.where(kept, got, 0.0), None if own is None else np.where(kept, own, 0.0)


def _square(values: Array) -> float:
    return _dot(values, values)


def _dot(left: Array, right: Array) -> float:
    """Sum of products; blocks of float32 are added up in float64."""
    flat = left.ravel(), right.ravel()
    starts = range(0, flat[0].size, _BLOCK)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(sum(float(np.dot(flat[0][i : i + _BLOCK], flat[1][i : i + _BLOCK])) for i in starts))
