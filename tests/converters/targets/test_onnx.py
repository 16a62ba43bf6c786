from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekit.engine import open_engine
from edgekit.errors import ModelRefused
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source
from edgekit_converters.sources._quiet import import_keras, import_torch
from edgekit_converters.targets import ExportOptions, export, onnx_file
from tests.converters.targets.conftest import errors

SOURCES = ("keras_source", "torch_source", "saved_model_source")


@pytest.mark.parametrize("fixture", SOURCES)
def test_the_batch_is_open_names_and_order_are_the_sources_and_shapes_are_stored(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source: Source = request.getfixturevalue(fixture)
    path = tmp_path / "net.onnx"
    exported = export(source, "onnx", path)
    assert exported.inputs == tuple(spec.name for spec in source.inputs)
    assert exported.outputs == tuple(spec.name for spec in source.outputs)
    assert exported.layouts[0] == source.inputs[0].layout
    graph = onnx.load(str(path)).graph
    assert tuple(value.name for value in graph.output) == exported.outputs
    assert graph.value_info
    assert onnx_file.has_open_batch(path)
    for batch in (1, 3):
        assert max(errors(source, path, exported, batch).values()) < 1e-5


@pytest.mark.parametrize("fixture", SOURCES)
def test_the_other_layout_on_request(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    source: Source = request.getfixturevalue(fixture)
    other = "NCHW" if source.inputs[0].layout == "NHWC" else "NHWC"
    path = tmp_path / "net.onnx"
    exported = export(source, "onnx", path, ExportOptions(layouts={"picture": other}))  # type: ignore[dict-item]
    assert exported.layouts[0] == other
    with open_engine(path) as engine:
        assert engine.inputs[0].shape[1 if other == "NCHW" else 3] == 3
    assert max(errors(source, path, exported, batch=2).values()) < 1e-5


@pytest.mark.parametrize("fixture", SOURCES)
def test_a_fixed_batch_on_request(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    source: Source = request.getfixturevalue(fixture)
    path = tmp_path / "net.onnx"
    export(source, "onnx", path, ExportOptions(dynamic_batch=False))
    with open_engine(path) as engine:
        assert {info.shape[0] for info in engine.inputs} == {1}


def test_recurrent_keras_layers(tmp_path: Path) -> None:
    keras = import_keras()
    steps = keras.Input((6, 3), name="steps")
    hidden = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))(steps)
    source = open_source(keras.Model(steps, keras.layers.Dense(2)(keras.layers.GRU(4)(hidden))))
    path = tmp_path / "net.onnx"
    exported = export(source, "onnx", path)
    assert max(errors(source, path, exported, batch=2).values()) < 1e-5


def test_torch_code_that_depends_on_the_batch_gets_a_batch_of_one_and_a_note(tmp_path: Path) -> None:
    torch = import_torch()

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return torch.cat([row[None] * 2 for row in x])

    source = open_source(Net(), SourceOptions(inputs=(InputHint((None, 4), "x"),)))
    path = tmp_path / "net.onnx"
    exported = export(source, "onnx", path)
    assert any("the batch is fixed at 1" in note for note in exported.notes)
    with open_engine(path) as engine:
        assert engine.inputs[0].shape == (1, 4)
    assert max(errors(source, path, exported, batch=1).values()) < 1e-6


def test_an_operator_without_an_onnx_form_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    torch = import_torch()

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)

    source = open_source(Net(), SourceOptions(inputs=(InputHint((1, 4), "x"),)))
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    with pytest.raises(ModelRefused, match=r"no ONNX form of \w+\.\w*bessel_j0") as refused:
        export(source, "onnx", path)
    assert "or convert to TFLite" in str(refused.value)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["net.onnx"]


def test_a_tensorflow_operator_that_tf2onnx_would_leave_as_it_is_is_refused(tmp_path: Path) -> None:
    from edgekit_converters.sources._quiet import import_tensorflow

    keras, tensorflow = import_keras(), import_tensorflow()

    class Beta(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            return tensorflow.math.betainc(2.0 + 0 * x, 3.0 + 0 * x, tensorflow.sigmoid(x))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    values = keras.Input((4,), name="values")
    source = open_source(keras.Model(values, Beta()(values)))
    with pytest.raises(ModelRefused, match="no ONNX form of Betainc"):
        export(source, "onnx", tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("framework", ["keras", "pytorch"])
def test_weights_beyond_one_file_go_beside_it(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "SINGLE_FILE_LIMIT", 100)
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 100)
    keras, torch = import_keras(), import_torch()
    if framework == "keras":
        x = keras.Input((40,), name="x")
        wide = keras.layers.Dense(60, activation="gelu")(x)
        source = open_source(keras.Model(x, [keras.layers.Dense(50, name=name)(wide) for name in ("b", "a")]))
    else:
        source = open_source(torch.nn.Linear(40, 60), SourceOptions(inputs=(InputHint((None, 40), "input"),)))
    path = tmp_path / "net.onnx"
    exported = export(source, "onnx", path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < (tmp_path / "net.onnx.data").stat().st_size
    assert max(errors(source, path, exported, batch=2).values()) < 1e-5


def test_the_exact_gelu_of_keras_and_constants_that_a_layer_captures(tmp_path: Path) -> None:
    keras = import_keras()
    x = keras.Input((8,), name="x")
    normal = keras.layers.Normalization(mean=np.arange(8.0), variance=np.arange(1, 9.0))(x)
    source = open_source(keras.Model(x, keras.activations.gelu(normal, approximate=False)))
    path = tmp_path / "net.onnx"
    exported = export(source, "onnx", path)
    assert exported.inputs == ("x",)
    assert max(errors(source, path, exported, batch=3).values()) < 1e-6


def test_gathering_takes_weights_beside_a_model_into_it(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.arange(600, dtype=np.float32).reshape(2, 300), "weight")
    node = onnx.helper.make_node("MatMul", ["x", "weight"], ["y"])
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 300])
    graph = onnx.helper.make_graph([node], "g", [x], [y], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    given = tmp_path / "given"
    given.mkdir()
    onnx.save_model(model, str(given / "m.onnx"), save_as_external_data=True, location="weights.bin")
    onnx_file.gather(given / "m.onnx", tmp_path / "copy.onnx")
    (given / "weights.bin").unlink()
    with open_engine(tmp_path / "copy.onnx") as engine:
        answer = engine.run({"x": np.ones((1, 2), np.float32)})["y"]
    assert np.array_equal(answer[0], np.arange(300) * 2 + 300)
