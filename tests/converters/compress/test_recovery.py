"""Learning: the rate that is found, the weights that are kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgekit_converters.compress.network import Network
from edgekit_converters.compress.recovery import Recovery, recover
from edgekit_converters.compress.request import CompressRequest
from edgekit_converters.compress.setting import Setting
from edgekit_converters.progress import Silent, Stages
from tests.converters.compress.conftest import request


class Valley:
    """A network of one weight, which learns towards 0; the samples kept aside want it elsewhere.

    Attributes:
        rates: That were learned at, in order.
    """

    def __init__(self, steepness: float, *, floor: float = 0.1, interrupt: int | None = None) -> None:
        self.weight, self.steepness, self.floor, self.interrupt = 1.0, steepness, floor, interrupt
        self.rates: list[float] = []

    def distance(self, _: object) -> float:
        return (self.weight - self.floor) ** 2

    def snapshot(self) -> float:
        return self.weight

    def restore(self, weight: float) -> None:
        self.weight = weight

    def between(self, start: float, end: float, share: float) -> float:
        return start + share * (end - start)

    def learn(self, _: object, progress: Any, *, rate: float, seed: int) -> Iterator[float]:
        self.rates.append(rate)
        step = 0
        while True:
            step += 1
            self.weight -= rate * self.steepness * self.weight
            if step == self.interrupt:
                raise KeyboardInterrupt
            yield self.weight
            if progress(step) >= 1:
                return


def recovered(network: Valley, **changed: Any) -> Recovery:
    asked: CompressRequest = replace(request(Path("photos"), Path("small.pt2"), steps=40), **changed)
    setting = cast(Setting, SimpleNamespace(learned=None, watched=None))
    return recover(cast(Network, network), setting, asked, 1.0, stages=Stages(Silent()), which="1 of 1")


def test_the_largest_rate_that_stays_in_the_valley_is_found() -> None:
    network = Valley(steepness=3e3, floor=0.0)  # at 1e-3 every step lands twice as far on the other side
    found = recovered(network)
    assert found.rate == 3e-4
    assert network.rates == [1e-3, 3e-4, 1e-4, 3e-4]
    assert found.steps == 40
    assert not found.interrupted


def test_a_rate_that_was_said_is_taken_without_a_trial() -> None:
    network = Valley(steepness=10.0)
    assert recovered(network, rate=0.05).rate == 0.05
    assert network.rates == [0.05]


def test_the_trials_of_a_rate_keep_to_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: with --minutes 1 the trials alone took several minutes of a slow network."""
    network = Valley(steepness=-1e6)  # nothing helps: every rate is tried
    seconds = [0.0]

    monkeypatch.setattr("edgekit_converters.compress.recovery.time.monotonic", lambda: seconds[0])
    real = network.learn

    def learn(*arguments: Any, **options: Any) -> Iterator[float]:
        for loss in real(*arguments, **options):
            seconds[0] += 1.0
            yield loss

    monkeypatch.setattr(network, "learn", learn)
    found = recovered(network, minutes=1.0, steps=1000)
    assert len(network.rates) == 7
    assert 25 <= found.steps <= 35  # a second each, half of the minute
    assert seconds[0] <= 62


def test_weights_on_the_way_back_are_kept_where_the_end_is_too_far() -> None:
    network = Valley(steepness=1.0)
    found = recovered(network, rate=0.99, steps=1)  # from 1 to 0.01; three quarters of the way is 0.26
    assert found.distance == pytest.approx(0.09**2)
    network = Valley(steepness=1.0)
    found = recovered(network, rate=1.2, steps=1)  # from 1 to -0.2; three quarters of the way is 0.1
    assert found.distance == pytest.approx(0.0, abs=1e-12)
    assert network.weight == pytest.approx(0.1)


def test_where_nothing_helps_the_weights_stay() -> None:
    network = Valley(steepness=-1e6)
    found = recovered(network)
    assert network.weight == 1.0
    assert found.distance == pytest.approx(0.81)
    assert len(network.rates) == 7  # all six, and the learning itself at the one that hurt least
    assert found.rate == 3e-6


def test_an_interrupt_of_the_trials_keeps_the_best_of_them() -> None:
    network = Valley(steepness=3e2, interrupt=5)
    found = recovered(network)
    assert found.interrupted
    assert (found.steps, found.rate) == (0, None)
    assert network.weight == 1.0
