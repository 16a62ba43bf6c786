"""Error-compensated rounding: the algebra, and that it pays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from edgekit_converters.quantize.rounding import as_matrix, compensate, from_matrix, layer_inputs, round_matrix
from edgekit_converters.quantize.tflite_graph import TFLiteGraph
from edgekit_converters.quantize.weights import weight_scales


def opened(path: Path) -> FloatGraph:
    return TFLiteGraph(path, threads=1) if path.suffix == ".tflite" else OnnxGraph(path, threads=1)


def correlated(rows: int, columns: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(3)
    few = generator.normal(size=(rows, columns // 4)) @ generator.normal(size=(columns // 4, columns))
    return few + 0.05 * generator.normal(size=(rows, columns))


def test_every_layer_is_found(float_file: Path) -> None:
    graph = opened(float_file)
    kinds = [layer.window.groups if layer.window else None for layer in graph.layers]
    assert kinds == [1, 16, None]


def test_rows_times_matrix_is_what_the_layer_computes(float_file: Path, pictures: Callable[..., object]) -> None:
    graph = opened(float_file)
    sample = next(iter(pictures(float_file, 1)))  # type: ignore[call-overload]
    values = graph.watch(sample, graph.activations)
    for layer in graph.layers:
        assert layer.bias is not None
        rows = layer_inputs(layer, values[layer.input], np.random.default_rng(0))
        matrix = as_matrix(layer, graph.weight(layer.weight))
        computed = np.matmul(matrix, rows.transpose(0, 2, 1)).reshape(-1, rows.shape[1])
        computed += graph.weight(layer.bias)[:, None]
        real = values[layer.output][0]
        if layer.window is not None:
            real = np.moveaxis(real, 2, 0) if layer.window.layout == "NHWC" else real
            fused = float_file.suffix == ".tflite" and layer.window.groups == 1
            computed = np.maximum(computed, 0) if fused else computed
        np.testing.assert_allclose(computed, real.reshape(computed.shape), rtol=1e-4, atol=1e-5)


def test_a_matrix_turns_back_into_its_weight(float_file: Path) -> None:
    graph = opened(float_file)
    for layer in graph.layers:
        weight = graph.weight(layer.weight)
        np.testing.assert_array_equal(from_matrix(layer, as_matrix(layer, weight), weight.shape), weight)


def test_errors_of_correlated_columns_cancel() -> None:
    inputs = correlated(500, 40)
    weight = np.random.default_rng(1).normal(size=(1, 6, 40))
    steps = np.abs(weight).max(2, keepdims=True) / 127
    rounded = round_matrix(weight, (inputs.T @ inputs)[None], steps)
    nearest = np.rint(weight / steps) * steps

    def error(candidate: NDArray[np.float64]) -> float:
        return float(np.linalg.norm((candidate - weight)[0] @ inputs.T))

    assert error(rounded) < 0.5 * error(nearest)


def test_weights_are_on_the_grid_and_keep_their_largest() -> None:
    inputs = correlated(300, 20)
    weight = np.random.default_rng(2).normal(size=(1, 5, 20))
    steps = np.abs(weight).max(2, keepdims=True) / 127
    stored = round_matrix(weight, (inputs.T @ inputs)[None], steps) / steps
    np.testing.assert_allclose(stored, np.rint(stored), atol=1e-9)
    np.testing.assert_allclose(np.abs(stored).max(2), 127)


def test_an_input_that_is_always_zero_does_no_harm() -> None:
    inputs = correlated(100, 8)
    inputs[:, 3] = 0
    weight = np.random.default_rng(2).normal(size=(1, 4, 8))
    steps = np.abs(weight).max(2, keepdims=True) / 127
    assert np.isfinite(round_matrix(weight, (inputs.T @ inputs)[None], steps)).all()


def test_means_of_the_outputs_stay(float_file: Path, pictures: Callable[..., object]) -> None:
    graph = opened(float_file)
    samples = pictures(float_file, 40)
    before = np.mean([graph.watch(s, graph.outputs)["logits"] for s in samples], 0)  # type: ignore[attr-defined]
    scales = {layer.weight: 20 * weight_scales(graph, layer, {}, levels=256) for layer in graph.layers}
    compensate(graph, samples, scales)  # type: ignore[arg-type]
    after = np.mean([graph.watch(s, graph.outputs)["logits"] for s in samples], 0)  # type: ignore[attr-defined]
    spread = np.std([graph.watch(s, graph.outputs)["logits"] for s in samples])  # type: ignore[attr-defined]
    assert np.abs(after - before).max() < 0.2 * spread


@pytest.mark.parametrize("part", ["conv", "depthwise", "dense"])
def test_rounded_weights_are_left_in_the_graph(float_file: Path, part: str, pictures: Callable[..., object]) -> None:
    graph = opened(float_file)
    scales = {layer.weight: weight_scales(graph, layer, {}, levels=256) for layer in graph.layers}
    layer = next(item for item in graph.layers if item.weight.startswith(part))
    compensate(graph, pictures(float_file, 8), scales)  # type: ignore[arg-type]
    stored = graph.weight(layer.weight)
    shape = [-1 if i == layer.weight_axis else 1 for i in range(stored.ndim)]
    steps = stored / scales[layer.weight].reshape(shape)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
