"""Rounded activations: readers read the 8-bit grid, the graph itself stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.tflite_graph import TFLiteGraph, packed
from tests.converters.quantize.networks import FORMATS, Net, OnnxNet, TFLiteNet

SPAN = Range(-0.7, 1.3)


class Doubled:
    """A network that gives twice one of its activations: what its reader read can be read off.

    Attributes:
        inner: The activation.
        doubled: The output.
    """

    def __init__(self, kind: type[Net], folder: Path) -> None:
        self.net = kind(0)
        self.inner = self.net.conv("picture", 8)
        self.doubled = self.net.add(self.inner, self.inner)
        self.graph: FloatGraph = self.net.save(folder / f"doubled.{kind.suffix}", self.doubled)
        self.sample = self.net.pictures(1)[0]

    def watch(self, *names: str) -> list[Array]:
        """Activations on the sample."""
        return list(self.graph.watch(self.sample, names).values())


@pytest.fixture(params=FORMATS, ids=lambda kind: kind.suffix)
def twice(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Doubled]:
    """The network in each format."""
    made = Doubled(request.param, tmp_path)
    yield made
    made.graph.close()


def on_grid(values: Array, span: Range) -> NDArray[np.float32]:
    """Values on the 8-bit grid of a range, by numpy."""
    step, zero = span.grid()
    stored = np.clip(np.rint(values / np.float32(step)) + zero, 0, 255)
    found: NDArray[np.float32] = ((stored - zero) * np.float32(step)).astype(np.float32)
    return found


def stored_bytes(graph: FloatGraph) -> bytes:
    """The model as it would be written."""
    if isinstance(graph, TFLiteGraph):
        return packed(graph.model)
    assert isinstance(graph, OnnxGraph)
    found: bytes = graph.model.SerializeToString(deterministic=True)
    return found


def test_readers_read_rounded_values_and_the_watched_ones_are_those_before(twice: Doubled) -> None:
    (plain,) = twice.watch(twice.inner)
    twice.graph.simulate({twice.inner: SPAN})
    inner, doubled = twice.watch(twice.inner, twice.doubled)
    np.testing.assert_allclose(inner, plain, rtol=1e-5, atol=1e-6)
    assert (plain > SPAN.high).any()
    assert (plain < SPAN.low).any()
    np.testing.assert_allclose(doubled, 2 * on_grid(inner, SPAN), rtol=0, atol=1e-5)


def test_the_input_can_be_rounded(twice: Doubled) -> None:
    (before,) = twice.watch(twice.inner)
    twice.graph.simulate({"picture": SPAN})
    (rounded,) = twice.watch(twice.inner)
    twice.graph.simulate({})
    name = twice.graph.inputs[0].name
    want = twice.graph.watch({name: on_grid(twice.sample[name], SPAN)}, [twice.inner])[twice.inner]
    np.testing.assert_allclose(rounded, want, rtol=0, atol=1e-5)
    assert not np.allclose(rounded, before, atol=1e-3)


def test_several_activations_are_rounded_at_once(twice: Doubled) -> None:
    twice.graph.simulate({"picture": SPAN, twice.inner: SPAN})
    inner, doubled = twice.watch(twice.inner, twice.doubled)
    np.testing.assert_allclose(doubled, 2 * on_grid(inner, SPAN), rtol=0, atol=1e-5)


def test_an_empty_mapping_ends_it(twice: Doubled) -> None:
    before = twice.watch(twice.inner, twice.doubled)
    twice.graph.simulate({twice.inner: SPAN})
    assert not np.array_equal(before[1], twice.watch(twice.doubled)[0])
    twice.graph.simulate({})
    for want, got in zip(before, twice.watch(twice.inner, twice.doubled), strict=True):
        np.testing.assert_array_equal(want, got)


def test_another_simulation_replaces_the_one_before(twice: Doubled) -> None:
    twice.graph.simulate({"picture": SPAN})
    twice.watch(twice.doubled)
    twice.graph.simulate({twice.inner: Range(0.0, 0.5)})
    inner, doubled = twice.watch(twice.inner, twice.doubled)
    np.testing.assert_allclose(doubled, 2 * on_grid(inner, Range(0.0, 0.5)), rtol=0, atol=1e-5)
    twice.graph.simulate({})
    np.testing.assert_allclose(twice.watch(twice.inner)[0], inner, rtol=1e-5, atol=1e-6)


def test_the_graph_is_the_same_during_and_after(twice: Doubled) -> None:
    def seen() -> tuple[object, ...]:
        return twice.graph.nodes, twice.graph.activations, twice.graph.layers, twice.graph.outputs

    before, things = stored_bytes(twice.graph), seen()
    twice.graph.simulate({"picture": SPAN, twice.inner: SPAN})
    twice.watch(twice.doubled)
    assert (stored_bytes(twice.graph), seen()) == (before, things)
    twice.graph.simulate({})
    twice.watch(twice.doubled)
    assert (stored_bytes(twice.graph), seen()) == (before, things)


def test_weights_replaced_under_a_simulation_are_used(twice: Doubled) -> None:
    twice.graph.simulate({twice.inner: SPAN})
    twice.watch(twice.doubled)
    (layer,) = twice.graph.layers
    twice.graph.replace_weights({layer.weight: twice.graph.weight(layer.weight) * 0})
    inner, doubled = twice.watch(twice.inner, twice.doubled)
    assert (inner == inner[..., :1, :1] if isinstance(twice.graph, OnnxGraph) else inner == inner[:, :1, :1]).all()
    np.testing.assert_allclose(doubled, 2 * on_grid(inner, SPAN), rtol=0, atol=1e-5)


def test_both_formats_round_alike(tmp_path: Path) -> None:
    found = []
    for kind in (TFLiteNet, OnnxNet):
        made = Doubled(kind, tmp_path)
        made.graph.simulate({made.inner: SPAN})
        (doubled,) = made.watch(made.doubled)
        found.append(doubled if kind is TFLiteNet else doubled.transpose(0, 2, 3, 1))
        made.graph.close()
    step, _ = SPAN.grid()
    gaps = np.abs(found[0] - found[1])
    # A value half way between two steps may fall to either side.
    assert gaps.max() < 2.01 * step
    assert (gaps > 1e-5).mean() < 0.01
