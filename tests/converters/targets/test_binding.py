from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ModelRefused
from edgekit.spec import TensorSpec
from edgekit_converters.sources import Source
from edgekit_converters.targets import export
from edgekit_converters.targets.binding import alike, assign, bind_outputs, by_signature, identifiers, sample_feeds


def test_identifiers_are_valid_distinct_and_avoid_what_is_taken() -> None:
    names = ["dense/Softmax:0", "dense_Softmax_0", "1st", "", "ids", "größe"]
    found = identifiers(names, taken=["ids"])
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in found)
    assert "ids" not in found


def test_a_plain_name_stays() -> None:
    assert identifiers(["input_ids", "pixel_values"]) == ["input_ids", "pixel_values"]


def test_outputs_of_one_shape_and_dtype_are_alike() -> None:
    specs = [TensorSpec("a", (None, 4)), TensorSpec("b", (None, 5)), TensorSpec("c", (None, 4))]
    assert alike(specs) == [[0, 2]]
    assert alike([*specs[:2], TensorSpec("c", (None, 4), "int64")]) == []


def test_swapped_values_move_the_names() -> None:
    one, two = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    assert assign([one, two], ["x", "y"], {"x": two, "y": one}) == ("y", "x")
    assert assign([one, two], ["x", "y"], {"x": one, "y": two}) == ("x", "y")


def test_names_stand_where_values_are_equal_or_fit_nothing() -> None:
    one = np.array([1.0, 2.0])
    assert assign([one, one], ["x", "y"], {"x": one, "y": one}) == ("x", "y")
    assert assign([one, -one], ["x", "y"], {"x": one * 5, "y": one * 7}) == ("x", "y")


def test_one_wrong_output_does_not_move_the_right_ones() -> None:
    one, two, three = np.eye(3)
    assert assign([one, two, three], ["x", "y", "z"], {"x": one, "y": three, "z": two}) == ("x", "z", "y")


def test_a_missing_signature_name_is_refused() -> None:
    assert by_signature("input", ["b", "a"], {"a": "t1", "b": "t2"}) == ("t2", "t1")
    with pytest.raises(ModelRefused, match="the artifact has no output 'c', only a, b"):
        by_signature("output", ["a", "c"], {"a": "t1", "b": "t2"})


def test_an_input_that_the_model_does_not_have_is_refused() -> None:
    assert by_signature("output", ["a"], {"a": "t1", "b": "t2"}) == ("t1",)
    with pytest.raises(ModelRefused, match="asks for 'b', which is no input of the model"):
        by_signature("input", ["a"], {"a": "t1", "b": "t2"})


def test_swapped_names_of_a_real_artifact_are_put_right(keras_source: Source, tmp_path: Path) -> None:
    exported = export(keras_source, "onnx", tmp_path / "net.onnx")
    swapped = exported.outputs[::-1]
    found = bind_outputs(keras_source, tmp_path / "net.onnx", exported.inputs, swapped, {})
    assert found == exported.outputs


@pytest.mark.parametrize("batch", [1, 3])
def test_sample_feeds_fit_the_inputs(torch_source: Source, batch: int) -> None:
    feeds: dict[str, Any] = sample_feeds(torch_source, batch)
    assert feeds["picture"].shape == (batch, 3, 12, 12)
    assert feeds["ids"].dtype == np.int64
    assert set(np.unique(feeds["ids"])) <= {0, 1}
