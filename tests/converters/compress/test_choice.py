"""Channels go where they hurt least for what they save."""

import numpy as np

from edgekit_converters.compress.choice import Part, choose

PARTS = {
    "first": Part(macs=1000, parameters=100, sides=("a",)),
    "middle": Part(macs=2000, parameters=400, sides=("a", "b")),
    "last": Part(macs=1000, parameters=900, sides=("b",)),
}


def scores(a: float, b: float) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    return {"a": a * np.arange(1.0, 33.0), "b": b * np.arange(1.0, 33.0)}


def left(chosen: dict[str, list[int]]) -> float:
    a, b = (1 - len(chosen.get(root, ())) / 32 for root in "ab")
    return 1000 * a + 2000 * a * b + 1000 * b


def test_the_target_is_reached_and_no_more_than_a_block_is_taken_beyond_it() -> None:
    chosen = choose(scores(1, 1), PARTS, measure="macs", target=2800, round_to=8)
    assert 2000 < left(chosen) <= 2800


def test_the_channels_with_the_lowest_scores_go() -> None:
    chosen = choose(scores(1, 1), PARTS, measure="macs", target=2800, round_to=8)
    assert all(channels == list(range(len(channels))) for channels in chosen.values())


def test_the_set_that_hurts_less_gives_the_channels() -> None:
    assert set(choose(scores(1, 1000), PARTS, measure="macs", target=3000, round_to=8)) == {"a"}
    assert set(choose(scores(1000, 1), PARTS, measure="macs", target=3000, round_to=8)) == {"b"}


def test_parameters_are_another_measure_with_another_choice() -> None:
    assert set(choose(scores(1, 1.2), PARTS, measure="macs", target=3300, round_to=8)) == {"a"}
    assert set(choose(scores(1, 1.2), PARTS, measure="parameters", target=1100, round_to=8)) == {"b"}


def test_what_is_left_is_a_multiple_even_where_it_was_none() -> None:
    uneven = {"a": np.arange(1.0, 31.0)}
    chosen = choose(uneven, {"only": Part(300, 30, ("a",))}, measure="macs", target=299, round_to=8)
    assert len(chosen["a"]) == 6


def test_a_set_never_goes_below_a_block() -> None:
    chosen = choose(scores(1, 1), PARTS, measure="macs", target=0, round_to=8)
    assert {root: len(channels) for root, channels in chosen.items()} == {"a": 24, "b": 24}
