"""Size and latency become shares of parameters and MACs."""

from pathlib import Path

import pytest

from edgekit.errors import QualityError
from edgekit_converters.api import build_request
from edgekit_converters.compress.goals import largest_within, size_aim
from edgekit_converters.compress.request import CompressRequest


def asked(recipe: str, size: float) -> CompressRequest:
    conversion = build_request("m.py:build", Path("small.pt2"), to=("tflite",), recipes=(recipe,), calibration="photos")
    return CompressRequest(conversion, "size", size)


def test_a_size_is_a_share_of_the_parameters_in_the_recipe() -> None:
    assert size_aim(asked("int8", 2e6), 4_000_000).share == 0.5
    assert size_aim(asked("fp32", 2e6), 1_000_000).share == 0.5
    assert size_aim(asked("fp32", 2e6), 1_000_000).measure == "parameters"
    with pytest.raises(QualityError, match="nothing has to go"):
        size_aim(asked("int8", 5e6), 4_000_000)
    with pytest.raises(QualityError, match="a tenth at least"):
        size_aim(asked("fp32", 1e5), 4_000_000)


def test_bisection_finds_the_largest_share_that_is_fast_enough() -> None:
    share, found = largest_within(6.0, lambda share: 2 + 8 * share)
    assert 0.4 <= share <= 0.5
    assert len(found) <= 5
    assert all(latency > 6.0 for tried, latency in found.items() if tried > share)


def test_a_latency_that_is_met_already_or_cannot_be_met_is_said() -> None:
    with pytest.raises(QualityError, match=r"the model takes 10\.00 ms"):
        largest_within(12.0, lambda share: 2 + 8 * share)
    with pytest.raises(QualityError, match="a faster recipe"):
        largest_within(1.0, lambda share: 2 + 8 * share)
