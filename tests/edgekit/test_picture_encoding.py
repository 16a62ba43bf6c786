"""Pixel values against transformers' own image processors (those on Pillow)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers
from numpy.typing import NDArray

from edgekit.preprocess import encode_image
from edgekit.spec import TensorSpec
from edgekit_converters.sources._hf_pictures import preprocess_of

HALF = {"image_mean": [0.5, 0.4, 0.6], "image_std": [0.5, 0.3, 0.2]}


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth shapes with noise, as photos have."""
    random = np.random.default_rng(height * width)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (7 + 3 * c)) * np.cos(y / (11 - 2 * c)) for c in range(3)]
    noisy = 128 + 90 * np.stack(waves, axis=2) + random.normal(0, 12, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ViTImageProcessorPil", {"size": {"height": 64, "width": 48}, **HALF}),
        ("ViTImageProcessorPil", {"size": {"height": 64, "width": 64}, "resample": 0}),
        ("ViTImageProcessorPil", {"size": {"height": 64, "width": 64}, "resample": 1}),
        ("MobileViTImageProcessorPil", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}),
        ("MobileNetV2ImageProcessorPil", {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}),
        ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}),
    ],
    ids=["bilinear", "nearest", "lanczos", "bicubic-bgr-crop", "crop", "convnext"],
)
@pytest.mark.parametrize("size", [(97, 150), (150, 97), (40, 50)], ids=["wide", "high", "small"])
def test_pixels_are_those_of_transformers(kind: str, settings: dict[str, Any], size: tuple[int, int]) -> None:
    processor = getattr(transformers, kind)(**settings)
    how, final = preprocess_of(processor.to_dict())
    assert final is not None
    picture = photo(*size)
    expected = processor(picture, return_tensors="np")["pixel_values"]
    found = encode_image(picture, TensorSpec("x", (None, 3, *final), layout="NCHW"), how)
    assert found.shape == expected.shape
    step = 1 / 255 / np.array(how.std)[:, None, None] if len(how.std) == 3 else 1 / 255 / how.std[0]
    difference = np.abs(found - expected) / step  # in steps of a byte
    assert difference.max() <= 1.01, f"largest {difference.max():.2f}, mean {difference.mean():.4f} of 255"
    # With lanczos a quarter of the pixels of one picture differ, each by one step of 255.
    assert difference.mean() < (0.3 if how.interpolation == "lanczos" else 0.02)
