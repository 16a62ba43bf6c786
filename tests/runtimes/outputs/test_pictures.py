"""Annotated copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.drawing import MIN_SHORT_SIDE, annotate
from edgekit.images import read_image
from edgekit.tasks.classification import Classification, Label
from edgekit.tasks.tensors import Arrays
from edgekit_runtimes.outputs.pictures import result_lines, write_picture

LINES = ["Labrador retriever  97.3 %", "golden retriever  1.2 %"]


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def written_rows(height: int, width: int, lines: list[str]) -> np.ndarray:
    """Rows of an annotated gray picture that hold white letters."""
    return np.flatnonzero((annotate(gray(height, width), lines) > 180).any(axis=(1, 2)))


@pytest.mark.parametrize(("height", "width"), [(480, 640), (2000, 3000), (640, 360)])
def test_text_is_legible_and_inside(height: int, width: int) -> None:
    picture = gray(height, width)
    marked = annotate(picture, LINES[:1])
    assert marked.shape == picture.shape
    assert (picture == 128).all()
    rows, columns = np.nonzero((marked > 180).any(axis=2))
    letter = rows.max() - rows.min() + 1
    assert 0.02 * min(height, width) < letter < 0.1 * min(height, width)
    assert columns.max() < width - 1
    assert rows.max() < height - 1
    assert (marked[: height // 2] == 128).all()


def test_a_thumbnail_is_enlarged_first() -> None:
    assert annotate(gray(32, 48), LINES).shape == (MIN_SHORT_SIDE, MIN_SHORT_SIDE * 3 // 2, 3)


def test_a_long_label_is_made_to_fit() -> None:
    marked = annotate(gray(400, 400), ["x" * 90])
    assert (marked > 180).any()
    assert not (marked[:, -2:] > 180).any()


def test_more_lines_take_more_room() -> None:
    assert np.ptp(written_rows(480, 640, LINES)) > np.ptp(written_rows(480, 640, LINES[:1]))


def test_letters_that_the_font_lacks_do_not_stop_it() -> None:
    assert len(written_rows(480, 640, ["café 写真  50.0 %"])) > 0


def test_lines_of_results() -> None:
    labels = tuple(Label(i, f"class, {i}", 0.25) for i in range(5))
    assert result_lines(Classification(labels)) == ["class, 0  25.0 %", "class, 1  25.0 %", "class, 2  25.0 %"]
    assert result_lines(Arrays({"x": np.array([1.5])})) == ["x [1.5]"]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    picture = gray(40, 60)
    picture[..., 0] = 200
    write_picture(tmp_path / "sub" / "copy.jpg", picture)
    again = read_image(tmp_path / "sub" / "copy.jpg")
    assert np.abs(again.astype(int) - picture).max() <= 3
