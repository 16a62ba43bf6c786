"""Annotated copies of photos: the result written into the picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.atomic import atomic_file
from edgekit.errors import DataRefused
from edgekit.tasks import Result
from edgekit_runtimes.outputs.sink import Answer

Picture = NDArray[np.uint8]

MIN_SHORT_SIDE = 320
"""Smaller photos are enlarged first, in pixels: a label on a thumbnail could not be read."""

_LINES = 3
_TEXT_SHARE = 0.045  # height of a letter as a share of the photo's shorter side
_MAX_WIDTH_SHARE = 0.94
_BEST, _OTHERS = (255, 255, 255), (200, 200, 200)
_JPEG_QUALITY = 92


def result_lines(result: Result) -> list[str]:
    """Return the lines to draw: the best classes with their probability, or the result as one line."""
    labels = getattr(result, "labels", None)
    if labels is None:
        return [str(result)]
    return [f"{label.name}  {100 * label.score:.1f} %" for label in labels[:_LINES]]


def annotate(picture: Picture, lines: Sequence[str]) -> Picture:
    """Return a copy with lines of text on a dark band at the bottom left, in a size that fits the photo.

    Args:
        picture: ``(height, width, 3)`` uint8, RGB.
        lines: The first is emphasised. Letters that the font lacks are replaced.

    Returns:
        ``(height, width, 3)`` uint8, RGB, enlarged to a shorter side of `MIN_SHORT_SIDE` if it was smaller.
    """
    import cv2

    canvas = _enlarged(picture)
    texts = [_drawable(line) for line in lines]
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


def drawn(answer: Answer) -> Picture:
    """Return a copy of an answer's picture with its result written in.

    Returns:
        ``(height, width, 3)`` uint8, RGB.

    Raises:
        DataRefused: The input is no picture.
    """
    return annotate(picture_of(answer), result_lines(answer.result))


def picture_of(answer: Answer) -> Picture:
    """Return an answer's picture. Raises DataRefused when the input is none."""
    if answer.picture is None:
        raise DataRefused(
            f"{answer.name}: there is no picture to draw",
            expected="a bundle that takes photos",
            remedy="write the results as a table, JSON lines or CSV",
        )
    return answer.picture


def write_picture(path: Path, picture: Picture) -> None:
    """Write an RGB picture as JPEG, atomically.

    Raises:
        DataRefused: It cannot be encoded.
        EnvironmentFault: The disk is full or not writable.
    """
    import cv2

    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise DataRefused(f"{path}: a picture of {picture.shape[1]} x {picture.shape[0]} cannot be written as JPEG")
    with atomic_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _enlarged(picture: Picture) -> Picture:
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


def _drawable(text: str) -> str:
    """Reduce to the letters that OpenCV's stroke font has: accents are dropped, the rest becomes ``?``."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode() or " "
