"""What is remembered of a removal, and what layers cost, whatever the framework."""

from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.channels import ChannelSet, Cost, Use, losing, note_kept, parts_of
from edgekit_converters.compress.choice import choose

FOUR = (0, 1, 2, 3)
LEFT = ChannelSet("left", 4, (Use("left", False, FOUR, FOUR), Use("join", True, FOUR, FOUR)))
RIGHT = ChannelSet("right", 3, (Use("right", False, (0, 1, 2), (0, 1, 2)), Use("join", True, (4, 5, 6), (0, 1, 2))))
"""Two branches, one after the other in a concatenation that a layer reads."""


@pytest.mark.parametrize("sets", [(LEFT, RIGHT), (RIGHT, LEFT)], ids=["in order", "in the other order"])
def test_what_is_left_of_a_concatenation_is_remembered_by_its_own_places(sets: tuple[ChannelSet, ...]) -> None:
    kept: dict[str, Any] = {"left": np.arange(4), "right": np.arange(3)}
    read: dict[str, Any] = {"join": np.arange(7)}
    note_kept(sets, {"left": [0, 1], "right": [1]}, kept=kept, read=read)
    assert kept["left"].tolist() == [2, 3]
    assert kept["right"].tolist() == [0, 2]
    assert read["join"].tolist() == [2, 3, 4, 6]


def test_a_second_removal_counts_in_the_originals_places() -> None:
    kept: dict[str, Any] = {"left": np.array([0, 3]), "right": np.arange(3)}
    read: dict[str, Any] = {"join": np.array([0, 3, 4, 5, 6])}
    smaller = ChannelSet("left", 2, (Use("left", False, (0, 1), (0, 1)), Use("join", True, (0, 1), (0, 1))))
    note_kept([smaller], {"left": [1]}, kept=kept, read=read)
    assert kept["left"].tolist() == [0]
    assert read["join"].tolist() == [0, 4, 5, 6]


def test_a_layer_that_reads_other_channels_of_a_set_loses_nothing() -> None:
    parts = Use("first", True, (0, 1), (0, 1)), Use("second", True, (0, 1), (2, 3))
    item = ChannelSet("whole", 4, (Use("whole", False, FOUR, FOUR), *parts))
    assert losing([item], {"whole": [3]}) == {"second"}
    assert losing([item], {"whole": [0, 2]}) == {"first", "second"}
    assert losing([item], {}) == set()


def test_a_layer_that_reads_and_makes_a_set_costs_by_its_square() -> None:
    places = tuple(range(8))
    uses = tuple(
        Use(layer, reads, places, places) for layer, reads in (("first", False), ("again", False), ("again", True))
    )
    twice = ChannelSet("first", 8, uses)
    parts = parts_of({"again": Cost(6400, 64, 8, 8)}, [twice])
    chosen = choose({"first": np.arange(8.0)}, parts, measure="macs", target=1600, round_to=1)
    assert chosen == {"first": [0, 1, 2, 3]}  # half of the channels are a quarter of the cost
