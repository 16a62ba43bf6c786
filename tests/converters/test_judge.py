"""What steers `mixed`, and what tells that an artifact is slower than float."""

from dataclasses import replace

import pytest

from edgekit.metrics import Proportion
from edgekit.parity import OutputParity, Parity
from edgekit_converters.judge import close_enough


def parity(agreeing: int, right: int | None, *, cosine: float = 1.0) -> Parity:
    output = OutputParity("scores", relative_l2=0.1, cosine=cosine, max_error=0.1)
    accuracy = None if right is None else Proportion(right, 100)
    reference = None if right is None else Proportion(80, 100)
    return Parity(100, (output,), Proportion(agreeing, 100), accuracy, reference)


@pytest.mark.parametrize(
    ("agreeing", "right", "enough"),
    [(97, 80, True), (97, 79, True), (97, 78, False), (96, 80, False), (97, None, True), (96, None, False)],
)
def test_a_point_of_drop_allows_three_points_of_disagreement(agreeing: int, right: int | None, enough: bool) -> None:
    assert close_enough(parity(agreeing, right), max_drop=1.0) is enough


def test_twice_the_drop_allows_twice_as_much() -> None:
    assert close_enough(parity(94, 78), max_drop=2.0)
    assert not close_enough(parity(93, 78), max_drop=2.0)


def test_a_task_that_decides_nothing_is_judged_by_its_outputs() -> None:
    far = replace(parity(0, None, cosine=0.5), agreement=None)
    assert not close_enough(far, max_drop=1.0)
    assert close_enough(replace(parity(0, None), agreement=None), max_drop=1.0)
