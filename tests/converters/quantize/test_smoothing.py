"""Smoothing: weights take over what a few channels have too much, and the answers stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgekit.engine import Array
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.smoothing import smooth, smoothing_factors
from tests.converters.quantize.networks import FORMATS, Net

RANDOM = np.random.default_rng(0)


class Loud:
    """Two dense layers that read one activation, of whose channels two are a hundred times as loud as the others.

    Attributes:
        loud: The activation.
        outputs: What the layers give.
    """

    def __init__(self, kind: type[Net], folder: Path, *, shared: bool = False) -> None:
        self.net = kind(0)
        flat = self.net.flatten("picture")
        weights = np.random.default_rng(0).normal(size=(32, 192)).astype(np.float32)
        weights[[3, 17]] *= 100
        self.loud = self.net.dense(flat, 32, weights=[self.net.constant(weights)])
        self.outputs = [self.net.dense(self.loud, 8), self.net.dense(self.loud, 24)]
        if shared:
            self.outputs.append(self.net.dense(self.loud, 24, weights=[list(self.net.constants)[-1]]))
        self.graph: FloatGraph = self.net.save(folder / f"loud.{kind.suffix}", *self.outputs)
        self.samples = self.net.pictures(8)

    def answers(self) -> list[Array]:
        """Outputs on all samples."""
        return [np.concatenate(list(self.graph.watch(x, self.outputs).values()), axis=1) for x in self.samples]

    def error_of_rounding(self, name: str) -> float:
        """Relative L2 of the answers with one activation on 8 bits."""
        want = self.answers()
        values = [self.graph.watch(sample, [name])[name] for sample in self.samples]
        self.graph.simulate({name: Range(float(np.min(values)), float(np.max(values)))})
        got = self.answers()
        self.graph.simulate({})
        return float(np.linalg.norm(np.subtract(got, want)) / np.linalg.norm(want))


@pytest.fixture(params=FORMATS, ids=lambda kind: kind.suffix)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Loud]:
    """The network in each format."""
    made = Loud(request.param, tmp_path)
    with closing(made.graph):
        yield made


def test_answers_stay_and_rounding_costs_less(network: Loud) -> None:
    before, names = network.answers(), set(network.graph.activations)
    cost = network.error_of_rounding(network.loud)
    assert smooth(network.graph, network.samples) >= 1
    np.testing.assert_allclose(network.answers(), before, rtol=1e-3, atol=1e-3)
    (divided,) = {layer.input for layer in network.graph.layers if layer.input.startswith(f"{network.loud}_smooth")}
    assert names < set(network.graph.activations)
    readers = [layer for layer in network.graph.layers if layer.input == divided]
    assert len(readers) == 2
    assert network.error_of_rounding(divided) < 0.5 * cost


def test_the_order_of_the_samples_does_not_matter(network: Loud, tmp_path: Path) -> None:
    other = Loud(type(network.net), tmp_path.parent)
    with closing(other.graph):
        smooth(network.graph, network.samples)
        smooth(other.graph, network.samples[::-1])
        for one, two in zip(network.graph.layers, other.graph.layers, strict=True):
            assert one == two
            np.testing.assert_array_equal(network.graph.weight(one.weight), other.graph.weight(two.weight))


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_weights_that_other_layers_use_too_are_left_alone(kind: type[Net], tmp_path: Path) -> None:
    made = Loud(kind, tmp_path, shared=True)
    with closing(made.graph):
        layers = [layer for layer in made.graph.layers if layer.input == made.loud]
        assert len(layers) == 3
        smooth(made.graph, made.samples)
        assert [layer for layer in made.graph.layers if layer.input == made.loud] == layers


def test_even_channels_are_left_alone() -> None:
    rows = RANDOM.normal(size=(256, 64)).astype(np.float32)
    assert smoothing_factors(rows, [RANDOM.normal(size=(32, 64)).astype(np.float32)]) is None


def test_loud_channels_get_large_factors() -> None:
    rows = RANDOM.normal(size=(256, 64)).astype(np.float32)
    rows[:, [5, 40]] *= 60
    weights = [RANDOM.normal(size=(16, 64)).astype(np.float32) for _ in range(2)]
    factors = smoothing_factors(rows, weights)
    assert factors is not None
    assert set(np.argsort(factors)[-2:]) == {5, 40}
    assert factors[[5, 40]].min() > 3 * np.median(factors)


def test_a_silent_activation_is_left_alone() -> None:
    weights = RANDOM.normal(size=(8, 16)).astype(np.float32)
    assert smoothing_factors(np.zeros((4, 16), np.float32), [weights]) is None
