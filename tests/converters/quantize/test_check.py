"""An artifact that is not what its name says is refused before it is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused, QualityError
from edgekit_converters.quantize import RECIPES, check_artifact, quantize
from edgekit_converters.quantize.tflite_graph import packed, read_flatbuffer


@pytest.fixture(scope="module")
def int8_file(float_file: Path, pictures: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / f"small{float_file.suffix}"
    quantize(float_file, path, RECIPES["int8"], pictures(float_file, 24))
    return path


def with_scale(path: Path, out: Path, scale: float, zero_point: int | None = None) -> Path:
    """Copy an int8 file with another scale (and zero point) on the first activation."""
    if path.suffix == ".tflite":
        model = read_flatbuffer(path)
        tensor = next(t for t in model.subgraphs[0].tensors if t.type == 9 and len(t.shape) == 4)
        tensor.quantization.scale = np.array([scale], np.float32)
        if zero_point is not None:
            tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
        out.write_bytes(packed(model))
        return out
    import onnx

    model = onnx.load(str(path))
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    constant = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    constant.CopyFrom(onnx.numpy_helper.from_array(np.array(scale, np.float32), constant.name))
    onnx.save(model, str(out))
    return out


@pytest.mark.parametrize("recipe", ["int8", "dynamic-int8", "fp16", "int8-int16"])
def test_a_float_model_under_another_name_is_refused(recipe: str, float_file: Path) -> None:
    with pytest.raises(QualityError, match=rf"recipe {recipe} asked for, but no weight is stored in it; .*float32"):
        check_artifact(float_file, RECIPES[recipe])


def test_a_float_model_is_fp32(float_file: Path) -> None:
    assert check_artifact(float_file, RECIPES["fp32"]).weight_share == 1


def test_int8_weights_alone_are_not_int8(float_file: Path, tmp_path: Path) -> None:
    path = tmp_path / f"dynamic{float_file.suffix}"
    quantize(float_file, path, RECIPES["dynamic-int8"], None)
    if path.suffix == ".tflite":
        with pytest.raises(QualityError, match="every layer computes in float"):
            check_artifact(path, RECIPES["int8"])
    else:  # its dense layer quantizes its input on the fly and does compute in integers
        assert any("33%" in note for note in check_artifact(path, RECIPES["int8"]).notes)


@pytest.mark.parametrize("scale", [np.nan, np.inf, 0.0, -1.0, 1e30])
def test_a_scale_that_is_no_scale_is_refused(scale: float, int8_file: Path, tmp_path: Path) -> None:
    path = with_scale(int8_file, tmp_path / int8_file.name, scale)
    with pytest.raises(QualityError, match=r"has the scale .*expected a positive, finite scale"):
        check_artifact(path, RECIPES["int8"])


def test_a_zero_point_outside_its_type_is_refused(int8_file: Path, tmp_path: Path) -> None:
    if int8_file.suffix == ".onnx":
        pytest.skip("an ONNX zero point has the tensor's type: it cannot lie outside")
    path = with_scale(int8_file, tmp_path / int8_file.name, 0.1, 300)
    with pytest.raises(QualityError, match=r"zero point 300\.\.300; expected within int8"):
        check_artifact(path, RECIPES["int8"])


def test_edges_of_the_wrong_type_are_refused(int8_file: Path) -> None:
    with pytest.raises(QualityError, match="input 'picture' is float32; expected int8 inputs and outputs"):
        check_artifact(int8_file, RECIPES["int8"], "int8")


def test_integer_edges_are_refused_where_floats_were_asked_for(
    float_file: Path, pictures: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / f"small{float_file.suffix}"
    quantize(float_file, path, RECIPES["int8"], pictures(float_file, 24), io="int8")
    with pytest.raises(QualityError, match="input 'picture' is int8; expected float inputs and outputs"):
        check_artifact(path, RECIPES["int8"], "float")


def test_garbage_is_refused(float_file: Path, tmp_path: Path) -> None:
    path = tmp_path / f"garbage{float_file.suffix}"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(ModelRefused, match="garbage"):
        check_artifact(path, RECIPES["int8"])
