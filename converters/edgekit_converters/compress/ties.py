"""Which channels are one and the same: they meet in a sum or a product, and only go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Ties:
    """Disjoint sets of channels (union-find); some of them are fixed and must stay, each for a reason."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._fixed: dict[int, str] = {}

    def fresh(self, count: int) -> Ids:
        """New channels."""
        start = len(self._parents)
        self._parents += range(start, start + count)
        return np.arange(start, start + count)

    def tie(self, first: Ids, second: Ids) -> None:
        """Say that channels at the same places of two equally long arrays are one."""
        for pair in zip(first.tolist(), second.tolist(), strict=True):
            one, other = map(self._find, pair)
            self._parents[other] = one
            if one != other and other in self._fixed:
                self._fixed.setdefault(one, self._fixed[other])

    def fix(self, ids: Ids, reason: str) -> None:
        """Say that channels must stay."""
        for channel in ids.tolist():
            self._fixed.setdefault(self._find(channel), reason)

    def names(self, ids: Ids) -> list[int]:
        """For each channel the one that stands for all that are the same."""
        return [self._find(channel) for channel in ids.tolist()]

    def reason(self, name: int) -> str | None:
        """Why a channel must stay; ``None`` where it may go."""
        return self._fixed.get(name)

    def _find(self, channel: int) -> int:
        while self._parents[channel] != channel:
            self._parents[channel] = self._parents[self._parents[channel]]
            channel = self._parents[channel]
        return channel
