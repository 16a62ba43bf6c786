"""Results drawn into photos: lines of text, boxes, masks, points. OpenCV draws; it is imported when something is."""

from __future__ import annotations

import colorsys
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]
"""Red, green, blue, 0..255."""

MIN_SHORT_SIDE = 320
"""Smaller photos are enlarged first, in pixels: a label on a thumbnail could not be read."""

_TEXT_SHARE = 0.045  # height of a letter as a share of the photo's shorter side
_SMALL_TEXT_SHARE = 0.028
_LINE_SHARE = 0.005
_MAX_WIDTH_SHARE = 0.94
_BEST, _OTHERS = (255, 255, 255), (200, 200, 200)
_GOLDEN = 0.618033988749895


def color_of(index: int) -> Color:
    """Return the color of a class: hues a golden section apart, so that neighbours differ."""
    hue = (0.33 + index * _GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 if index % 2 else 0.95, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_box(canvas: Picture, box: Sequence[float], text: str, color: Color) -> None:
    """Draw a rectangle with a label at its upper edge, in place.

    Args:
        canvas: ``(height, width, 3)`` uint8, RGB.
        box: Left, top, right, bottom as shares 0..1 of width and height.
        text: Label; letters that the font lacks are replaced.
        color: Of the frame and behind the label.
    """
    import cv2

    height, width = canvas.shape[:2]
    left, right = (round(np.clip(share, 0, 1) * (width - 1)) for share in (box[0], box[2]))
    top, bottom = (round(np.clip(share, 0, 1) * (height - 1)) for share in (box[1], box[3]))
    line = max(1, round(min(height, width) * _LINE_SHARE))
    cv2.rectangle(canvas, (left, top), (right, bottom), color, line, cv2.LINE_AA)
    font, label = cv2.FONT_HERSHEY_SIMPLEX, drawable(text)
    scale = cv2.getFontScaleFromHeight(font, max(8, round(min(height, width) * _SMALL_TEXT_SHARE)), 1)
    thickness = max(1, round(scale * 1.6))
    (wide, high), below = cv2.getTextSize(label, font, scale, thickness)
    base = max(top, high + below + 2)
    start = max(0, min(left, width - wide - 4))
    cv2.rectangle(canvas, (start, base - high - below - 2), (start + wide + 4, base), color, cv2.FILLED)
    dark = sum(share * part for share, part in zip((0.299, 0.587, 0.114), color, strict=True)) > 140
    ink = (0, 0, 0) if dark else (255, 255, 255)
    cv2.putText(canvas, label, (start + 2, base - below), font, scale, ink, thickness, cv2.LINE_AA)


def blend(canvas: Picture, mask: Array, color: Color, opacity: float = 0.5) -> None:
    """Tint the part of a picture that a mask covers, in place.

    Args:
        canvas: ``(height, width, 3)`` uint8, RGB.
        mask: ``(rows, columns)`` bool, or float shares 0..1; resized to the canvas where sizes differ.
        color: Of the tint.
        opacity: Of a mask of 1.
    """
    import cv2

    height, width = canvas.shape[:2]
    cover = np.asarray(mask, np.float32)
    if cover.shape != (height, width):
        cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
    shares = (opacity * np.clip(cover, 0, 1))[..., None]
    canvas[:] = np.round(canvas * (1 - shares) + shares * np.array(color, np.float32)).astype(np.uint8)


def draw_points(canvas: Picture, points: Array, color: Color, edges: Sequence[tuple[int, int]] = ()) -> None:
    """Draw points and the lines between them, in place.

    Args:
        canvas: ``(height, width, 3)`` uint8, RGB.
        points: ``(count, 2)`` x and y as shares 0..1 of width and height; NaN where a point was not found.
        color: Of points and lines.
        edges: Pairs of points that a line connects.
    """
    import cv2

    height, width = canvas.shape[:2]
    radius = max(2, round(min(height, width) * 0.008))
    at = [
        None if np.isnan(point).any() else (round(point[0] * (width - 1)), round(point[1] * (height - 1)))
        for point in np.asarray(points, np.float64)
    ]
    for first, second in edges:
        if at[first] is not None and at[second] is not None:
            cv2.line(canvas, at[first], at[second], color, max(1, radius // 2), cv2.LINE_AA)
    for place in at:
        if place is not None:
            cv2.circle(canvas, place, radius, color, cv2.FILLED, cv2.LINE_AA)


def draw_legend(canvas: Picture, entries: Sequence[tuple[str, Color]], most: int = 8) -> None:
    """Draw names beside their colors on a dark band at the upper left, in place.

    Args:
        canvas: ``(height, width, 3)`` uint8, RGB.
        entries: Name and color; letters that the font lacks are replaced.
        most: Entries that are drawn.
    """
    import cv2

    if not entries:
        return
    font, side = cv2.FONT_HERSHEY_SIMPLEX, max(8, round(min(canvas.shape[:2]) * _SMALL_TEXT_SHARE))
    scale, texts = cv2.getFontScaleFromHeight(font, side, 1), [drawable(name) for name, _ in entries[:most]]
    wide = max(cv2.getTextSize(text, font, scale, 1)[0][0] for text in texts)
    step, margin = side * 7 // 4, side // 2
    band = canvas[: step * len(texts) + margin, : side + wide + 3 * margin]
    band[:] = (band * 0.3).astype(np.uint8)
    for number, (text, (_, color)) in enumerate(zip(texts, entries, strict=False)):
        top = margin + number * step
        cv2.rectangle(canvas, (margin, top), (margin + side, top + side), color, cv2.FILLED)
        at = (2 * margin + side, top + side)
        cv2.putText(canvas, text, at, font, scale, _BEST, 1, cv2.LINE_AA)


def annotate(picture: Picture, lines: Sequence[str]) -> Picture:
    """Return a copy with lines of text on a dark band at the bottom left, in a size that fits the photo.

    Args:
        picture: ``(height, width, 3)`` uint8, RGB.
        lines: The first is emphasised. Letters that the font lacks are replaced.

    Returns:
        ``(height, width, 3)`` uint8, RGB, enlarged to a shorter side of `MIN_SHORT_SIDE` if it was smaller.
    """
    import cv2

    canvas = enlarged(picture)
    texts = [drawable(line) for line in lines]
    scale, thickness, widths, height = _fitting(texts, canvas.shape[0], canvas.shape[1])
    margin, step = max(2, height // 2), height + max(4, height * 2 // 3)
    top = max(0, canvas.shape[0] - step * len(texts) - margin)
    band = canvas[top:, : min(canvas.shape[1], max(widths) + 2 * margin)]
    band[:] = (band * 0.3).astype(np.uint8)
    for number, text in enumerate(texts):
        at = (margin, top + margin + height + number * step)
        color = _BEST if number == 0 else _OTHERS
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv2.LINE_AA)
    return canvas


def enlarged(picture: Picture) -> Picture:
    """Return a copy, enlarged to a shorter side of `MIN_SHORT_SIDE` pixels if it was smaller."""
    import cv2

    short = min(picture.shape[:2])
    if short >= MIN_SHORT_SIDE:
        return picture.copy()
    factor = MIN_SHORT_SIDE / short
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    larger: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    return larger


def _fitting(texts: Sequence[str], height: int, width: int) -> tuple[float, int, list[int], int]:
    """Return font scale, line thickness, widths of the texts and height of a letter, in pixels."""
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = cv2.getFontScaleFromHeight(font, max(10, round(min(height, width) * _TEXT_SHARE)), 1)
    thickness = max(1, round(scale * 1.6))
    widest = max(cv2.getTextSize(text, font, scale, thickness)[0][0] for text in texts)
    scale *= min(1.0, _MAX_WIDTH_SHARE * width / widest)
    thickness = max(1, round(scale * 1.6))
    sizes = [cv2.getTextSize(text, font, scale, thickness)[0] for text in texts]
    return scale, thickness, [size[0] for size in sizes], max(size[1] for size in sizes)


def drawable(text: str) -> str:
    """Reduce to the letters that OpenCV's stroke font has: accents are dropped, the rest becomes ``?``."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode() or " "
