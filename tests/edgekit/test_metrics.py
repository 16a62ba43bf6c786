import math

import pytest

from edgekit.metrics import Proportion


def test_wilson_interval_equals_published_values() -> None:
    """Newcombe 1998 (Statistics in Medicine 17:857), table I: 81/263 and 15/148, method 3."""
    assert Proportion(81, 263).interval() == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Proportion(15, 148).interval() == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert Proportion(0, 20).interval() == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_nothing_is_not_a_number() -> None:
    assert math.isnan(Proportion(0, 0).value)
    assert Proportion(0, 0).interval() == (0.0, 1.0)


def test_value_lies_inside_at_the_ends() -> None:
    for share in (Proportion(0, 3), Proportion(3, 3)):
        low, high = share.interval()
        assert low <= share.value <= high
