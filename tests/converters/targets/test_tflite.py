from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.engine import open_engine
from edgekit.errors import ModelRefused
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source
from edgekit_converters.sources._quiet import import_keras, import_tensorflow, import_torch
from edgekit_converters.targets import ExportOptions, export, tflite_file
from tests.converters.targets.conftest import errors


def test_keras_keeps_an_open_batch_and_the_order_of_inputs_and_outputs(keras_source: Source, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    exported = export(keras_source, "tflite", path)
    assert exported.layouts == ("NHWC", None)
    assert exported.notes == ()
    assert tflite_file.read(path).batches == (None, None)
    assert max(errors(keras_source, path, exported, batch=3).values()) < 1e-5


def test_keras_with_a_fixed_batch(keras_source: Source, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    exported = export(keras_source, "tflite", path, ExportOptions(dynamic_batch=False))
    assert tflite_file.read(path).batches == (1, 1)
    assert max(errors(keras_source, path, exported, batch=1).values()) < 1e-5


def test_keras_channels_first_on_request_says_that_a_transpose_stays(keras_source: Source, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    exported = export(keras_source, "tflite", path, ExportOptions(layouts={"picture": "NCHW"}))
    with open_engine(path) as engine:
        shapes = {info.name: info.shape for info in engine.inputs}
    assert shapes[exported.inputs[0]] == (None, 3, 12, 12)
    assert any("TRANSPOSE remains behind input 'picture'" in note for note in exported.notes)
    assert max(errors(keras_source, path, exported, batch=2).values()) < 1e-5


def test_torch_becomes_channels_last_without_a_transpose_in_front(torch_source: Source, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    exported = export(torch_source, "tflite", path)
    written = tflite_file.read(path)
    assert exported.layouts == ("NHWC", None)
    assert written.transposed == ()
    assert exported.notes == ()
    with open_engine(path) as engine:
        infos = {info.name: info for info in engine.inputs}
    assert infos[exported.inputs[0]].shape == (1, 12, 12, 3)
    assert infos[exported.inputs[1]].dtype == "int32"
    assert max(errors(torch_source, path, exported, batch=1).values()) < 1e-5


def test_torch_channels_first_on_request(torch_source: Source, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    exported = export(torch_source, "tflite", path, ExportOptions(layouts={"picture": "NCHW"}))
    with open_engine(path) as engine:
        assert {info.shape for info in engine.inputs} == {(1, 3, 12, 12), (1, 5)}
    assert max(errors(torch_source, path, exported, batch=1).values()) < 1e-5


def test_saved_model_in_its_own_and_in_another_layout(saved_model_source: Source, tmp_path: Path) -> None:
    for layout, shape in (("NHWC", (None, 8, 8, 3)), ("NCHW", (None, 3, 8, 8))):
        path = tmp_path / f"{layout}.tflite"
        exported = export(saved_model_source, "tflite", path, ExportOptions(layouts={"picture": layout}))  # type: ignore[dict-item]
        with open_engine(path) as engine:
            assert engine.inputs[0].shape == shape
        assert max(errors(saved_model_source, path, exported, batch=2).values()) < 1e-5


def test_recurrent_layers_get_a_batch_of_one_and_say_so(tmp_path: Path) -> None:
    keras = import_keras()
    steps = keras.Input((6, 3), name="steps")
    source = open_source(keras.Model(steps, keras.layers.Dense(2)(keras.layers.LSTM(4)(steps))))
    path = tmp_path / "net.tflite"
    exported = export(source, "tflite", path)
    assert tflite_file.read(path).batches == (1,)
    assert any("the batch is fixed at 1" in note for note in exported.notes)
    assert max(errors(source, path, exported, batch=1).values()) < 1e-5


def test_an_operator_without_a_built_in_form_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    keras, tensorflow = import_keras(), import_tensorflow()

    class Beta(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            return tensorflow.math.betainc(2.0 + 0 * x, 3.0 + 0 * x, tensorflow.sigmoid(x))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    values = keras.Input((4,), name="values")
    source = open_source(keras.Model(values, Beta()(values)))
    path = tmp_path / "net.tflite"
    path.write_bytes(b"old")
    with pytest.raises(ModelRefused, match=r"no TFLite form of .*Betainc") as refused:
        export(source, "tflite", path)
    assert "or convert to ONNX" in str(refused.value)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["net.tflite"]


def test_state_that_outlives_a_call_is_refused(tmp_path: Path) -> None:
    tensorflow = import_tensorflow()
    module = tensorflow.Module()
    module.calls = tensorflow.Variable(0.0)

    @tensorflow.function(input_signature=[tensorflow.TensorSpec((1, 4), name="x")])  # type: ignore[untyped-decorator,unused-ignore]
    def serve(x: Any) -> Any:
        return {"y": x + module.calls.assign_add(1.0)}

    tensorflow.saved_model.save(module, str(tmp_path / "model"), signatures=serve)
    with pytest.raises(ModelRefused, match=r"needs .*ASSIGN_VARIABLE.* in TFLite"):
        export(open_source(tmp_path / "model"), "tflite", tmp_path / "net.tflite")
    assert not (tmp_path / "net.tflite").exists()


def test_torch_code_that_cannot_be_traced_is_refused_with_its_cause(tmp_path: Path) -> None:
    torch = import_torch()

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return x * 2 if x.sum() > 0 else x

    source = open_source(Net(), SourceOptions(inputs=(InputHint((1, 4), "x"),)))
    with pytest.raises(ModelRefused, match=r"Net cannot be converted to TFLite: .*data-dependent"):
        export(source, "tflite", tmp_path / "net.tflite")


def test_an_output_that_is_an_input_or_given_twice_is_bound(tmp_path: Path) -> None:
    torch = import_torch()

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            y = x * 2
            return x, y, y

    source = open_source(Net(), SourceOptions(inputs=(InputHint((1, 4), "x"),)))
    for kind in ("tflite", "onnx"):
        path = tmp_path / f"net.{kind}"
        exported = export(source, kind, path)
        x = np.arange(4, dtype=np.float32)[None]
        with open_engine(path) as engine:
            given = engine.run({exported.inputs[0]: x})
        for name, factor in zip(exported.outputs, (1, 2, 2), strict=True):
            assert np.array_equal(given[name], x * factor)
