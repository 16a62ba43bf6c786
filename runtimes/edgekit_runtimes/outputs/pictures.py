"""Annotated copies of photos: the result written into the picture."""

from __future__ import annotations

from pathlib import Path

from edgekit.atomic import atomic_file
from edgekit.drawing import Picture, annotate, enlarged
from edgekit.errors import DataRefused
from edgekit.tasks import Drawable, Result
from edgekit_runtimes.outputs.sink import Answer

_LINES = 3
_JPEG_QUALITY = 92


def result_lines(result: Result) -> list[str]:
    """Return the lines to draw: the best classes with their probability, or the result as one line."""
    labels = getattr(result, "labels", None)
    if labels is None:
        return [str(result)]
    return [f"{label.name}  {100 * label.score:.1f} %" for label in labels[:_LINES]]


def drawn(answer: Answer) -> Picture:
    """Return a copy of an answer's picture with its result written in.

    Returns:
        ``(height, width, 3)`` uint8, RGB.

    Raises:
        DataRefused: The input is no picture.
    """
    picture = picture_of(answer)
    if isinstance(answer.result, Drawable):
        return answer.result.draw(enlarged(picture))
    return annotate(picture, result_lines(answer.result))


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
