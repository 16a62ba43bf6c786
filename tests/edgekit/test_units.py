"""Sizes and times: read as they are written, in every form of a unit."""

from __future__ import annotations

import re
from contextlib import suppress
from math import isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.units import BYTES, MILLISECONDS, digits, megabytes, parse_amount, parse_size, parse_time

NUMBERS = st.floats(1e-6, 1e12)
SPACES = st.sampled_from(["", " ", "  "])
CASES = st.sampled_from([str, str.lower, str.upper])


@given(NUMBERS, st.sampled_from(sorted(BYTES)), SPACES, CASES)
def test_every_form_of_a_size_is_read(number: float, unit: str, space: str, case: object) -> None:
    assert callable(case)
    text = f" {number!r}{space}{case(unit)} "
    assert parse_size(text, given=text) == pytest.approx(number * BYTES[unit])


@given(NUMBERS, st.sampled_from(sorted(MILLISECONDS)), SPACES, CASES)
def test_every_form_of_a_time_is_read(number: float, unit: str, space: str, case: object) -> None:
    assert callable(case)
    text = f"{number:g}{space}{case(unit)}"
    assert parse_time(text, given=text) == pytest.approx(float(f"{number:g}") * MILLISECONDS[unit])


@given(st.text(max_size=12))
def test_any_text_is_a_finite_number_or_refused(text: str) -> None:
    read = nan
    with suppress(UsageError):
        read = parse_size(text, given=text)
        assert isfinite(read)
    if not isfinite(read):
        assert not re.fullmatch(r"[0-9]{1,9} ?[kmg]?b", text, re.IGNORECASE | re.ASCII)


@given(st.integers(0, 10**12))
def test_what_is_printed_can_be_typed(count: int) -> None:
    shown = megabytes(count)
    assert parse_size(shown, given=shown) == pytest.approx(count, rel=0.05, abs=50)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("big", "--size big holds no number; expected a number with a unit, e.g. 5MB"),
        ("", "holds no number"),
        ("nanMB", "holds no number"),
        ("1e999MB", "holds no number"),
        ("1e308GB", "holds no number"),
        ("1,5MB", "holds no number"),
        ("5", "--size 5 has no unit; expected one of B, kB, MB, GB, KiB, MiB, GiB, e.g. 5MB"),
        ("5 MX", "has the unit 'MX'"),
        ("5 MB 2", "holds no number"),
    ],
)
def test_what_is_not_clear_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_size(text, given=f"--size {text}")
    assert said in str(refused.value)


def test_other_units_are_a_matter_of_the_caller() -> None:
    assert parse_amount("-1.5%", {"%": 1.0, "points": 1.0}, given="drop", example="1%") == -1.5
    assert parse_time("3 \N{GREEK SMALL LETTER MU}s", given="t") == parse_time("3 \N{MICRO SIGN}s", given="t") == 0.003


def test_a_time_has_three_digits() -> None:
    times = [0.04767, 0.05, 1.7262, 13.3304, 99.96, 195.949, 1234.5]
    assert [digits(time) for time in times] == ["0.0477", "0.0500", "1.73", "13.3", "100", "196", "1234"]
