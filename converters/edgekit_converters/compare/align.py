"""Which activation of an artifact is which of the original's float artifact.

First by name: quantizers keep names and add to them. Where the names are of another tool, the layers with weights are
matched in the order they run by operator and shape of the weights, and from what is matched everything that the same
operator computes from matched inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from edgekit_converters.compare.trace import Activation, Trace

How = Literal["input", "name", "weights", "structure"]
# The same layer under the names of the float, the dynamic and the integer operators.
_SAME = {
    "QLinearConv": "Conv", "ConvInteger": "Conv", "QLinearMatMul": "MatMul", "MatMulInteger": "MatMul", "QGemm": "Gemm",
    "QLinearAdd": "Add", "QLinearMul": "Mul", "QLinearConcat": "Concat", "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool", "QLinearSigmoid": "Sigmoid", "QLinearLeakyRelu": "LeakyRelu",
}  # fmt: skip
_RECTIFIERS = ("Relu", "Clip", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
_FUSED = 2  # operators that a quantizer takes into the layer before them: bias and rectifier


@dataclass(frozen=True)
class Pair:
    """An activation in both files.

    Attributes:
        reference: In the float artifact.
        artifact: In the artifact that is compared.
        how: What they were recognized by.
    """

    reference: Activation
    artifact: Activation
    how: How


@dataclass(frozen=True)
class Alignment:
    """What could be aligned.

    Attributes:
        pairs: In the order of the reference.
        layers: Layers with weights in the reference.
        aligned: How many of them are aligned.
    """

    pairs: tuple[Pair, ...]
    layers: int
    aligned: int

    @property
    def ways(self) -> dict[str, int]:
        """How many activations were recognized by name, by weights or by structure; inputs left out."""
        return dict(Counter(pair.how for pair in self.pairs if pair.how != "input"))


def align(reference: Trace, artifact: Trace, edges: Sequence[tuple[str, str]]) -> Alignment:
    """Align the activations of two files of one format.

    Args:
        reference: The float artifact.
        artifact: The artifact to compare.
        edges: Input tensors of the two that take the same array.
    """
    matching = _Matching(reference.activations, artifact.activations)
    matching.inputs(reference, artifact, edges)
    matching.by_name()
    matching.by_weights()
    matching.by_structure()
    pairs = tuple(matching.pairs())
    layers = [place for place, activation in enumerate(reference.activations) if activation.weight]
    return Alignment(pairs, len(layers), sum(matching.is_covered(place) for place in layers))


class _Matching:
    def __init__(self, wanted: Sequence[Activation], given: Sequence[Activation]) -> None:
        self.wanted, self.given = wanted, given
        self.found: dict[int, tuple[int, How]] = {}
        self.taken: set[int] = set()
        self.next = [_sole_readers(side) for side in (wanted, given)]

    def _pair(self, left: int, right: int, how: How) -> None:
        if left not in self.found and right not in self.taken:
            self.found[left] = (right, how)
            self.taken.add(right)

    def inputs(self, reference: Trace, artifact: Trace, edges: Sequence[tuple[str, str]]) -> None:
        """Inputs by what they are fed; an artifact may take them in another order."""
        places = [{info.name: place for place, info in enumerate(side.inputs)} for side in (reference, artifact)]
        for left, right in edges:
            self._pair(places[0][left], places[1][right], "input")

    def by_name(self) -> None:
        """Equal names; the second of two equal ones goes with the second.

        An integer operator of ONNX Runtime (``QLinearConv``) keeps its name when a rectifier is fused into it.
        """
        known = {key: place for place, key in _numbered(self.given)}
        names = {item.name for item in self.given}
        for place, key in _numbered(self.wanted):
            if key not in known or not _alike(self.wanted[place], self.given[known[key]]):
                continue
            after = self._rectified(0, place)
            fused = self.given[known[key]].operator in _SAME and self.wanted[after].name not in names
            self._pair(after if fused else place, known[key], "name")

    def by_weights(self) -> None:
        """The longest common sequence of what is left of the layers with weights.

        Quantizers fuse a layer with the rectifier behind it, so layers meet behind their rectifiers.
        """
        left = [i for i, item in enumerate(self.wanted) if item.weight and not self.is_covered(i)]
        right = [i for i, item in enumerate(self.given) if item.weight and i not in self.taken]
        keys = [[_layer(side[i]) for i in rows] for side, rows in ((self.wanted, left), (self.given, right))]
        for block in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_matching_blocks():
            for step in range(block.size):
                ends = self._rectified(0, left[block.a + step]), self._rectified(1, right[block.b + step])
                self._pair(*ends, "weights")

    def _rectified(self, side: int, place: int) -> int:
        after = self.next[side].get(place)
        items = (self.wanted, self.given)[side]
        return place if after is None or items[after].operator not in _RECTIFIERS else after

    def is_covered(self, place: int) -> bool:
        """Whether a layer of the reference is aligned, itself or where its bias and rectifier end."""
        for _ in range(_FUSED):
            if place in self.found or place not in self.next[0]:
                break
            place = self.next[0][place]
        return place in self.found

    def by_structure(self) -> None:
        """What the same operator computes from matched sources."""
        computed = {
            (_operator(item), item.sources, item.weight): i
            for i, item in enumerate(self.given)
            if i not in self.taken and item.sources
        }
        names = {self.wanted[i].tensor: self.given[j].tensor for i, (j, _) in self.found.items()}
        for place, item in enumerate(self.wanted):
            if place in self.found or not all(source in names for source in item.sources):
                continue
            sources = tuple(names[source] for source in item.sources)
            match = computed.get((_operator(item), sources, item.weight))
            if match is not None and match not in self.taken:
                self._pair(place, match, "structure")
                names[item.tensor] = self.given[match].tensor

    def pairs(self) -> Iterator[Pair]:
        for place in sorted(self.found):
            match, how = self.found[place]
            yield Pair(self.wanted[place], self.given[match], how)


def _numbered(items: Sequence[Activation]) -> Iterator[tuple[int, tuple[str, int]]]:
    seen: Counter[str] = Counter()
    for place, item in enumerate(items):
        yield place, (item.name, seen[item.name])
        seen[item.name] += 1


def _sole_readers(items: Sequence[Activation]) -> dict[int, int]:
    """Place of an activation -> place of the only one that is computed from it."""
    places = {item.tensor: place for place, item in enumerate(items)}
    readers: dict[int, list[int]] = {}
    for place, item in enumerate(items):
        for source in item.sources:
            if source in places:
                readers.setdefault(places[source], []).append(place)
    return {place: found[0] for place, found in readers.items() if len(found) == 1}


def _alike(wanted: Activation, given: Activation) -> bool:
    """A name alone may deceive (``Identity``): weights of another shape are another layer."""
    return wanted.weight is None or given.weight is None or sorted(wanted.weight) == sorted(given.weight)


def _operator(item: Activation) -> str:
    return _SAME.get(item.operator, item.operator)


def _layer(item: Activation) -> tuple[str, tuple[int, ...]]:
    return _operator(item), item.weight or ()
