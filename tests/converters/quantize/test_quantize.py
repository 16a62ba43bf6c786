"""From a float file to each recipe, in both formats."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.engine import open_engine
from edgekit.errors import DataRefused, ModelRefused, UsageError
from edgekit_converters.quantize import RECIPES, check_artifact, quantize
from edgekit_converters.quantize.effort import Parts
from edgekit_converters.quantize.graph import FloatGraph
from edgekit_converters.quantize.onnx_graph import OnnxGraph
from edgekit_converters.quantize.quantizer import calibrate
from edgekit_converters.quantize.tflite_graph import TFLiteGraph, packed, read_flatbuffer

Pictures = Callable[..., Any]
Answers = Callable[[Path], NDArray[np.float32]]
LIMITS = {"fp16": 1e-3, "dynamic-int8": 2e-2, "int8": 4e-2, "int8-int16": 1e-2}
SIZES = {"fp16": 0.75, "dynamic-int8": 0.75, "int8": 0.9, "int8-int16": 1.0}


def relative_l2(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def opened(path: Path) -> FloatGraph:
    return TFLiteGraph(path, threads=1) if path.suffix == ".tflite" else OnnxGraph(path, threads=1)


@pytest.fixture
def out(float_file: Path, tmp_path: Path) -> Path:
    return tmp_path / f"out{float_file.suffix}"


@pytest.mark.parametrize("recipe", list(LIMITS))
def test_a_recipe_is_what_it_says_and_close_to_the_float_model(
    recipe: str, float_file: Path, out: Path, pictures: Pictures, answers: Answers
) -> None:
    report = quantize(float_file, out, RECIPES[recipe], pictures(float_file, 48))
    check = check_artifact(out, RECIPES[recipe])
    assert check.weight_share == 1
    assert (check.inputs, check.outputs) == ((("picture", "float32"),), (("logits", "float32"),))
    assert relative_l2(answers(out), answers(float_file)) < LIMITS[recipe]
    assert report.recipe == recipe
    assert (report.calibration is None) == (recipe == "fp16")


@pytest.mark.parametrize("recipe", ["fp16", "dynamic-int8"])
def test_weights_alone_need_no_data(recipe: str, float_file: Path, out: Path, answers: Answers) -> None:
    report = quantize(float_file, out, RECIPES[recipe], None)
    assert report.calibration is None
    assert relative_l2(answers(out), answers(float_file)) < LIMITS[recipe]


def test_int8_edges_are_integers_that_the_engine_hides(
    float_file: Path, out: Path, pictures: Pictures, answers: Answers
) -> None:
    quantize(float_file, out, RECIPES["int8"], pictures(float_file, 48), io="int8")
    check = check_artifact(out, RECIPES["int8"], "int8")
    assert (check.inputs, check.outputs) == ((("picture", "int8"),), (("logits", "int8"),))
    assert check.integer_share == 1
    with open_engine(out) as engine:
        assert engine.inputs[0].scale is not None
        assert engine.outputs[0].scale is not None
    assert relative_l2(answers(out), answers(float_file)) < 5e-2


def test_the_last_dense_layer_gives_floats_that_do_not_tie(
    float_file: Path, out: Path, pictures: Pictures, answers: Answers
) -> None:
    report = quantize(float_file, out, RECIPES["int8"], pictures(float_file, 48))
    assert any("the last dense layer" in note for note in report.notes)
    assert len(np.unique(answers(out))) > 600
    quantize(float_file, out, RECIPES["int8"], pictures(float_file, 48), io="int8")
    assert len(np.unique(answers(out))) <= 256


def test_compensated_rounding_is_closer_than_nearest(
    float_file: Path, tmp_path: Path, pictures: Pictures, answers: Answers
) -> None:
    error = {}
    for spread in (False, True):
        path = tmp_path / f"{spread}{float_file.suffix}"
        parts = Parts(spread=spread, correct=spread)
        quantize(float_file, path, RECIPES["int8-int16"], pictures(float_file, 48), parts=parts)
        error[spread] = relative_l2(answers(path), answers(float_file))
    assert error[True] < error[False]


def test_order_of_the_samples_changes_no_range(float_file: Path, pictures: Pictures) -> None:
    plans = [
        calibrate(opened(float_file), RECIPES["int8"], pictures(float_file, 24, order=order))
        for order in (list(range(24)), list(range(24))[::-1])
    ]
    assert plans[0].ranges == plans[1].ranges
    assert plans[0].calibration.fingerprint == plans[1].calibration.fingerprint


def test_a_nearly_dead_channel_keeps_its_bias(
    float_file: Path, out: Path, pictures: Pictures, answers: Answers
) -> None:
    """Its bias, in int32 steps of input scale times weight scale, must not be clipped."""
    graph = opened(float_file)
    depthwise = graph.layers[1]
    assert depthwise.bias is not None
    weight, bias = graph.weight(depthwise.weight), graph.weight(depthwise.bias)
    np.moveaxis(weight, depthwise.weight_axis, 0)[5] = 1e-12
    bias[5] = 3.0
    graph.replace_weights({depthwise.weight: weight, depthwise.bias: bias})
    changed = out.with_name(f"changed{out.suffix}")
    assert isinstance(graph, TFLiteGraph | OnnxGraph)
    data = packed(graph.model) if isinstance(graph, TFLiteGraph) else graph.model.SerializeToString()
    changed.write_bytes(data)
    for recipe in ("int8", "int8-int16"):
        quantize(changed, out, RECIPES[recipe], pictures(float_file, 24))
        assert relative_l2(answers(out), answers(changed)) < 4e-2


def test_a_one_shot_generator_is_refused(float_file: Path, out: Path, pictures: Pictures) -> None:
    def generate() -> Iterator[Any]:
        yield from pictures(float_file, 4)

    with pytest.raises(DataRefused, match="one-shot generator"):
        quantize(float_file, out, RECIPES["int8"], generate())
    assert not out.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_sample_leaves_the_old_file_alone(value: float, float_file: Path, out: Path, pictures: Pictures) -> None:
    data = list(pictures(float_file, 20))
    data[4]["picture"][0, 0, 0, 0] = value
    out.write_bytes(b"old")
    with pytest.raises(DataRefused, match="calibration sample 4, 'picture'"):
        quantize(float_file, out, RECIPES["int8"], data)
    assert out.read_bytes() == b"old"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_sample_that_overflows_inside_the_model_is_refused(float_file: Path, out: Path, pictures: Pictures) -> None:
    data = [{"picture": np.clip(sample["picture"], -3, 3) * np.float32(1e38)} for sample in pictures(float_file, 4)]
    with pytest.raises(DataRefused, match="becomes NaN"):
        quantize(float_file, out, RECIPES["int8"], data)


def test_an_empty_set_is_refused(float_file: Path, out: Path) -> None:
    with pytest.raises(DataRefused, match="calibration set is empty"):
        quantize(float_file, out, RECIPES["int8"], [])
    with pytest.raises(DataRefused, match="recipe int8 without calibration data"):
        quantize(float_file, out, RECIPES["int8"], None)


def test_requests_that_contradict_themselves_are_refused(float_file: Path, out: Path, pictures: Pictures) -> None:
    samples = pictures(float_file, 4)
    with pytest.raises(UsageError, match="recipe fp32"):
        quantize(float_file, out, RECIPES["fp32"], None)
    with pytest.raises(UsageError, match="int8 inputs and outputs with recipe int8-int16"):
        quantize(float_file, out, RECIPES["int8-int16"], samples, io="int8")
    with pytest.raises(UsageError, match="expected the same format"):
        other = out.with_suffix({".tflite": ".onnx", ".onnx": ".tflite"}[out.suffix])
        quantize(float_file, other, RECIPES["int8"], samples)


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_truncated_file_is_refused(kept: float, float_file: Path, tmp_path: Path, pictures: Pictures) -> None:
    whole = float_file.read_bytes()
    cut = tmp_path / f"cut{float_file.suffix}"
    cut.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelRefused, match=r"cut\.(tflite|onnx)"):
        quantize(cut, tmp_path / f"out{cut.suffix}", RECIPES["int8"], pictures(float_file, 4))


def test_a_tflite_with_repeated_tensor_names_is_quantized(
    float_file: Path, tmp_path: Path, pictures: Pictures, answers: Answers
) -> None:
    if float_file.suffix == ".onnx":
        pytest.skip("names are unique in ONNX")
    model = read_flatbuffer(float_file)
    for tensor in model.subgraphs[0].tensors[1:4]:
        tensor.name = b"same"
    named = tmp_path / "named.tflite"
    named.write_bytes(packed(model))
    quantize(named, tmp_path / "out.tflite", RECIPES["int8"], pictures(float_file, 24))
    assert relative_l2(answers(tmp_path / "out.tflite"), answers(float_file)) < 8e-2


def test_a_bias_of_four_dimensions_is_quantized(
    float_file: Path, tmp_path: Path, pictures: Pictures, answers: Answers
) -> None:
    """As litert-torch folds a batch normalization into a transposed convolution: the bias is (1, 1, 1, channels)."""
    if float_file.suffix == ".onnx":
        pytest.skip("ONNX biases have one dimension")
    model = read_flatbuffer(float_file)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name == b"conv_bias":
            tensor.shape = [1, 1, 1, 16]
    path = tmp_path / "four.tflite"
    path.write_bytes(packed(model))
    quantize(path, tmp_path / "out.tflite", RECIPES["int8"], pictures(float_file, 24))
    assert relative_l2(answers(tmp_path / "out.tflite"), answers(float_file)) < 8e-2
