"""What is said about measured times."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit_runtimes.bench.stats import ROUNDS, compare_rounds, is_steady, summarize


def test_a_summary_is_in_milliseconds() -> None:
    found = summarize([number / 1000 for number in range(1, 102)])
    assert found.count == 101
    assert (found.minimum, found.mean, found.p50, found.p90, found.p99) == pytest.approx((1, 51, 51, 91, 100))
    assert found.per_second == pytest.approx(1000 / 51)


def test_no_times_have_no_summary() -> None:
    with pytest.raises(ValueError, match="no times"):
        summarize([])


@pytest.mark.parametrize(
    ("times", "steady"),
    [
        ([1.0], False),
        ([1.0, 1.0], True),
        ([5.0] * 10 + [1.0] * 10, False),
        ([5.0] * 10 + [1.0] * 20, True),
        ([1.0] * 10 + [1.04] * 10, True),
        ([1.0] * 10 + [1.06] * 10, False),
        ([1.0] * 10 + [1.0] * 9 + [50.0], True),
    ],
)
def test_when_a_warm_up_is_over(times: list[float], steady: bool) -> None:
    assert is_steady(times) == steady


def rounds(ratio: float, between: float, seed: int) -> list[tuple[list[float], list[float]]]:
    """Times of A and B; each round has a drift that meets both and a placement of A that stays."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(ROUNDS):
        drift = np.cumsum(generator.normal(0, 0.01, 100)) + 5
        placement = np.exp(generator.normal(0, between))
        a = drift * ratio * placement * np.exp(generator.normal(0, 0.02, 100))
        b = drift * np.exp(generator.normal(0, 0.02, 100))
        found.append((list(a), list(b)))
    return found


def test_a_clear_difference_is_found_and_named() -> None:
    found = compare_rounds(rounds(1.3, 0.01, 0))
    assert found.low < 1.3 < found.high
    assert found.low > 1.25
    assert found.verdict == "B is faster"
    assert found.pairs == 100 * ROUNDS
    assert compare_rounds(rounds(0.8, 0.01, 0)).verdict == "A is faster"


def test_one_artifact_against_itself_makes_no_difference_as_often_as_promised() -> None:
    """95 % of the time, although its copies differ by 3 % within each process."""
    verdicts = [compare_rounds(rounds(1.0, 0.03, seed)).verdict for seed in range(200)]
    assert 180 <= verdicts.count("no difference") <= 198


def test_pairs_are_required() -> None:
    with pytest.raises(ValueError, match="pairs"):
        compare_rounds([([1.0], [1.0, 2.0])] * ROUNDS)
    with pytest.raises(ValueError, match="rounds"):
        compare_rounds([([1.0], [1.0])])
