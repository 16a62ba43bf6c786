"""What rounding moves the mean answer by is taken up by the last biases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgekit.engine import Array
from edgekit_converters.quantize.final_bias import correct_results, final_layers, mean_results
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.policy import NOTHING_IN_FLOAT, place
from edgekit_converters.quantize.quantizer import quantize
from edgekit_converters.quantize.ranges import Range
from edgekit_converters.quantize.recipes import RECIPES
from tests.converters.quantize.networks import FORMATS, Net


class Classifier:
    """Convolution, mean over the picture, a dense layer with biases.

    Attributes:
        graph: Opened.
        inner: What the dense layer reads.
        scores: What it gives.
    """

    def __init__(self, kind: type[Net], folder: Path) -> None:
        self.net = kind(0)
        self.inner = self.net.mean(self.net.conv("picture", 8, activation="relu"))
        weights = [self.net.constant(self.net.uneven(5, 8)), self.net.constant(self.net.uneven(5))]
        self.scores = self.net.dense(self.inner, 5, weights=weights)
        self.path = folder / f"classifier.{kind.suffix}"
        self.graph: FloatGraph = self.net.save(self.path, self.scores)
        self.samples = self.net.pictures(200)

    def error(self, ranges: dict[str, Range], wanted: list[Array]) -> tuple[float, float]:
        """Distance of the mean scores, and mean distance of the scores, on other pictures."""
        self.graph.simulate(ranges)
        got = self.answers()
        self.graph.simulate({})
        moved = np.subtract(got, wanted)
        return float(np.linalg.norm(moved.mean(0))), float(np.linalg.norm(moved, axis=-1).mean())

    def answers(self) -> list[Array]:
        """Scores of other pictures."""
        return [self.graph.watch(x, [self.scores])[self.scores] for x in self.net.pictures(60, seed=7)]


@pytest.fixture(params=FORMATS, ids=lambda kind: kind.suffix)
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Classifier]:
    """The network in each format."""
    made = Classifier(request.param, tmp_path)
    with closing(made.graph):
        yield made


def test_the_last_dense_layer_is_found(classifier: Classifier) -> None:
    graph = classifier.graph
    assert [layer.output for layer in final_layers(graph, place(graph, "float"))] == [classifier.scores]
    assert final_layers(graph, NOTHING_IN_FLOAT) == []


def test_clipping_that_moves_the_mean_is_made_up_for(classifier: Classifier) -> None:
    graph = classifier.graph
    high = max(float(graph.watch(x, [classifier.inner])[classifier.inner].max()) for x in classifier.samples)
    ranges = {classifier.inner: Range(0.0, 0.4 * high)}
    layers, want = final_layers(graph, place(graph, "float")), classifier.answers()
    before = classifier.error(ranges, want)
    means, count = mean_results(graph, classifier.samples, layers)
    assert count == 200
    correct_results(graph, classifier.samples, ranges, layers, means)
    after = classifier.error(ranges, want)
    assert after[0] < 0.3 * before[0]
    assert after[1] < 0.8 * before[1]


def test_few_samples_move_less(classifier: Classifier) -> None:
    graph = classifier.graph
    layers = final_layers(graph, place(graph, "float"))
    (bias,) = [layer.bias for layer in layers if layer.bias]
    start, ranges = graph.weight(bias), {classifier.inner: Range(0.0, 0.05)}
    moved = []
    for some in (classifier.samples[:1] * 2, classifier.samples[:1] * 90):
        means, _ = mean_results(graph, some, layers)
        correct_results(graph, some, ranges, layers, means)
        moved.append(float(np.abs(graph.weight(bias) - start).max()))
        graph.replace_weights({bias: start})
    assert moved[1] == pytest.approx(moved[0] * (90 / 100) / (2 / 12), rel=1e-3)


def test_int8_corrects_them(classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corrected = []

    def noted(*arguments: object) -> None:
        corrected.append(arguments)

    monkeypatch.setattr("edgekit_converters.quantize.quantizer.correct_results", noted)
    counts = []
    for recipe, accept in (("dynamic-int8", None), ("int8-int16", None), ("int8", None), ("mixed", lambda _: True)):
        out = tmp_path / f"out{classifier.path.suffix}"
        quantize(classifier.path, out, RECIPES[recipe], classifier.samples[:20], accept=accept)
        counts.append(len(corrected))
    assert counts == [0, 0, 1, 2]
