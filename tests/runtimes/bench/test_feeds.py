"""Inputs for an artifact of which nothing but its tensors is known."""

from __future__ import annotations

import numpy as np

from edgekit.engine import TensorInfo
from edgekit_runtimes.bench.feeds import random_feeds

INPUTS = (
    TensorInfo("image", (None, 8, 8, 3), "float32"),
    TensorInfo("quantized", (1, 4), "int8", scale=0.5, zero_point=3),
    TensorInfo("ids", (None, None), "int64"),
    TensorInfo("mask", (2,), "bool"),
    TensorInfo("half", (2,), "float16"),
)


def test_shapes_dtypes_and_ranges() -> None:
    feeds = random_feeds(INPUTS)
    assert {name: (array.shape, array.dtype.name) for name, array in feeds.items()} == {
        "image": ((1, 8, 8, 3), "float32"),
        "quantized": ((1, 4), "float32"),
        "ids": ((1, 1), "int64"),
        "mask": ((2,), "bool"),
        "half": ((2,), "float16"),
    }
    assert all(array.min() >= 0 and array.max() <= 1 for array in feeds.values())
    assert feeds["image"].std() > 0.1


def test_the_same_every_time() -> None:
    one, two, other = random_feeds(INPUTS), random_feeds(INPUTS), random_feeds(INPUTS, seed=1)
    np.testing.assert_array_equal(one["image"], two["image"])
    assert not np.array_equal(one["image"], other["image"])
