"""The contract of engines: quantization at the edge, checks on what goes in, the way to find one."""

from __future__ import annotations

import tracemalloc
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgekit.engine import (
    BUILT_IN,
    ENGINE_GROUP,
    Array,
    Engine,
    TensorInfo,
    engine_class,
    engine_names,
    format_of,
    open_engine,
)
from edgekit.errors import DataRefused, EnvironmentFault, ModelRefused

INT8 = TensorInfo("x", (1, 4), "int8", scale=0.5, zero_point=-1)


class Echo(Engine):
    """Gives back what it was fed."""

    name: ClassVar[str] = "echo"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)

    def __init__(self, *infos: TensorInfo) -> None:
        self.inputs = self.outputs = infos

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        return feeds


def test_quantize_rounds_to_nearest_even_and_clips() -> None:
    values = np.array([[0.25, -0.75, 1000.0, -1000.0]], np.float32)
    np.testing.assert_array_equal(INT8.quantize(values), np.array([[-1, -3, 127, -128]], np.int8))


def test_dequantize_undoes_quantize_on_the_grid() -> None:
    stored = np.array([[-128, -1, 0, 127]], np.int8)
    np.testing.assert_array_equal(INT8.quantize(INT8.dequantize(stored)), stored)
    assert INT8.dequantize(stored).dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "zero_point"), [("int8", -1), ("int8", -128), ("uint8", 0), ("uint8", 127), ("int16", 0), ("uint16", 9)]
)
@pytest.mark.parametrize("scale", [0.5, 0.0078431377, 3.1e-5])
def test_integers_are_those_of_the_formula_to_the_bit(dtype: str, zero_point: int, scale: float) -> None:
    info, limits = TensorInfo("x", (None, 3, 500), dtype, scale, zero_point), np.iinfo(dtype)
    random = np.random.default_rng(3)
    steps = random.integers(2 * limits.min - 50, 2 * limits.max, (4, 3, 500))
    values = ((steps + random.choice([0, 0.5, 0.3], steps.shape)) * np.float32(scale)).astype(np.float32)
    values[0, 0, :2] = np.inf, -np.inf
    given = values.copy()
    expected = np.clip(np.rint(values / np.float32(scale)) + zero_point, limits.min, limits.max).astype(dtype)
    for fed, wanted in ((values, expected), (values.transpose(0, 2, 1), expected.transpose(0, 2, 1))):
        stored = info.quantize(fed)
        assert stored.dtype == dtype
        np.testing.assert_array_equal(stored, wanted)
    np.testing.assert_array_equal(values, given)


@pytest.mark.parametrize(
    ("dtype", "zero_point"), [("int8", -7), ("uint8", 255), ("int16", 0), ("uint16", 9), ("int32", 2**30)]
)
@pytest.mark.parametrize("scale", [0.5, 0.0078431377, 3.1e-5])
def test_floats_are_those_of_the_formula_to_the_bit(dtype: str, zero_point: int, scale: float) -> None:
    limits = np.iinfo(dtype)
    stored = np.random.default_rng(4).integers(limits.min, limits.max, 70_000, dtype, endpoint=True)
    given = stored.copy()
    values = TensorInfo("x", (None,), dtype, scale, zero_point).dequantize(stored)
    assert values.dtype == np.float32
    wanted = ((stored.astype(np.int32) - zero_point) * np.float32(scale)).astype(np.float32)
    np.testing.assert_array_equal(values.view(np.int32), wanted.view(np.int32))
    np.testing.assert_array_equal(stored, given)


def test_a_scalar_is_quantized_and_back() -> None:
    info = TensorInfo("x", (), "int8", 0.5, -1)
    stored = info.quantize(np.array(0.75, np.float32))
    assert stored.dtype == np.int8
    assert stored.tolist() == 1
    assert float(info.dequantize(stored)) == 1.0


def test_quantizing_takes_one_temporary() -> None:
    values = np.zeros((1, 224, 224, 3), np.float32)
    INT8.quantize(values)
    tracemalloc.start()
    try:
        INT8.quantize(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes + values.size + 100_000  # the temporary and the answer


def test_dequantizing_takes_no_temporary() -> None:
    stored = np.zeros((1, 224, 224, 21), np.uint8)
    info = TensorInfo("y", stored.shape, "uint8", 0.5, 3)
    info.dequantize(stored)
    tracemalloc.start()
    try:
        info.dequantize(stored)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * stored.size + 100_000  # the answer and numpy's small buffers


def test_a_float_input_reaches_the_engine_as_it_is() -> None:
    values = np.zeros((1, 2), np.float32)
    assert Echo(TensorInfo("x", (None, 2), "float32")).run({"x": values})["x"] is values


def test_float_tensors_pass_unchanged() -> None:
    info = TensorInfo("x", (2,), "float32")
    values = np.array([1.5, -2.5], np.float32)
    assert info.quantize(values) is values
    assert info.dequantize(values) is values


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"y": np.zeros((1, 4))}, r"no array for input 'x', got \['y'\]"),
        ({"x": np.zeros((1, 5))}, r"input 'x' has shape \[1, 5\]; expected \[1, 4\]"),
        ({"x": np.zeros(4)}, r"input 'x' has shape \[4\]"),
        ({"x": np.array([["a", "b", "c", "d"]])}, "input 'x' has dtype <U1; expected float32"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, Array], message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        Echo(INT8).run(feeds)


def test_integers_outside_the_tensor_are_refused_not_wrapped() -> None:
    engine = Echo(TensorInfo("ids", (None,), "int32"))
    assert engine.run({"ids": np.array([7], np.int64)})["ids"].dtype == np.int32
    with pytest.raises(DataRefused, match="values outside int32"):
        engine.run({"ids": np.array([2**31], np.int64)})


def test_floats_for_an_integer_tensor_are_refused() -> None:
    with pytest.raises(DataRefused, match="dtype float64; expected int32"):
        Echo(TensorInfo("ids", (None,), "int32")).run({"ids": np.array([1.5])})


def test_dynamic_dimensions_take_any_size() -> None:
    engine = Echo(TensorInfo("x", (None, 2), "float32"))
    assert engine.run({"x": np.zeros((5, 2))})["x"].shape == (5, 2)


def test_a_scalar_stays_a_scalar() -> None:
    engine = Echo(TensorInfo("x", (), "float32"))
    assert engine.run({"x": np.array(2, np.float32)})["x"].shape == ()
    assert engine.run({"x": np.array(2, np.float64)})["x"].shape == ()


def test_strided_arrays_reach_the_engine_contiguous() -> None:
    fed = Echo(TensorInfo("x", (3, 2), "float32")).run({"x": np.zeros((2, 3), np.float32).T})["x"]
    assert fed.flags.c_contiguous


def test_built_in_engines_come_through_the_entry_points() -> None:
    assert {"litert", "onnxruntime"} <= set(engine_names())
    assert engine_class("litert").formats == ("tflite",)
    assert engine_class("onnxruntime").formats == ("onnx",)


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EnvironmentFault, match=r"no engine named 'abacus'; expected .*litert"):
        engine_class("abacus")


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelRefused, match=r"model\.pt is not an artifact"):
        format_of(Path("model.pt"))


def test_an_engine_for_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"model\.onnx cannot run on litert; expected one of tflite files"):
        open_engine(tmp_path / "model.onnx", "litert")


def test_the_short_way_to_built_in_engines_is_the_registered_one() -> None:
    registered = {point.name: point.value for point in entry_points(group=ENGINE_GROUP)}
    assert registered.items() >= BUILT_IN.items()
