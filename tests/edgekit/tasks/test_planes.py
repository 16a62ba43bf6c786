"""From the model's input back to the photo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgekit.errors import DataRefused
from edgekit.preprocess import place, placement
from edgekit.spec import Preprocess, Resize, TensorSpec
from edgekit.tasks.picture import PictureSize
from edgekit.tasks.planes import PhotoGrid, planes_last, without_nan

sides = st.integers(1, 90)
WAYS: list[tuple[Resize, bool]] = [("stretch", False), ("letterbox", False), ("short-side", True), ("none", True)]


def bilinear(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples at places, the edge going on: the textbook formula."""
    rows, columns = plane.shape
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    across, down = x - left, (y - top)[:, None]
    upper = plane[top][:, left] * (1 - across) + plane[top][:, right] * across
    lower = plane[bottom][:, left] * (1 - across) + plane[bottom][:, right] * across
    return upper * (1 - down) + lower * down  # type: ignore[no-any-return]


@given(
    st.tuples(sides, sides), st.tuples(st.integers(2, 40), st.integers(2, 40)), st.sampled_from(WAYS), st.integers(1, 4)
)
def test_planes_come_back_as_the_bilinear_formula_says(
    photo: tuple[int, int], shape: tuple[int, int], way: tuple[Resize, bool], stride: int
) -> None:
    (height, width), (rows, columns) = photo, shape
    tensor = TensorSpec("image", (1, rows * stride, columns * stride, 3), layout="NHWC")
    how = Preprocess(way[0], crop=way[1])
    grid = PhotoGrid.of(PictureSize(height, width), tensor, how)
    plane = np.random.default_rng(height * width).normal(size=(rows, columns)).astype(np.float32)
    where = placement((height, width), tensor, how)
    y = ((np.arange(height) + 0.5) * where.scale[0] + where.offset[0]) / stride - 0.5
    x = ((np.arange(width) + 0.5) * where.scale[1] + where.offset[1]) / stride - 0.5
    expected = bilinear(plane, x, y)
    assert np.abs(grid.bilinear(plane) - expected).max() < 0.02 * np.ptp(plane)
    left, top = width // 3, height // 3
    part = grid.bilinear(plane, (left, top, width, height))
    assert np.abs(part - expected[top:, left:]).max() < 0.02 * np.ptp(plane)


@given(sides, sides, st.sampled_from(WAYS))
def test_a_photo_placed_and_brought_back_by_nearest_pixels_is_itself(
    height: int, width: int, way: tuple[Resize, bool]
) -> None:
    """Preprocessing and its inverse agree wherever the model saw the photo at its size or larger."""
    tensor = TensorSpec("image", (1, 96, 96, 3), layout="NHWC")
    how = Preprocess(way[0], crop=way[1], interpolation="nearest")
    where = placement((height, width), tensor, how)
    assume(min(where.scale) >= 1)
    photo = np.random.default_rng(height + 100 * width).integers(0, 255, (height, width, 3), np.uint8)
    pixels, _ = place(photo, tensor, how)
    grid = PhotoGrid.of(PictureSize(height, width), tensor, how)
    rows, columns = grid.seen
    back = grid.nearest(pixels[..., 0])
    different = back[rows, columns] != photo[rows, columns, 0]
    assert different.mean() <= 0.02, "but for ties at half a pixel"


@given(sides, sides, st.sampled_from(WAYS))
def test_places_return_to_where_preprocessing_took_them_from(height: int, width: int, way: tuple[Resize, bool]) -> None:
    tensor = TensorSpec("image", (1, 48, 64, 3), layout="NHWC")
    how = Preprocess(way[0], crop=way[1])
    where = placement((height, width), tensor, how)
    photo = np.array([[0.0, 0.0], [width, height], [width / 3, height / 7]])
    inside = photo * where.scale[::-1] + where.offset[::-1]
    grid = PhotoGrid.of(PictureSize(height, width), tensor, how)
    assert np.allclose(grid.points(inside), photo)


def test_what_a_crop_cuts_off_was_not_seen() -> None:
    tensor = TensorSpec("image", (1, 32, 32, 3), layout="NHWC")
    grid = PhotoGrid.of(PictureSize(100, 200), tensor, Preprocess("short-side", (64, 64), crop=True))
    assert grid.seen == (slice(25, 75), slice(75, 125))


def test_without_the_photos_size_places_are_those_of_the_input() -> None:
    grid = PhotoGrid.of(None, TensorSpec("image", (1, 8, 16, 3), layout="NHWC"), Preprocess("letterbox"))
    assert grid.photo == (8, 16)
    assert grid.points(np.array([[3.0, 4.0]])).tolist() == [[3.0, 4.0]]


def test_nan_and_nothing_are_refused() -> None:
    with pytest.raises(DataRefused, match="'scores' holds NaN"):
        without_nan("scores", np.array([1.0, np.nan]))
    with pytest.raises(DataRefused, match="'scores' is empty"):
        without_nan("scores", np.zeros((1, 0)))
    infinite = np.array([1.0, -np.inf])
    assert without_nan("scores", infinite) is infinite


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((17, 16, 24), False),
        ((16, 24, 17), True),
        ((21, 8, 12), False),
        ((150, 8, 12), False),
        ((8, 12, 150), True),
        ((3, 10, 10), False),
        ((10, 10, 3), True),
        ((None, 8, 12), False),
    ],
)
def test_rows_and_columns_have_the_inputs_proportions(shape: tuple[int | None, ...], last: bool) -> None:
    assert planes_last(shape, TensorSpec("image", (1, 32, 48, 3), layout="NHWC")) == last
