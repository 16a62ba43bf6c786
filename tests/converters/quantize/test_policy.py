"""What stays in float."""

from collections.abc import Collection, Mapping

import pytest

from edgekit.engine import Array, Feeds
from edgekit_converters.quantize.graph import FloatGraph, Flow, Layer, Node
from edgekit_converters.quantize.policy import NOTHING_IN_FLOAT, place, shared_grids, uneven_concatenations
from edgekit_converters.quantize.ranges import Range


class Sketch(FloatGraph):
    """A graph of nodes alone: ``(operator, inputs, output)``; a node is named after its output."""

    def __init__(self, *nodes: tuple[str, str, str]) -> None:
        self.nodes = tuple(Node(out, operator, tuple(inputs.split()), (out,)) for operator, inputs, out in nodes)
        weighted = [node for node in self.nodes if any(name.startswith("w") for name in node.inputs)]
        self.layers = tuple(Layer(n.name, n.inputs[0], n.inputs[1], None, n.name, 0) for n in weighted)
        self.outputs = (self.nodes[-1].name,)

    def watch(self, feeds: Feeds, names: Collection[str]) -> dict[str, Array]:
        raise NotImplementedError

    def flow(self, node: Node) -> Flow | None:
        raise NotImplementedError

    def simulate(self, ranges: Mapping[str, Range]) -> None:
        raise NotImplementedError

    def weight(self, name: str) -> Array:
        raise NotImplementedError

    def replace_weights(self, weights: Mapping[str, Array]) -> None:
        raise NotImplementedError

    def divide_input(self, name: str, factors: Array, readers: Collection[str]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


CLASSIFIER = (("Conv", "x w1", "a"), ("Relu", "a", "b"), ("Gemm", "b w2", "c"), ("Softmax", "c", "d"))
DETECTOR = (
    ("CONV_2D", "x w1", "boxes"),
    ("CONV_2D", "x w2", "raw"),
    ("LOGISTIC", "raw", "scores"),
    ("CONCATENATION", "boxes scores", "out"),
)
TRANSFORMER = (
    ("MatMul", "x w1", "q"),
    ("MatMul", "q x", "s"),
    ("Softmax", "s", "p"),
    ("Mul", "p half", "m"),
    ("MatMul", "m x", "v"),
    ("LayerNormalization", "v gain", "n"),
    ("MatMul", "n w2", "h"),
    ("MatMul", "h w3", "o"),
)


def test_a_classifier_keeps_its_softmax_and_logits_in_float() -> None:
    placement = place(Sketch(*CLASSIFIER), "float")
    assert placement.float_nodes == {"d"}
    assert placement.last_layers == {"c"}
    assert any("Softmax" in note for note in placement.notes)


def test_integer_edges_leave_nothing_in_float() -> None:
    placement = place(Sketch(*CLASSIFIER), "int8")
    assert not placement.float_nodes
    assert not placement.last_layers


def test_a_detection_head_is_put_together_in_float() -> None:
    placement = place(Sketch(*DETECTOR), "float")
    assert placement.float_nodes == {"scores", "out"}
    assert not placement.last_layers


def test_operators_before_weights_are_not_the_tail() -> None:
    placement = place(Sketch(("Mul", "x s", "a"), ("Conv", "a w", "b"), ("Resize", "b", "c")), "float")
    assert not placement.float_nodes


@pytest.mark.parametrize("io", ["float", "int8"])
def test_a_transformer_runs_only_weights_in_integers(io: str) -> None:
    placement = place(Sketch(*TRANSFORMER), io)  # type: ignore[arg-type]
    assert placement.attention
    assert placement.float_nodes == {"s", "p", "m", "v", "n"}
    assert "a transformer" in placement.notes[0]


def test_a_softmax_at_the_end_is_not_attention() -> None:
    assert not place(Sketch(*CLASSIFIER), "float").attention


def recurrent(steps: int) -> Sketch:
    """A layer for the whole sequence, then a recurrent one written out, then the answer."""
    nodes = [("FULLY_CONNECTED", "x w1", "all")]
    state = "zero"
    for step in range(steps):
        nodes.append(("FULLY_CONNECTED", f"{state} w2", f"h{step}"))
        nodes.append(("ADD", f"all h{step}", f"g{step}"))
        nodes.append(("TANH", f"g{step}", f"s{step}"))
        state = f"s{step}"
    return Sketch(*nodes, ("FULLY_CONNECTED", f"{state} w3", "out"))


def test_a_recurrent_layer_keeps_its_state_in_float() -> None:
    placement = place(recurrent(5), "float")
    assert placement.float_nodes == {f"{kind}{step}" for kind in "gs" for step in range(5)}
    assert placement.last_layers == {"all", "out"}
    assert "recurrent" in placement.notes[0]
    assert len(placement.notes) == 1


def test_a_recurrent_layer_behind_integer_edges_computes_all_weights_in_integers() -> None:
    placement = place(recurrent(5), "int8")
    assert placement.float_nodes == {f"{kind}{step}" for kind in "gs" for step in range(5)}
    assert not placement.last_layers


def test_a_head_that_several_levels_share_is_not_recurrent() -> None:
    levels = [("FULLY_CONNECTED", f"level{number} w", f"out{number}") for number in range(6)]
    placement = place(Sketch(*levels, ("CONCATENATION", " ".join(out for *_, out in levels), "all")), "float")
    assert placement.float_nodes == {"all"}
    assert not any("recurrent" in note for note in placement.notes)


def test_boxes_and_scores_under_one_scale_are_warned_of() -> None:
    graph = Sketch(*DETECTOR)
    ranges = {"boxes": Range(0, 640), "scores": Range(0, 1)}
    notes = uneven_concatenations(graph, ranges, place(graph, "int8"))
    assert len(notes) == 1
    assert "640" in notes[0]
    assert not uneven_concatenations(graph, ranges, place(graph, "float"))
    even = {"boxes": Range(0, 2), "scores": Range(0, 1)}
    assert not uneven_concatenations(graph, even, place(graph, "int8"))


def test_what_is_reshaped_or_pooled_stays_on_its_grid() -> None:
    graph = Sketch(
        ("Conv", "x w1", "a"),
        ("MaxPool", "a", "b"),
        ("Flatten", "b", "c"),
        ("Gemm", "c w2", "d"),
        ("Reshape", "k", "e"),
    )
    graph.activations = ("x", "a", "b", "c", "d")
    assert shared_grids(graph, NOTHING_IN_FLOAT) == {"b": "a", "c": "a"}
