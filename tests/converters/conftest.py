"""A bundle for tests of what other programs make of its files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import edgekit
from edgekit.bundle import Bundle

TINY = f"{Path(__file__).parents[1] / 'fixtures' / 'tiny.py'}:build"


@pytest.fixture(scope="session")
def colour_photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of the size that the tiny network takes: red, green, blue or none of them, in turns."""
    folder = tmp_path_factory.mktemp("colours")
    photos = []
    for seed in range(24):
        values = np.random.default_rng(seed).integers(0, 76, (32, 32, 3), dtype=np.uint8)
        if seed % 4 < 3:
            values[..., seed % 4] += 153
        photos.append(folder / f"{seed:02}.png")
        cv2.imwrite(str(photos[-1]), values[..., ::-1])
    return photos


@pytest.fixture(scope="session")
def integer_bundle(colour_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny network as TFLite: fp32, and int8 with integers at its edges. Not to be changed by a test."""
    return edgekit.convert(
        TINY,
        tmp_path_factory.mktemp("integer") / "tiny.bundle",
        to=("tflite",),
        recipes=("fp32", "int8"),
        preset="unit",
        labels=("red", "grün", 'a "blue"??/ \\ one', "none"),
        input_shapes=["1,3,32,32"],
        calibration=colour_photos[0].parent,
        io="int8",
        effort="low",
    )
