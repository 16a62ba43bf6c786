"""Another reading of an encoded input is what encoding with it gives."""

from dataclasses import replace

import numpy as np
import pytest

from edgekit.preprocess import encode_image
from edgekit.presets import PRESETS
from edgekit.spec import Layout, Preprocess, TensorSpec
from edgekit_converters.compare.readings import (
    FACTORS,
    VALUES,
    Reading,
    converted,
    guessed,
    recolourings,
    refilterings,
    reframings,
    remedy,
    values_name,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def input_of(layout: Layout, dtype: str = "float32") -> TensorSpec:
    shape = (None, 24, 24, 3) if layout == "NHWC" else (None, 3, 24, 24)
    return TensorSpec("photo", shape, dtype, layout)


IMAGENET = PRESETS["imagenet"][1].preprocess or Preprocess()


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("have", [Preprocess(scale=1 / 255), IMAGENET, replace(IMAGENET, color="bgr")])
def test_every_recolouring_equals_encoding_with_it(layout: Layout, have: Preprocess) -> None:
    tensor = input_of(layout)
    have = replace(have, resize="stretch", size=None, crop=False)
    encoded = encode_image(PICTURE, tensor, have)
    tried = [r for r in recolourings(Reading(have), tensor) if r.axes == "as they are"]
    assert {values_name(reading.how) for reading in tried} >= set(VALUES)
    for reading in tried:
        wanted = encode_image(PICTURE, tensor, reading.how)
        np.testing.assert_allclose(converted(encoded, have, reading, tensor), wanted, atol=1e-3)


def test_integer_inputs_keep_their_values_and_change_colours() -> None:
    tensor = input_of("NHWC", "uint8")
    tried = list(recolourings(Reading(Preprocess()), tensor))
    assert {values_name(reading.how) for reading in tried} == {"0..255"}
    bgr = next(r for r in tried if r.how.color == "bgr" and r.axes == "as they are")
    np.testing.assert_array_equal(converted(PICTURE[None], Preprocess(), bgr, tensor), PICTURE[None, ..., ::-1])


def test_axes() -> None:
    tensor = input_of("NHWC", "uint8")
    tried = {r.axes: r for r in recolourings(Reading(Preprocess()), tensor) if r.how.color == "rgb"}
    swapped = converted(PICTURE[None], Preprocess(), tried["height and width swapped"], tensor)
    np.testing.assert_array_equal(swapped[0], PICTURE.transpose(1, 0, 2))
    scrambled = converted(PICTURE[None], Preprocess(), tried["channels first read as channels last"], tensor)
    np.testing.assert_array_equal(scrambled.ravel(), PICTURE.transpose(2, 0, 1).ravel())


@pytest.mark.parametrize("factor", FACTORS)
def test_one_factor_is_taken_from_another_reading(factor: str) -> None:
    caffe = Preprocess(
        "letterbox", None, "bicubic", color="bgr", mean=VALUES["Caffe's ImageNet mean"][1][::-1]
    )  # fmt: skip
    one, other = Reading(IMAGENET), Reading(caffe, "height and width swapped")
    mixed = one.with_part(factor, other)
    for each in FACTORS:
        assert mixed.part(each) == (other if each == factor else one).part(each), each


def test_framings_and_filters_change_nothing_else() -> None:
    current = Reading(IMAGENET)
    for kept, readings in (("filter", reframings(current, input_of("NHWC"))), ("framing", refilterings(current))):
        found = list(readings)
        assert len({reading.part("framing") + reading.part("filter") for reading in found}) == len(found) >= 4
        for reading in found:
            assert all(reading.part(each) == current.part(each) for each in (kept, "values", "colour", "axes"))


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [(0, 1, "0..1"), (0, 255, "0..255"), (-1, 1, "-1..1"), (-2.1, 2.6, "ImageNet mean and std")],
)
def test_values_of_plain_arrays_are_guessed_from_their_range(low: float, high: float, name: str) -> None:
    arrays = iter([np.array([low, high], np.float32)])
    assert values_name(guessed(arrays)) == name


def test_the_remedy_is_a_preset_where_there_is_one() -> None:
    assert remedy(Reading(IMAGENET)) == "--preset imagenet"
    text = remedy(Reading(replace(IMAGENET, color="bgr", mean=IMAGENET.mean[::-1], std=IMAGENET.std[::-1])))
    assert 'color = "bgr"' in text
    assert "mean = [0.406, 0.456, 0.485]" in text
    assert "crop = true" in text
