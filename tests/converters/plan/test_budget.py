"""What a budget says, and what it cannot say."""

from __future__ import annotations

import pytest

from edgekit.errors import UsageError
from edgekit_converters.plan.budget import Budget, parse_budget


def test_every_axis_has_its_units() -> None:
    assert parse_budget("latency=20ms,size=5MB,memory=150MB,drop=1%") == Budget(20.0, 5.0, 150.0, 1.0)
    assert parse_budget("latency=0.5s, size=900kB") == Budget(latency_ms=500.0, size_mb=0.9)
    assert parse_budget("latency=250 us").latency_ms == pytest.approx(0.25)
    assert parse_budget("memory=1GiB").memory_mb == pytest.approx(1073.741824)
    assert parse_budget("size=1MiB").size_mb == pytest.approx(1.048576)
    assert parse_budget("size=5mb,memory=1KB") == parse_budget("size=5MB,memory=1kB")
    assert parse_budget("drop=0%").drop_points == 0.0
    assert parse_budget("drop=0.5points").drop_points == 0.5


def test_only_the_axes_given_are_bounded() -> None:
    assert parse_budget("size=5MB").to_dict() == {"size_mb": 5.0}


def test_a_budget_is_told_with_its_units() -> None:
    assert str(parse_budget("latency=20ms,size=900kB,drop=1%")) == "latency 20 ms, size 0.9 MB, drop 1 points"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected AXIS=NUMBER UNIT"),
        ("20ms", "'20ms'; expected AXIS=NUMBER UNIT"),
        ("speed=20ms", "'speed' is no axis; expected latency, size, memory, drop"),
        ("latency=20", "latency=20 has no unit; expected one of us, µs, ms, s"),
        ("latency=20MB", "has the unit 'MB'; expected one of us"),
        ("size=5mx", "has the unit 'mx'; expected one of B, kB, MB, GB, KiB, MiB, GiB, e.g. size=5MB"),
        ("latency=fastms", "latency=fastms holds no number"),
        ("latency=nanms", "holds no number"),
        ("size=1e999MB", "holds no number"),
        ("latency=0ms", "which nothing can fit"),
        ("size=-1MB", "which nothing can fit"),
        ("drop=-1%", "which nothing can fit"),
        ("latency=20ms,latency=30ms", "latency is given twice"),
        ("latency=20ms,", "expected AXIS=NUMBER UNIT"),
    ],
)
def test_a_budget_that_says_nothing_clear_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_budget(text)
    assert said in str(refused.value)
