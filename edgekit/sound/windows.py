"""Overlapping windows of a recording, a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused

Samples = NDArray[np.float32]


def sliding(blocks: Iterable[Samples], window: int, step: int) -> Iterator[Samples]:
    """Yield windows ``(n,)`` of a recording that comes in blocks.

    Every sample lies in a window: the last one is as long as what is left. A recording shorter than a window is one.

    Args:
        blocks: The recording; none of the blocks is needed longer than its windows last.
        window: Samples of a window.
        step: Samples between the starts of two.

    Raises:
        DataRefused: The recording is empty.
    """
    kept: Samples = np.zeros(0, np.float32)
    covered = given = 0
    for block in blocks:
        kept = np.concatenate([kept, block])
        at = 0
        while len(kept) - at >= window:
            yield kept[at : at + window].copy()
            given += 1
            covered = window - step
            at += step
        kept = kept[at:]
    if not given and not len(kept):
        raise DataRefused("a recording without a sample", expected="sound")
    if not given or len(kept) > covered:
        yield kept
