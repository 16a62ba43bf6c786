"""Masks as COCO's run-length encoding: what ``pycocotools.mask`` writes and reads.

Runs go down the columns and start with zeros. ``counts`` is COCO's compressed form: from the third run on the
difference to the run before last, in groups of 5 bits, lowest first, each plus 48 as an ASCII letter, 32 marking that
more groups follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused

_MOST_GROUPS = 7  # 35 bits hold the runs of any picture that is read
_EXPECTED = '{"size": [height, width], "counts": "…"} of COCO'


def encode(mask: Array) -> dict[str, Any]:
    """Return ``{"size": [height, width], "counts": str}`` for a ``(height, width)`` mask."""
    height, width = mask.shape
    flat = np.asarray(mask, bool).T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs = np.diff(edges)
    if flat.size and flat[0]:
        runs = np.concatenate([[0], runs])
    return {"size": [int(height), int(width)], "counts": _compressed(runs.astype(np.int64))}


def decode(rle: Mapping[str, Any], where: str = "a mask") -> NDArray[np.bool_]:
    """Return the ``(height, width)`` mask of a COCO RLE, compressed or a list of runs. Raises DataRefused for others.

    Args:
        rle: ``size`` and ``counts``.
        where: For messages.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = _runs(counts) if isinstance(counts, (str, bytes)) else np.asarray(counts, np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataRefused(f"{where}: {str(rle)[:80]}", expected=_EXPECTED) from error
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise DataRefused(f"{where}: runs of {int(runs.sum())} pixels for {height} x {width}", expected=_EXPECTED)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask: NDArray[np.bool_] = flat.reshape(width, height).T
    return mask


def _compressed(runs: NDArray[np.int64]) -> str:
    left = runs.copy()
    left[3:] -= runs[1:-2]
    letters = np.zeros((len(left), _MOST_GROUPS), np.uint8)
    used = np.zeros((len(left), _MOST_GROUPS), bool)
    more = np.ones(len(left), bool)
    for group in range(_MOST_GROUPS):
        used[:, group] = more
        part = left & 31
        left >>= 5
        more = more & (left != np.where(part & 16, -1, 0))
        letters[:, group] = part + 32 * more + 48
    return letters[used].tobytes().decode("ascii")


def _runs(counts: str | bytes) -> NDArray[np.int64]:
    letters = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8).astype(np.int64)
    letters -= 48
    if not len(letters):
        return np.zeros(0, np.int64)
    if letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise ValueError("not in COCO's alphabet, or cut short")
    last = np.flatnonzero(letters & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    if groups.max() > _MOST_GROUPS:
        raise ValueError("a run too long")
    shifts = 5 * (np.arange(len(letters)) - np.repeat(first, groups))
    values = np.add.reduceat((letters & 31) << shifts, first)
    negative = letters[last] & 16 != 0
    values -= np.where(negative, np.int64(1) << (5 * groups), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    runs: NDArray[np.int64] = values
    return runs
