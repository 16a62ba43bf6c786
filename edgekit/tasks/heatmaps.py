"""Peaks of heat maps, with their place between the cells."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgekit.engine import Array

Refine = Literal["quarter", "dark", "soft-argmax", "none"]
_DARK_KERNEL = 11  # as published for heat maps of 64 x 48 and of 96 x 72


def peaks(maps: Array, refine: Refine) -> tuple[Array, Array]:
    """Find the peak of each heat map.

    Args:
        maps: ``(points, rows, columns)`` float32.
        refine: How to look between the cells.

    Returns:
        ``(points, 2)`` x and y in cells, the centre of the first cell being 0, and the peaks' heights ``(points,)``.
    """
    count, _, columns = maps.shape
    flat = maps.reshape(count, -1)
    best = flat.argmax(axis=1)
    x, y = best % columns, best // columns
    scores = flat[np.arange(count), best]
    if refine == "soft-argmax":
        return _expectation(maps), scores
    cells = np.stack([x, y], axis=1).astype(np.float64)
    if refine == "quarter":
        cells += 0.25 * np.sign(_slopes(maps, x, y))
    elif refine == "dark":
        cells += _second_order(maps, x, y)
    return cells, scores


def _neighbour(maps: Array, x: Array, y: Array) -> Array:
    """Values at cells, the edge going on beyond it."""
    rows, columns = maps.shape[1:]
    values: Array = maps[np.arange(len(maps)), np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)]
    return values


def _slopes(maps: Array, x: Array, y: Array) -> Array:
    """Differences across the peak ``(points, 2)``; 0 within one cell of the edge, as HRNet and SimpleBaseline do."""
    rows, columns = maps.shape[1:]
    across = _neighbour(maps, x + 1, y) - _neighbour(maps, x - 1, y)
    down = _neighbour(maps, x, y + 1) - _neighbour(maps, x, y - 1)
    inside = (x > 1) & (x < columns - 1) & (y > 1) & (y < rows - 1)
    slopes: Array = np.stack([across, down], axis=1) * inside[:, None]
    return slopes


def _second_order(maps: Array, x: Array, y: Array) -> Array:
    """Offset to the maximum of the Taylor expansion of the smoothed log heat map (DARK, arXiv:1910.06278)."""
    import cv2

    kernel = (_DARK_KERNEL, _DARK_KERNEL)
    smooth = np.stack([cv2.GaussianBlur(one, kernel, 0, borderType=cv2.BORDER_CONSTANT) for one in maps])
    high = smooth.reshape(len(maps), -1).max(axis=1)[:, None, None]
    top = maps.reshape(len(maps), -1).max(axis=1)[:, None, None]
    logs = np.log(np.maximum(smooth * top / np.where(high > 0, high, 1), 1e-10))

    def at(across: int, down: int) -> Array:
        return _neighbour(logs, x + across, y + down).astype(np.float64)

    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx, dyy = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0)), 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1))
    determinant = dxx * dyy - dxy * dxy
    rows, columns = maps.shape[1:]
    inside = (x > 1) & (x < columns - 2) & (y > 1) & (y < rows - 2) & (determinant != 0)
    divisor = np.where(inside, determinant, 1)
    offset = -np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], axis=1) / divisor[:, None]
    moved: Array = np.where(inside[:, None], offset, 0)
    return moved


def _expectation(maps: Array) -> Array:
    """Mean place under the softmax of each map (integral regression, Sun et al. 2018)."""
    count, rows, columns = maps.shape
    powers = np.exp(maps.astype(np.float64) - maps.reshape(count, -1).max(axis=1)[:, None, None])
    shares = powers / powers.sum(axis=(1, 2), keepdims=True)
    return np.stack([shares.sum(axis=1) @ np.arange(columns), shares.sum(axis=2) @ np.arange(rows)], axis=1)
