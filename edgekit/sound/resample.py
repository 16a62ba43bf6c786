"""Change of the sampling rate by a polyphase filter: a windowed sinc, all at once or block by block."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
_HALF_WIDTH = 10
_KAISER_BETA = 5.0


class Resampler:
    """Resamples a recording that comes in blocks; the blocks' borders leave no trace.

    The filter is that of ``scipy.signal.resample_poly``: a sinc of ten zero crossings on either side under a Kaiser
    window (beta 5), see Crochiere and Rabiner, Multirate Digital Signal Processing, 1983.

    Args:
        source: Samples a second that come in.
        target: Samples a second that go out.
    """

    def __init__(self, source: int, target: int) -> None:
        shared = math.gcd(source, target)
        self._up, self._down = target // shared, source // shared
        self._taps = _phases(self._up, self._down)
        self._side = (self._taps.shape[1] - 1) // 2
        self._buffer: Samples = np.zeros(self._side, np.float32)
        self._origin = -self._side
        self._received = self._given = 0

    def feed(self, samples: Samples) -> Samples:
        """Take a block ``(n,)``; return what of the result is settled."""
        if self._up == self._down:
            return np.asarray(samples, np.float32)
        self._received += len(samples)
        self._buffer = np.concatenate([self._buffer, np.asarray(samples, np.float32)])
        settled = self._received - self._side - 1
        return self._until((settled * self._up + self._up - 1) // self._down + 1 if settled >= 0 else 0)

    def finish(self) -> Samples:
        """Return the rest: ``ceil(n * target / source)`` samples in all."""
        if self._up == self._down:
            return np.zeros(0, np.float32)
        self._buffer = np.concatenate([self._buffer, np.zeros(2 * self._side + 2, np.float32)])
        return self._until(-(-self._received * self._up // self._down))

    def _until(self, end: int) -> Samples:
        """Results up to the ``end``-th; those of one phase of the filter in one product."""
        first, count = self._given, max(0, end - self._given)
        found = np.empty(count, np.float32)
        if not count:
            return found
        views = np.lib.stride_tricks.sliding_window_view(self._buffer, 2 * self._side + 1)
        for turn in range(min(self._up, count)):
            at = (first + turn) * self._down
            start = at // self._up - self._side - self._origin
            wanted = -(-(count - turn) // self._up)
            rows = views[start : start + (wanted - 1) * self._down + 1 : self._down]
            found[turn :: self._up] = rows @ self._taps[at % self._up]
        self._given = first + count
        unneeded = self._given * self._down // self._up - self._side - self._origin
        if unneeded > 0:
            self._buffer = self._buffer[unneeded:].copy()
            self._origin += unneeded
        return found


def resampled(samples: Samples, source: int, target: int) -> Samples:
    """Resample a whole recording ``(n,)``, float32."""
    resampler = Resampler(source, target)
    return np.concatenate([resampler.feed(samples), resampler.finish()])


@lru_cache(maxsize=4)
def _phases(up: int, down: int) -> NDArray[np.float32]:
    """Taps of each phase ``(up, taps)``, for input samples in rising order."""
    widest = max(up, down)
    half = _HALF_WIDTH * widest
    at = np.arange(-half, half + 1)
    taps = np.sinc(at / widest) * np.kaiser(len(at), _KAISER_BETA)
    taps *= up / taps.sum()
    side = -(-half // up)
    places = np.arange(up)[:, None] + np.arange(side, -side - 1, -1) * up + half
    inside = (places >= 0) & (places < len(taps))
    table: NDArray[np.float32] = np.where(inside, taps[np.clip(places, 0, len(taps) - 1)], 0).astype(np.float32)
    return table
