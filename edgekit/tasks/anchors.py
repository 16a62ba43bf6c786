"""Anchors of SSD detectors, by the formulas of torchvision and of TensorFlow's object detection."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit.errors import SpecRefused
from edgekit.tasks.boxes import Boxes
from edgekit.tasks.detection_options import DetectionOptions

_TENSORFLOW_RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def anchors_for(options: DetectionOptions, size: tuple[int, int]) -> Boxes:
    """Make the anchors of an SSD detector.

    ``torchvision`` as its ``DefaultBoxGenerator``: at each location a square of the level's scale, one of the geometric
    mean with the next, and for each aspect ratio a wide and a high one, cut to the input. ``tensorflow`` as its
    ``create_ssd_anchors``: for each aspect ratio one of the level's scale, and a square of the geometric mean; the
    lowest level has only three. (Liu et al. 2016, arXiv:1512.02325.)

    Args:
        options: With ``anchors`` and ``feature_maps``.
        size: Height and width of the input, in pixels.

    Returns:
        ``(count, 4)`` centre x, centre y, width, height as shares of the input, level by level, row by row.

    Raises:
        SpecRefused: The options lack what the formula needs.
    """
    if options.anchors is None or not options.feature_maps:
        raise SpecRefused(
            "head 'ssd' without options.anchors and options.feature_maps",
            expected='anchors = "torchvision" or "tensorflow", and the size of each level',
        )
    levels = [_pair(level) for level in options.feature_maps]
    scales = options.scales or _scales(options, len(levels))
    if len(scales) != len(levels) + 1:
        raise SpecRefused(f"options.scales = {list(scales)}", expected=f"{len(levels) + 1} numbers")
    if options.steps and len(options.steps) != len(levels):
        raise SpecRefused(f"options.steps = {list(options.steps)}", expected=f"{len(levels)} numbers")
    found = []
    for number, grid in enumerate(levels):
        if options.anchors == "torchvision":
            sides = _torchvision(scales, number, _ratios(options, number, len(levels), (2.0, 3.0)))
        else:
            sides = _tensorflow(scales, number, _ratios(options, number, len(levels), _TENSORFLOW_RATIOS))
        step = options.steps[number] if options.steps else None
        found.append(_over(grid, sides, size, step))
    anchors = np.concatenate(found)
    if options.anchors == "torchvision":
        anchors[:, 2:] = np.clip(anchors[:, 2:], 0, 1)
    return anchors


def _scales(options: DetectionOptions, levels: int) -> tuple[float, ...]:
    steps = max(1, levels - 1)
    span = options.max_scale - options.min_scale
    return (*(options.min_scale + span * number / steps for number in range(levels)), 1.0)


def _ratios(options: DetectionOptions, level: int, levels: int, default: Sequence[float]) -> Sequence[float]:
    given = options.aspect_ratios
    if not given:
        return default
    if all(isinstance(item, (int, float)) for item in given):
        return [float(item) for item in given if isinstance(item, (int, float))]
    if len(given) != levels:
        raise SpecRefused(f"options.aspect_ratios for {len(given)} levels", expected=f"{levels}, or one list for all")
    own = given[level]
    return [float(own)] if isinstance(own, (int, float)) else [float(item) for item in own]


def _torchvision(scales: Sequence[float], level: int, ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Width and height of the anchors of one location."""
    own, between = scales[level], math.sqrt(scales[level] * scales[level + 1])
    sides = [(own, own), (between, between)]
    for ratio in ratios:
        wide, high = own * math.sqrt(ratio), own / math.sqrt(ratio)
        sides += [(wide, high), (high, wide)]
    return sides


def _tensorflow(scales: Sequence[float], level: int, ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Width and height of the anchors of one location."""
    own = scales[level]
    pairs = [(own, ratio) for ratio in ratios]
    if level == 0:
        pairs = [(0.1, 1.0), (own, 2.0), (own, 0.5)]
    else:
        pairs.append((math.sqrt(own * scales[level + 1]), 1.0))
    return [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for scale, ratio in pairs]


def _over(
    grid: tuple[int, int], sides: Sequence[tuple[float, float]], size: tuple[int, int], step: int | None
) -> Boxes:
    """Repeat the anchors of one location over a grid."""
    down, across = grid if step is None else (size[0] / step, size[1] / step)
    rows, columns = np.mgrid[0 : grid[0], 0 : grid[1]]
    centres = np.stack([(columns + 0.5) / across, (rows + 0.5) / down], axis=-1).reshape(-1, 1, 2)
    shape = (len(centres), len(sides), 2)
    both = [np.broadcast_to(centres, shape), np.broadcast_to(np.array(sides)[None], shape)]
    return np.concatenate(both, axis=2).reshape(-1, 4)


def _pair(level: int | Sequence[int]) -> tuple[int, int]:
    pair = (level, level) if isinstance(level, int) else tuple(level)
    if len(pair) != 2 or any(not isinstance(side, int) or side < 1 for side in pair):
        raise SpecRefused(f"options.feature_maps holds {level!r}", expected="a number, or height and width")
    return pair[0], pair[1]
