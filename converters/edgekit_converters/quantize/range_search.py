"""Choice of activation ranges by what they do to the model's answers.

How far the outliers of an activation may be clipped cannot be told from the activation: in MobileNetV2 clipping
to the mean of the samples' extremes halves the error of the answers that the 99.99th percentile gives, in
EfficientNet-Lite0 it makes it worse. So the model is run with rounded activations on a few calibration samples,
under each rule, and the rule is kept that moves the answers least: first one for all activations, then, part by
part of the network, whichever is better there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit_converters.quantize.calibration import Samples
from edgekit_converters.quantize.chosen import chosen_samples
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.ranges import MASKED, Range, RangeObserver

# Mean of the samples' extremes and this many standard deviations more; part of the values that is cut off.
DEVIATIONS = (-0.5, 0.0, 0.5, 1.0, 2.0)
TAILS = (1e-5, 1e-4, 3e-4)
JUDGED = 16
"""Samples that ranges are judged by."""
_PARTS = 8
# A part keeps its ranges unless others are clearly better: by one part in a hundred.
_GAIN = 0.99
# An output that is all but zero on a sample is measured against this part of its largest norm.
_LEAST = 0.01


@dataclass(frozen=True)
class Found:
    """Result of a search.

    Attributes:
        ranges: Range of every activation that was searched.
        rule: The rule that was best for all activations together.
        error: Mean relative L2 error of the outputs, activations rounded and weights in float.
    """

    ranges: Mapping[str, Range]
    rule: str
    error: float


def search_ranges(
    graph: FloatGraph,
    samples: Samples,
    observer: RangeObserver,
    names: Sequence[str],
    fixed: Mapping[str, Range],
    *,
    parts: int = _PARTS,
    final: RangeObserver | None = None,
) -> Found:
    """Choose ranges by the error of the outputs.

    Ranges that end where the values of the very samples end by which they are judged look better than they are
    (MobileNetV2: 0.064 on those, 0.083 on others), so the observer should not have seen them.

    Args:
        graph: The float graph.
        samples: Calibration data; 16 of them are used, the same ones in any order.
        observer: Statistics of the activations.
        names: Activations to choose ranges for, in the order they are computed.
        fixed: Ranges of other activations, which stay.
        parts: Consecutive parts of the network that get a rule of their own; 1 gives all the same.
        final: Statistics that the rules found are applied to in the end, those of all samples; by default the
            observer.
    """
    families = dict(candidates(observer, names))
    judge = Judge(graph, chosen_samples(samples, JUDGED), fixed)
    errors = {rule: judge.error(ranges) for rule, ranges in families.items()}
    rule = min(errors, key=lambda name: errors[name])
    best, least, rules = dict(families[rule]), errors[rule], dict.fromkeys(names, rule)
    ranked = sorted(errors, key=lambda name: errors[name])
    for part in _split(names, parts) if parts > 1 else ():
        for other in ranked[1:3]:
            tried = {**best, **{name: families[other][name] for name in part}}
            error = judge.error(tried)
            if error < _GAIN * least:
                best, least = tried, error
                rules.update(dict.fromkeys(part, other))
    graph.simulate({})
    if final is not None:
        families = dict(candidates(final, names))
        best = {name: families[chosen][name] for name, chosen in rules.items()}
    return Found(best, rule, least)


def candidates(observer: RangeObserver, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Range]]]:
    """Rules and the ranges they give."""
    tensors = {name: observer.tensors[name] for name in names}
    for count in DEVIATIONS:
        yield f"mean extremes {count:+g} sd", {name: found.typical(count) for name, found in tensors.items()}
    for tail in TAILS:
        yield f"middle {100 * (1 - tail):g} %", {name: found.quantile(tail) for name, found in tensors.items()}
    yield "all values", {name: found.range("minmax") for name, found in tensors.items()}
    yield "least squares", {name: found.range("mse") for name, found in tensors.items()}


def _split(names: Sequence[str], parts: int) -> Iterator[Sequence[str]]:
    size = max(-(-len(names) // parts), 1)
    for start in range(0, len(names), size):
        yield names[start : start + size]


class Judge:
    """Runs the graph with rounded activations and compares its outputs with those in float."""

    def __init__(self, graph: FloatGraph, samples: Sequence[Feeds], fixed: Mapping[str, Range]) -> None:
        self._graph, self._samples, self._fixed = graph, samples, fixed
        graph.simulate({})
        # A model that answers with whole numbers (argmax) is judged by the last float it computes.
        floats = [name for name in graph.outputs if name in graph.activations]
        self._watched = floats or list(graph.activations[-1:])
        self._wanted = [self._outputs(sample) for sample in samples]
        norms = [[_distance(want) for want in wanted] for wanted in self._wanted]
        self._least = np.maximum(_LEAST * np.max(norms, axis=0), 1e-30) if norms else []

    def _outputs(self, sample: Feeds) -> list[Array]:
        return list(self._graph.watch(sample, self._watched).values())

    def error(self, ranges: Mapping[str, Range]) -> float:
        """Mean over the samples of the relative L2 error: one sample that goes wrong does not decide."""
        self._graph.simulate({**self._fixed, **ranges})
        found = []
        for sample, wanted in zip(self._samples, self._wanted, strict=True):
            got = self._outputs(sample)
            for want, have, least in zip(wanted, got, self._least, strict=True):
                found.append(_distance(want, have) / max(_distance(want), least))
        return float(np.mean(found)) if found else 0.0


def _distance(want: Array, got: Array | None = None) -> float:
    """L2 distance from what is wanted, of zero by default; masked values (-inf, float32's lowest) are left out."""
    kept = np.isfinite(want) & (np.abs(want) < MASKED)
    wanted = np.where(kept, want, 0).astype(np.float64)
    if got is None or got.shape != want.shape:  # another number of detections: all of them are missed
        return float(np.linalg.norm(wanted))
    return float(np.linalg.norm(np.where(kept, got, 0) - wanted))
