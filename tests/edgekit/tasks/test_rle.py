"""Run-length encoding against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from edgekit.errors import DataRefused
from edgekit.tasks import rle

masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape))


@given(masks)
def test_masks_are_written_and_read_as_coco_does(mask: np.ndarray) -> None:
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    got = rle.encode(mask)
    assert got == {"size": list(expected["size"]), "counts": expected["counts"].decode()}
    assert np.array_equal(rle.decode(got), mask)


def test_long_runs_take_several_groups_of_bits() -> None:
    mask = np.zeros((1080, 1920), bool)
    mask[200:900, 300:1700] = True
    mask[500, 1000] = False
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert rle.encode(mask)["counts"] == expected
    assert np.array_equal(rle.decode({"size": [1080, 1920], "counts": expected.encode()}), mask)
    assert rle.encode(np.zeros((1080, 1920), bool))["counts"] == "PPYo1"


def test_uncompressed_counts_are_read_too() -> None:
    assert rle.decode({"size": [2, 2], "counts": [1, 2, 1]}).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    "raw",
    [
        {"size": [2, 2]},
        {"size": [2, 2], "counts": "\x00"},
        {"size": [2, 2], "counts": "o"},
        {"size": [2, 2], "counts": "oooooooo1"},
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2], "counts": [4]},
        {"size": [2, 2], "counts": "é"},
    ],
)
def test_damaged_encodings_are_refused(raw: dict[str, object]) -> None:
    with pytest.raises(DataRefused, match="mask 7"):
        rle.decode(raw, "mask 7")
