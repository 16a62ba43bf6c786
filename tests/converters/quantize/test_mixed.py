"""What each activation costs, and the recipe that leaves the costliest in float."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import UsageError
from edgekit_converters.quantize import RECIPES, check_artifact, quantize
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from edgekit_converters.quantize.policy import NOTHING_IN_FLOAT, with_float_results
from edgekit_converters.quantize.quantizer import calibrate
from edgekit_converters.quantize.ranges import Range, RangeObserver
from edgekit_converters.quantize.sensitivity import (
    Sensitivity,
    float_orders,
    multiplications,
    sensitivities,
    unbearable_results,
)
from edgekit_converters.quantize.tflite_graph import TFLiteGraph
from tests.converters.quantize.networks import FORMATS, Net

Answers = Callable[[Path], NDArray[np.float32]]
Pictures = Callable[..., Any]


def relative_l2(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def opened(path: Path) -> TFLiteGraph | OnnxGraph:
    return TFLiteGraph(path, threads=1) if path.suffix == ".tflite" else OnnxGraph(path, threads=1)


def layers_in_float(path: Path) -> float:
    return 1 - check_artifact(path, RECIPES["mixed"]).integer_share


def test_the_coarsest_range_costs_most(float_file: Path, pictures: Pictures) -> None:
    graph = opened(float_file)
    plan = calibrate(graph, RECIPES["int8"], pictures(float_file, 24))
    spoiled = graph.layers[1].input
    ranges = {**plan.ranges, spoiled: Range(0.0, 100 * plan.ranges[spoiled].high)}
    found = sensitivities(graph, pictures(float_file, 24), ranges)
    assert found[0].activation == spoiled
    assert found[0].error > 5 * found[1].error
    assert graph.layers[1].name in found[0].nodes
    assert [item.error for item in found] == sorted((item.error for item in found), reverse=True)


def test_costs_do_not_depend_on_the_order_of_the_samples(float_file: Path, pictures: Pictures) -> None:
    graph = opened(float_file)
    ranges = calibrate(graph, RECIPES["int8"], pictures(float_file, 24)).ranges
    forwards, backwards = (
        sensitivities(graph, pictures(float_file, 24, order=order), ranges)
        for order in (list(range(24)), list(range(24))[::-1])
    )
    assert forwards == backwards


def test_multiplications_are_counted_as_on_paper(float_file: Path, pictures: Pictures) -> None:
    graph = opened(float_file)
    found = multiplications(graph, next(iter(pictures(float_file, 1))))
    # 6 x 6 positions of 16 filters over 27 values; 4 x 4 of 16 filters over 9; 10 rows of 16
    assert list(found.values()) == [36 * 16 * 27, 16 * 16 * 9, 160]


def test_most_error_for_the_fewest_multiplications_comes_first() -> None:
    found = [Sensitivity("a", 0.3, ("big", "small")), Sensitivity("b", 0.2, ("small",)), Sensitivity("c", 0.0, ("x",))]
    sets = float_orders(found, {"big": 1000, "small": 10, "x": 500})
    assert sets == [frozenset(), {"small"}, {"small", "big"}, {"small", "big", "x"}]


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.suffix)
def test_a_result_with_one_channel_far_louder_than_the_others_is_not_to_be_rounded(
    kind: type[Net], tmp_path: Path
) -> None:
    net = kind(0)
    loud, quiet = np.eye(12, dtype=np.float32), np.eye(12, dtype=np.float32)
    loud[0], quiet[0] = 1000 * loud[0], quiet[0] / 1000
    zero = net.constant(np.zeros(12, np.float32))
    even = net.dense(net.mean(net.conv("picture", 12)), 12, weights=[net.constant(np.eye(12, dtype=np.float32)), zero])
    uneven = net.dense(even, 12, weights=[net.constant(loud), zero])
    with closing(
        net.save(tmp_path / f"net.{kind.suffix}", net.dense(uneven, 12, weights=[net.constant(quiet), zero]))
    ) as graph:
        samples = net.pictures(8)
        observer = RangeObserver()
        for sample in samples:
            observer.add(graph.watch(sample, graph.activations))
        named = unbearable_results(graph, samples, observer.ranges("minmax"), NOTHING_IN_FLOAT)
        assert [layer.output for layer in graph.layers if layer.name in named] == [uneven]
        rest = with_float_results(NOTHING_IN_FLOAT, named)
        assert rest.last_layers == named
        assert "1 layers give float results" in rest.notes[0]
        assert not unbearable_results(graph, samples, observer.ranges("minmax"), rest)
    assert with_float_results(NOTHING_IN_FLOAT, frozenset()) is NOTHING_IN_FLOAT


def test_nothing_is_left_in_float_where_int8_will_do(float_file: Path, tmp_path: Path, pictures: Pictures) -> None:
    seen: list[Path] = []
    mixed, plain = (tmp_path / f"{name}{float_file.suffix}" for name in ("mixed", "plain"))

    def accept(path: Path) -> bool:
        seen.append(path)
        return True

    report = quantize(float_file, mixed, RECIPES["mixed"], pictures(float_file, 24), accept=accept)
    quantize(float_file, plain, RECIPES["int8"], pictures(float_file, 24))
    assert mixed.read_bytes() == plain.read_bytes()
    assert len(seen) == 1
    assert any(note.startswith("mixed: 0 of 3 layers in float, 0.0%") for note in report.notes)


def test_the_smallest_part_that_is_close_enough_stays_in_float(
    float_file: Path, tmp_path: Path, pictures: Pictures, answers: Answers
) -> None:
    mixed, plain = (tmp_path / f"{name}{float_file.suffix}" for name in ("mixed", "plain"))
    original = answers(float_file)
    quantize(float_file, plain, RECIPES["int8"], pictures(float_file, 24))
    limit = 0.8 * relative_l2(answers(plain), original)

    def accept(path: Path) -> bool:
        return relative_l2(answers(path), original) <= limit

    report = quantize(float_file, mixed, RECIPES["mixed"], pictures(float_file, 24), accept=accept)
    assert relative_l2(answers(mixed), original) <= limit
    assert 0 < layers_in_float(mixed) < 1
    assert any("of 3 layers in float" in note for note in report.notes)


def test_what_cannot_be_reached_is_said(float_file: Path, tmp_path: Path, pictures: Pictures) -> None:
    path = tmp_path / f"mixed{float_file.suffix}"
    report = quantize(float_file, path, RECIPES["mixed"], pictures(float_file, 24), accept=lambda _: False)
    assert any("are not answered closely enough" in note for note in report.notes)
    assert 0 < layers_in_float(path) < 1


def test_mixed_needs_a_judge(float_file: Path, tmp_path: Path, pictures: Pictures) -> None:
    with pytest.raises(UsageError, match="mixed without a judge"):
        quantize(float_file, tmp_path / float_file.name, RECIPES["mixed"], pictures(float_file, 24))
    assert list(tmp_path.iterdir()) == []
