"""Reading and writing ``.onnx`` files without the onnx package, compared with the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit_runtimes.engines.onnx_file import Field, Graph, fields, packed
from edgekit_runtimes.engines.protobuf import Damaged
from tests.runtimes.engines.quantized import network

KINDS = ("float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "int32", "int64")


def with_tensors(folder: Path, *tensors: TensorProto) -> Graph:
    model = network()
    model.graph.initializer.extend(tensors)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return Graph(path)


def test_what_is_not_touched_is_written_back(small: tuple[Path, Path]) -> None:
    for path in small:
        assert onnx.load_model_from_string(Graph(path).written()) == onnx.load(str(path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [True, False], ids=["bytes", "numbers"])
def test_tensors_of_every_type(tmp_path: Path, kind: str, raw: bool) -> None:
    values = np.array([[-3, 0, 100], [1, 2, 127]]).astype(np.dtype(kind))
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    tensor = helper.make_tensor("t", number, values.shape, values.tobytes() if raw else values.ravel(), raw=raw)
    graph = with_tensors(tmp_path, tensor)
    assert graph.element_type("t") == number
    found = graph.array("t")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_a_scalar_and_external_data(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.int32)
    (tmp_path / "data.bin").write_bytes(b"....." + values.tobytes())
    outside = TensorProto(name="out", data_type=TensorProto.INT32, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "data.bin"), ("offset", "5"), ("length", "24")):
        outside.external_data.add(key=key, value=value)
    graph = with_tensors(tmp_path, outside, numpy_helper.from_array(np.float32(0.5), "scalar"))
    np.testing.assert_array_equal(graph.array("out"), values.reshape(2, 3))
    assert graph.array("scalar").shape == ()
    assert graph.array("scalar").item() == 0.5
    (tmp_path / "data.bin").write_bytes(b".....")
    with pytest.raises(Damaged, match="tensor 'out' cannot be read"):
        graph.array("out")


def test_a_stored_array_is_read_by_onnx(tmp_path: Path) -> None:
    graph = with_tensors(tmp_path)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph.store("new", values)
    model = onnx.load_model_from_string(graph.written())
    found = {tensor.name: tensor for tensor in model.graph.initializer}["new"]
    np.testing.assert_array_equal(numpy_helper.to_array(found), values)


def test_retyping_keeps_the_shape(tmp_path: Path) -> None:
    graph = with_tensors(tmp_path)
    graph.retype("x", TensorProto.INT8)
    value = onnx.load_model_from_string(graph.written()).graph.input[0]
    assert value.type.tensor_type.elem_type == TensorProto.INT8
    assert [size.dim_value for size in value.type.tensor_type.shape.dim] == [1, 3, 8, 8]


def test_fields_in_and_out() -> None:
    items: list[Field] = [(1, 0, 300), (2, 2, b"text"), (3, 5, b"1234"), (4, 1, b"12345678"), (9, 0, 2**63)]
    assert list(fields(packed(items))) == items
    for damaged, why in ((b"\x0a\x05abc", "past the end"), (b"\x0b", "wire type 3"), (b"\x80", "does not end")):
        with pytest.raises(Damaged, match=why):
            list(fields(damaged))
