"""The symmetric form of int8 models: what TensorRT takes, and still the model's answers, on ONNX Runtime's CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import QuantType

from edgekit.engine import Array
from edgekit.errors import ModelRefused
from edgekit_runtimes.engines.symmetric import for_tensorrt
from tests.runtimes.engines.quantized import network, pictures, quantized

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def symmetric(path: Path) -> Any:
    rewritten = for_tensorrt(path)
    assert rewritten.precision == "int8"
    model = onnx.load_model_from_string(rewritten.model or b"")
    onnx.checker.check_model(model, full_check=True)
    return model


def answers(model: bytes | str, inputs: Array) -> Array:
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    found: Array = np.concatenate([session.run(None, {"x": each})[0] for each in inputs])
    return found


def error(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def assert_taken_by_tensorrt(model: Any) -> None:
    """What NVIDIA's parser asserts: 8-bit signed inputs, zero points of 0, scales that are constants."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantizers = [node for node in model.graph.node if node.op_type in QUANTIZERS]
    assert quantizers
    for node in quantizers:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert constants[node.input[1]].dtype == np.float32
        assert node.input[0] not in constants or constants[node.input[0]].dtype == np.int8
    assert all(array.dtype in (np.int8, np.float32, np.int64) for array in constants.values())


def test_every_quantizer_becomes_signed_and_symmetric(small: tuple[Path, Path]) -> None:
    before = onnx.load(str(small[1]))
    kinds = {numpy_helper.to_array(tensor).dtype.name for tensor in before.graph.initializer}
    assert {"uint8", "int32"} <= kinds  # what TensorRT refuses was there
    assert_taken_by_tensorrt(symmetric(small[1]))


def test_the_answers_stay_those_of_the_model(small: tuple[Path, Path]) -> None:
    inputs = pictures(32)
    wanted = answers(str(small[0]), inputs)
    shifted = error(answers(str(small[1]), inputs), wanted)
    found = error(answers(for_tensorrt(small[1]).model or b"", inputs), wanted)
    assert shifted < 0.02
    assert found <= 2 * shifted + 1e-3  # one bit less behind a ReLU doubles the error at most


def test_a_relu_that_the_quantizer_stood_for_comes_back(small: tuple[Path, Path]) -> None:
    """Without it negative sums would pass a signed quantizer."""
    assert not [node for node in onnx.load(str(small[1])).graph.node if node.op_type in ("Relu", "Clip")]
    model = symmetric(small[1])
    put_back = {node.input[0] for node in model.graph.node if node.op_type == "Relu"}
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    # Not behind the pool, which moves numbers that are positive already, and not before the input.
    assert [makers[name] for name in sorted(put_back)] == ["Conv", "Conv", "Add"]
    names = {node.output[0]: node for node in model.graph.node if node.op_type == "Relu"}
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            if name in names:
                node.input[at] = names[name].input[0]
    wrong = answers(model.SerializeToString(), pictures(32))
    assert error(wrong, answers(str(small[0]), pictures(32))) > 0.2


def test_weights_are_kept_bit_for_bit(small: tuple[Path, Path]) -> None:
    def weights(model: Any) -> dict[str, bytes]:
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        return {name: array.tobytes() for name, array in arrays.items() if array.dtype == np.int8 and array.ndim > 1}

    before = weights(onnx.load(str(small[1])))
    assert len(before) == 3
    assert weights(symmetric(small[1])) == before


def test_a_bias_keeps_its_value(small: tuple[Path, Path]) -> None:
    model = symmetric(small[1])
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(small[0])).graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv":
            name = {"conv1": "b1", "conv2": "b2"}[node.name]
            np.testing.assert_allclose(arrays[node.input[2]], wanted[name], atol=1e-4)


def test_a_signed_shifted_file_too(tmp_path: Path) -> None:
    before, after = quantized(tmp_path, activation_type=QuantType.QInt8)
    assert_taken_by_tensorrt(symmetric(after))
    inputs = pictures(32)
    found = answers(for_tensorrt(after).model or b"", inputs)
    assert error(found, answers(str(before), inputs)) < 0.03


def test_a_symmetric_file_keeps_its_scales(tmp_path: Path) -> None:
    _, after = quantized(tmp_path, activation_type=QuantType.QInt8, extra_options={"ActivationSymmetric": True})
    inputs = pictures(8)
    np.testing.assert_allclose(
        answers(for_tensorrt(after).model or b"", inputs), answers(str(after), inputs), atol=2e-2
    )
    assert not [node for node in symmetric(after).graph.node if node.name.endswith("_relu")]


def test_integer_inputs_and_outputs_become_floats(tmp_path: Path) -> None:
    from edgekit_converters.quantize.onnx_quantizer import _integer_edges

    before, after = quantized(tmp_path, activation_type=QuantType.QInt8)
    model = onnx.load(str(after))
    _integer_edges(model)
    onnx.save(model, str(after))
    kinds = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert kinds == [TensorProto.INT8, TensorProto.INT8]
    rewritten = symmetric(after)
    kinds = [value.type.tensor_type.elem_type for value in (*rewritten.graph.input, *rewritten.graph.output)]
    assert kinds == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert not [entry for entry in rewritten.metadata_props if entry.key.startswith("edgekit.io")]
    inputs = pictures(32)
    assert error(answers(rewritten.SerializeToString(), inputs), answers(str(before), inputs)) < 0.03


def test_what_is_not_int8_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    model = network()
    onnx.save(model, str(path))
    assert (for_tensorrt(path).precision, for_tensorrt(path).model) == ("fp32", None)
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name))
    onnx.save(model, str(path))
    assert (for_tensorrt(path).precision, for_tensorrt(path).model) == ("fp16", None)


def test_sixteen_bit_activations_are_refused(tmp_path: Path) -> None:
    _, after = quantized(tmp_path, activation_type=QuantType.QInt16)
    with pytest.raises(ModelRefused, match=r"has no int8 for, at .*; expected activations of 8 bits") as caught:
        for_tensorrt(after)
    assert "fp16 recipe" in (caught.value.remedy or "")


def test_weights_with_a_zero_point_are_refused(tmp_path: Path) -> None:
    _, after = quantized(tmp_path, weight_type=QuantType.QUInt8, extra_options={"WeightSymmetric": False})
    with pytest.raises(ModelRefused, match="expected signed 8-bit weights with the zero point 0"):
        for_tensorrt(after)


def test_constants_that_only_a_branch_reads_are_kept(small: tuple[Path, Path], tmp_path: Path) -> None:
    model = onnx.load(str(small[1]))
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Identity", ["kept"], ["z"])], "body", [], [value])
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "kept"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["branched"], then_branch=body, else_branch=body))
    path = tmp_path / "branch.onnx"
    onnx.save(model, str(path))
    assert "kept" in {tensor.name for tensor in symmetric(path).graph.initializer}


def test_damaged_files_are_refused_and_never_crash(small: tuple[Path, Path], tmp_path: Path) -> None:
    whole = small[1].read_bytes()
    path = tmp_path / "damaged.onnx"
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 3):
            data[at] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            for_tensorrt(path)
        except ModelRefused:
            refused += 1
    assert refused > 20
    path.write_bytes(whole[:-1])
    with pytest.raises(ModelRefused, match=r"damaged\.onnx \(\d+ bytes\) is damaged: a field reaches past the end"):
        for_tensorrt(path)
