"""What is begun, what waits, and what becomes of artifacts that cannot be made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError, EnvironmentFault, ModelRefused, UsageError
from edgekit.parity import OutputParity, Parity
from edgekit_converters.input_size import Size
from edgekit_converters.plan.agenda import Agenda, Outcome, Work
from edgekit_converters.plan.stock import Stock
from edgekit_converters.plan.variants import Piece
from edgekit_converters.request import Request

ALL = ("fp32", "int8", "dynamic-int8", "fp16", "mixed", "int8-int16")
BUNDLE = cast("Bundle", object())
GOOD = Parity(1, (OutputParity("scores", 0.0, 1.0, 0.0),))
BAD = Parity(1, (OutputParity("scores", 2.0, -1.0, 9.0),))


class Empty:
    """A stock that has nothing."""

    def __init__(self) -> None:
        self.parities: dict[Size, Parity] = {}

    def finished(self, piece: Piece) -> None:
        return None

    def parity_at(self, size: Size) -> Parity | None:
        return self.parities.get(size)

    def keep_parity(self, size: Size, parity: Parity) -> None:
        self.parities[size] = parity


@dataclass
class Shop:
    """Finishes what it was given last first, so that nothing can rely on the order."""

    answers: dict[Work, Outcome] = field(default_factory=dict)
    own: Size | None = None
    last_first: bool = True
    at_once: list[set[Work]] = field(default_factory=list)
    taken: list[Work] = field(default_factory=list)

    def start(self, work: Work) -> None:
        self.taken.append(work)

    def next(self) -> Outcome:
        self.at_once.append(set(self.taken))
        work = self.taken.pop(-1 if self.last_first else 0)
        if work in self.answers:
            return self.answers[work]
        return Outcome(work, BUNDLE, own=self.own) if isinstance(work, Piece) else Outcome(work, parity=GOOD)


@dataclass
class Planned:
    """Who is told."""

    useless: dict[str, str] = field(default_factory=dict)
    made_: list[Piece] = field(default_factory=list)
    left: dict[Piece, str] = field(default_factory=dict)

    def unpromising(self, piece: Piece) -> str | None:
        return self.useless.get(piece.recipe)

    def made(self, piece: Piece, bundle: Bundle) -> None:
        self.made_.append(piece)

    def left_out(self, piece: Piece, reason: str, error: EdgeKitError | None = None) -> None:
        self.left[piece] = reason


def run(
    shop: Shop, planned: Planned, *, recipes: tuple[str, ...] = ALL, sized: bool = False, sizes: tuple[Size, ...] = ()
) -> Planned:
    request = Request("net.onnx", Path("plan"), targets=("onnx",), recipes=recipes)
    agenda = Agenda(request, sizes, vary=False, sized=sized, stock=cast("Stock", Empty()), shop=shop, planned=planned)
    agenda.run()
    return planned


def recipes(works: set[Work]) -> set[str]:
    return {work.recipe for work in works if isinstance(work, Piece)}


def test_only_what_int8_may_spare_waits_for_it() -> None:
    shop = Shop()
    planned = run(shop, Planned())
    assert recipes(shop.at_once[0]) == {"fp32", "int8", "dynamic-int8", "fp16"}
    assert {piece.recipe for piece in planned.made_} == set(ALL)


def test_with_a_size_in_the_budget_all_wait_for_the_float_artifact() -> None:
    shop = Shop()
    planned = run(shop, Planned({"fp16": "not made: too large"}), sized=True)
    assert recipes(shop.at_once[0]) == {"fp32"}
    assert recipes(shop.at_once[1]) == {"int8", "dynamic-int8"}
    assert planned.left == {Piece("onnx", "fp16"): "not made: too large"}


def test_an_artifact_that_cannot_be_made_is_left_out_and_the_others_are_made() -> None:
    int8 = Piece("onnx", "int8")
    shop = Shop({int8: Outcome(int8, error=ModelRefused("its process died, or its node was lost, 3 times"))})
    planned = run(shop, Planned())
    assert planned.left == {int8: "not made: its process died, or its node was lost, 3 times"}
    assert {piece.recipe for piece in planned.made_} == set(ALL) - {"int8"}


def test_a_model_that_killed_its_process_says_nothing_of_its_input_size() -> None:
    fp32, int8 = Piece("onnx", "fp32"), Piece("onnx", "int8")
    died = Outcome(fp32, error=ModelRefused("onnx-fp32: its process died"), lost=True)
    shop = Shop({fp32: died, int8: Outcome(int8, BUNDLE, own=(32, 32))}, last_first=False)
    planned = run(shop, Planned(), recipes=("fp32", "int8"), sizes=((24, 24),))
    assert planned.left == {fp32: "not made: onnx-fp32: its process died"}
    assert planned.made_ == [int8, replace(fp32, resolution=(24, 24)), replace(int8, resolution=(24, 24))]


def test_a_smaller_input_waits_for_the_next_larger_one_and_is_not_tried_when_that_loses_too_much() -> None:
    shop = Shop({(24, 24): Outcome((24, 24), parity=BAD)}, own=(32, 32))
    planned = run(shop, Planned(), recipes=("fp32",), sizes=((16, 16), (24, 24), (28, 28)))
    assert not any({(28, 28), (24, 24)} <= works for works in shop.at_once)
    assert planned.made_ == [Piece("onnx", "fp32"), Piece("onnx", "fp32", (28, 28))]
    reasons = [planned.left[Piece("onnx", "fp32", size)] for size in ((24, 24), (16, 16))]
    assert reasons[0].startswith("not made: the smaller input alone loses too much: ")
    assert reasons[1] == "not tried: 24x24 loses too much already"


def test_a_network_tied_to_its_size_is_left_out_and_a_lost_disk_ends_the_plan() -> None:
    size = (24, 24)
    tied = Outcome(size, error=ModelRefused("not made: the model takes no 24x24 photos"))
    planned = run(Shop({size: tied}, own=(32, 32)), Planned(), recipes=("fp32",), sizes=(size,))
    assert planned.left == {Piece("onnx", "fp32", size): "not made: the model takes no 24x24 photos"}
    lost = replace(tied, error=EnvironmentFault("the disk is full"))
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        run(Shop({size: lost}, own=(32, 32)), Planned(), recipes=("fp32",), sizes=(size,))


def test_a_size_is_refused_for_what_takes_no_photos() -> None:
    with pytest.raises(UsageError, match="--resolution for this model; expected a classifier of photos"):
        run(Shop(own=None), Planned(), recipes=("fp32",), sizes=((24, 24),))
