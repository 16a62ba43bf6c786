"""What calibration data must be, and what the refusals say."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import TensorInfo
from edgekit.errors import DataRefused
from edgekit_converters.quantize.calibration import check_samples

INPUTS = (TensorInfo("x", (None, 4), "float32"),)
Sample = dict[str, NDArray[Any]]


def samples(count: int = 20) -> list[Sample]:
    generator = np.random.default_rng(0)
    return [{"x": generator.normal(size=(1, 4)).astype(np.float32)} for _ in range(count)]


def test_good_samples_are_counted_without_a_note() -> None:
    summary = check_samples(samples(), INPUTS)
    assert (summary.samples, summary.notes) == (20, ())


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_a_value_that_is_not_finite_is_refused_with_its_sample(value: float, word: str) -> None:
    data = samples()
    data[13]["x"][0, 2] = value
    with pytest.raises(DataRefused, match=rf"sample 13, 'x': {word}"):
        check_samples(data, INPUTS)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(DataRefused, match="calibration set is empty"):
        check_samples([], INPUTS)


def test_a_generator_is_refused_with_what_to_pass() -> None:
    def generate() -> Iterator[Sample]:
        yield from samples()

    with pytest.raises(DataRefused, match=r"one-shot generator(.|\n)*list\(samples\)"):
        check_samples(generate(), INPUTS)


def test_something_that_cannot_be_iterated_is_refused() -> None:
    with pytest.raises(DataRefused, match="calibration data is a int"):
        check_samples(3, INPUTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ({"y": np.zeros((1, 4), np.float32)}, r"sample 20 has \['y'\]; expected arrays for \['x'\]"),
        ({"x": np.zeros((1, 5), np.float32)}, r"shape \[1, 5\]; expected \['any', 4\]"),
        ({"x": np.zeros(4, np.float32)}, r"shape \[4\]"),
        ({"x": np.zeros((0, 4), np.float32)}, r"shape \[0, 4\]"),
        ({"x": np.zeros((1, 4))}, "dtype float64; expected float32"),
        ({"x": np.zeros((1, 4), np.uint8)}, "dtype uint8; expected float32"),
    ],
)
def test_a_sample_that_does_not_fit_the_input_is_refused(sample: Sample, text: str) -> None:
    with pytest.raises(DataRefused, match=text):
        check_samples([*samples(), sample], INPUTS)


def test_constant_data_is_refused() -> None:
    with pytest.raises(DataRefused, match=r"'x' is constant: every value is 0\.5"):
        check_samples([{"x": np.full((1, 4), 0.5, np.float32)}] * 20, INPUTS)


def test_samples_that_are_all_the_same_are_noted() -> None:
    notes = check_samples(samples(1) * 20, INPUTS).notes
    assert any("all 20 calibration samples have the same 'x'" in note for note in notes)


def test_a_constant_token_input_is_allowed_with_a_note() -> None:
    inputs = (*INPUTS, TensorInfo("mask", (1, 4), "int64"))
    data = [{**sample, "mask": np.ones((1, 4), np.int64)} for sample in samples()]
    assert "the same 'mask'" in check_samples(data, inputs).notes[0]


def test_pixel_values_in_a_float_input_are_noted() -> None:
    generator = np.random.default_rng(0)
    data = [{"x": generator.integers(0, 256, (1, 4)).astype(np.float32)} for _ in range(20)]
    assert any("not normalised" in note for note in check_samples(data, INPUTS).notes)


def test_few_samples_are_noted() -> None:
    assert "only 3 calibration samples" in check_samples(samples(3), INPUTS).notes[0]


def test_the_fingerprint_is_of_the_contents_whatever_their_order() -> None:
    data = samples()
    first = check_samples(data, INPUTS).fingerprint
    assert check_samples(data[::-1], INPUTS).fingerprint == first
    data[7] = {"x": data[7]["x"] + 1}
    assert check_samples(data, INPUTS).fingerprint != first
    assert check_samples(samples(19), INPUTS).fingerprint != first
