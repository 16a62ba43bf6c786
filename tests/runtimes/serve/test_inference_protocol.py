"""The protocol's JSON and binary data, without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit_runtimes.serve import inference_protocol
from edgekit_runtimes.serve.inference_protocol import DATATYPES, build_response, describe, parse_request

SPEC = Spec(
    inputs=(TensorSpec("x", (None, 2, 3)), TensorSpec("n", (None, 2), "int32"), TensorSpec("b", (None, 1), "bool")),
    outputs=(TensorSpec("y", (None, 2)), TensorSpec("k", (None,), "int64")),
)


def request(**changes: Any) -> dict[str, Any]:
    inputs = [
        {"name": "x", "shape": [1, 2, 3], "datatype": "FP32", "data": [1, 2.5, 3, 4, 5, 6]},
        {"name": "n", "shape": [1, 2], "datatype": "INT32", "data": [[-7, 2147483647]]},
        {"name": "b", "shape": [1, 1], "datatype": "BOOL", "data": [True]},
    ]
    return {"inputs": inputs, **changes}


def parsed(content: object) -> Any:
    return parse_request(json.dumps(content).encode(), None, SPEC)


def one(dtype: str, shape: list[int], data: object) -> Any:
    """Parse a request for a model with one input."""
    spec = Spec(inputs=(TensorSpec("x", (None, *shape[1:]), dtype),), outputs=(TensorSpec("y", (None,)),))
    entry = {"name": "x", "shape": shape, "datatype": DATATYPES[dtype], "data": data}
    return parse_request(json.dumps({"inputs": [entry]}).encode(), None, spec).feeds["x"]


def test_json_tensors_flat_and_nested() -> None:
    feeds = parsed(request()).feeds
    np.testing.assert_array_equal(feeds["x"], np.array([[[1, 2.5, 3], [4, 5, 6]]], np.float32))
    np.testing.assert_array_equal(feeds["n"], np.array([[-7, 2147483647]], np.int32))
    assert {name: array.dtype.name for name, array in feeds.items()} == {"x": "float32", "n": "int32", "b": "bool"}


@pytest.mark.parametrize("dtype", DATATYPES)
@pytest.mark.parametrize("pad", range(4))
def test_binary_tensors_of_every_datatype_at_any_address(dtype: str, pad: int) -> None:
    values = (np.arange(6) % 2 if dtype == "bool" else np.arange(6)).astype(dtype).reshape(2, 3)
    spec = Spec(inputs=(TensorSpec("x", (None, 3), dtype),), outputs=(TensorSpec("y", (None, 3), dtype),))
    entry = {
        "name": "x",
        "shape": [2, 3],
        "datatype": DATATYPES[dtype],
        "parameters": {"binary_data_size": values.nbytes},
    }
    text = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode() + b" " * pad
    found = parse_request(text + values.tobytes(), str(len(text)), spec)
    array = found.feeds["x"]
    np.testing.assert_array_equal(array, values)
    assert array.dtype == values.dtype
    assert array.flags.aligned
    body, length = build_response("m", found, {"y": array})
    assert length is not None
    np.testing.assert_array_equal(np.frombuffer(body[length:], dtype).reshape(2, 3), values)
    head = json.loads(body[:length])
    assert head["outputs"][0]["parameters"] == {"binary_data_size": values.nbytes}
    assert head["outputs"][0]["datatype"] == DATATYPES[dtype]


@pytest.mark.parametrize(
    ("dtype", "data", "good"),
    [
        ("uint8", [0, 255], True),
        ("uint8", [0, 256], False),
        ("int8", [-129, 0], False),
        ("uint64", [0, 2**64 - 1], True),
        ("int64", [0, 2**63], False),
        ("int32", [0, 1.0], False),
        ("int32", [0, True], False),
        ("float32", [0, 1e39], False),
        ("float32", [0, 10**400], False),
        ("float16", [0, 65504], True),
        ("float16", [0, 70000], False),
        ("float32", [0, "1"], False),
        ("float32", [0, None], False),
        ("float32", [0, True], False),
        ("bool", [False, True], True),
        ("bool", [0, 1], False),
    ],
)
def test_json_values_are_of_the_datatype_or_refused(dtype: str, data: list[object], good: bool) -> None:
    if good:
        assert one(dtype, [1, 2], data).tolist() == [data]
    else:
        with pytest.raises(DataRefused, match=r"input 'x' has (values outside|data of another kind)"):
            one(dtype, [1, 2], data)


@pytest.mark.parametrize("data", [[[1, 2], [3]], [[1, 2, 3]], [1, 2, 3], [], [[[1, 2], [3, 4]]], [1, [2], 3, 4], {}, 5])
def test_json_data_make_up_the_shape_or_are_refused(data: object) -> None:
    with pytest.raises(DataRefused, match="input 'x'"):
        one("float32", [2, 2], data)


def test_every_output_by_default_and_the_id_echoed() -> None:
    found = parsed(request(id="a7"))
    body, length = build_response("m", found, {"y": np.array([[0.5, 2]], np.float32), "k": np.array([3], np.int32)})
    assert length is None
    assert json.loads(body) == {
        "id": "a7",
        "model_name": "m",
        "model_version": "1",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2.0]},
            {"name": "k", "datatype": "INT64", "shape": [1], "data": [3]},  # the spec's dtype, not the artifact's
        ],
    }


def test_requested_outputs_in_their_order_and_form() -> None:
    wanted = [{"name": "k", "parameters": {"binary_data": True}}, {"name": "y", "parameters": {"binary_data": False}}]
    found = parsed(request(outputs=wanted, parameters={"binary_data_output": True}))
    assert [(output.tensor.name, output.binary) for output in found.outputs] == [("k", True), ("y", False)]
    assert [output.binary for output in parsed(request(parameters={"binary_data_output": True})).outputs] == [True] * 2


def test_long_json_is_refused_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_protocol, "MAX_JSON_BYTES", 100)
    with pytest.raises(DataRefused, match="expected at most 100; send tensors in binary"):
        parsed(request())


def test_nan_goes_out_as_binary_data_only() -> None:
    outputs = {"y": np.array([[np.nan, 1]], np.float32), "k": np.array([3])}
    with pytest.raises(DataRefused, match="output 'y' holds NaN or infinity"):
        build_response("m", parsed(request()), outputs)
    body, length = build_response("m", parsed(request(parameters={"binary_data_output": True})), outputs)
    assert length is not None
    assert np.isnan(np.frombuffer(body[length:], np.float32, 2)).tolist() == [True, False]


def test_dynamic_dimensions_are_minus_one() -> None:
    assert describe(SPEC.inputs)[1] == {"name": "n", "datatype": "INT32", "shape": [-1, 2]}
    with pytest.raises(SpecRefused, match="complex64"):
        describe([TensorSpec("c", (1,), "complex64")])


def test_batches_of_different_sizes_are_refused() -> None:
    content = request()
    content["inputs"][2] |= {"shape": [2, 1], "data": [True, False]}
    with pytest.raises(DataRefused, match="batches of"):
        parsed(content)
