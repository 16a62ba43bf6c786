"""Overlap, non-maximum suppression and the way back into the photo."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.preprocess import encode_image
from edgekit.spec import Preprocess, TensorSpec
from edgekit.tasks.boxes import MAX_CANDIDATES, from_centres, into_input, into_photo, iou, suppress

Array = NDArray[Any]

SIDES = st.integers(1, 900)
HOWS = {
    "letterbox": Preprocess("letterbox"),
    "stretch": Preprocess("stretch"),
    "crop": Preprocess("short-side", (256, 256), crop=True),
    "short side": Preprocess("short-side", crop=True),
    "none": Preprocess("none", crop=True),
}


def tensor(height: int = 224, width: int = 320) -> TensorSpec:
    return TensorSpec("photo", (1, height, width, 3), layout="NHWC")


def overlap_of(one: Array, other: Array) -> float:
    """By counting on paper: shared area over the area of both."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return float(shared / union) if union > 0 else 0.0


def suppressed_slowly(boxes: Array, scores: Array, classes: Array | None, overlap: float, limit: int) -> list[int]:
    """The definition: go through the boxes, best first, and keep what overlaps no kept box too much."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if classes is None or classes[k] == classes[index]]
        if len(kept) < limit and all(overlap_of(boxes[index], boxes[k]) <= overlap for k in rivals):
            kept.append(index)
    return kept


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Boxes on a coarse grid, so that equal boxes, equal scores and boxes without an area occur."""
    count = draw(st.integers(0, 25))
    numbers = st.lists(st.integers(0, 12), min_size=count, max_size=count)
    left, top, wide, high = (np.array(draw(numbers), np.float64) for _ in range(4))
    boxes = np.stack([left, top, left + wide, top + high], axis=1).reshape(-1, 4)
    scores = np.array(draw(numbers), np.float64) / 12
    return boxes, scores, np.array(draw(numbers), np.int64) % 3


@given(scenes(), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.booleans(), st.integers(1, 30))
def test_suppression_is_the_definition(
    scene: tuple[Array, Array, Array], overlap: float, by_class: bool, limit: int
) -> None:
    boxes, scores, classes = scene
    known = classes if by_class else None
    got = suppress(boxes, scores, known, overlap=overlap, limit=limit)
    assert got.tolist() == suppressed_slowly(boxes, scores, known, overlap, limit)


@given(scenes(), scenes())
def test_overlap_is_shared_area_over_all_area(
    one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]
) -> None:
    got = iou(one[0], other[0])
    want = [[overlap_of(a, b) for b in other[0]] for a in one[0]]
    assert got.shape == (len(one[0]), len(other[0]))
    assert np.allclose(got, np.array(want).reshape(got.shape), atol=1e-12)


def test_suppression_is_bounded_where_thousands_overlap() -> None:
    """Twenty thousand boxes: what nearly coincide leave a few, what stand apart leave the limit."""
    rng = np.random.default_rng(0)
    corners = rng.random((20_000, 2)) * 5
    near = np.concatenate([corners, corners + 300], axis=1)
    grid = np.mgrid[0:200, 0:100].reshape(2, -1).T * 3.0
    apart = np.concatenate([grid, grid + 2], axis=1)
    scores = rng.random(20_000)
    start = time.process_time()
    assert suppress(near, scores, None, overlap=0.5, limit=300).tolist() == [int(scores.argmax())]
    kept = suppress(apart, scores, None, overlap=0.5, limit=300)
    seconds = time.process_time() - start
    assert kept.tolist() == np.argsort(-scores)[:300].tolist()
    assert seconds < 2, "300 passes over 5000 boxes take a tenth of a second"
    assert len(suppress(apart, scores, None, overlap=0.5, limit=9999)) == MAX_CANDIDATES


@given(SIDES, SIDES, st.sampled_from(sorted(HOWS)), st.integers(0, 2**32 - 1))
def test_boxes_go_into_the_input_and_back(height: int, width: int, how: str, seed: int) -> None:
    corners = np.sort(np.random.default_rng(seed).random((5, 2, 2)), axis=1)
    boxes = (corners * (width, height)).reshape(5, 4)
    there = into_input(boxes, (height, width), tensor(), HOWS[how])
    assert np.allclose(into_photo(there, (height, width), tensor(), HOWS[how]), boxes, atol=1e-6)


@pytest.mark.parametrize("how", ["letterbox", "stretch", "crop", "short side"])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (500, 333), (301, 777)])
def test_what_the_input_shows_is_where_it_was_in_the_photo(how: str, height: int, width: int) -> None:
    """A white rectangle, found again among the pixels that the model would see."""
    photo = np.zeros((height, width, 3), np.uint8)
    box = np.array([[width * 0.4, height * 0.35, width * 0.6, height * 0.65]]).round()
    left, top, right, bottom = box[0].astype(int)
    photo[top:bottom, left:right] = 255
    seen = encode_image(photo, tensor(), HOWS[how])[0, ..., 0] > 127
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    found = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float64)
    back = into_photo(found, (height, width), tensor(), HOWS[how])
    pixel = max(height / 224, width / 320, 1.0)
    assert np.abs(back - box).max() <= pixel


def test_a_photo_of_one_pixel_fills_the_letterbox() -> None:
    whole = into_photo(np.array([[0.0, 0.0, 320.0, 224.0]]), (1, 1), tensor(), HOWS["letterbox"])
    assert whole.tolist() == [[0, 0, 1, 1]]


def test_from_centres() -> None:
    assert from_centres(np.array([[10, 20, 4, 6]])).tolist() == [[8, 17, 12, 23]]
