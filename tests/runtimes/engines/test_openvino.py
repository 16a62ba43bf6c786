"""OpenVINO, an engine that enters through the plug-in door: it gives the answers of the built-in ones."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekit.bundle import Bundle
from edgekit.engine import BUILT_IN, ENGINE_GROUP, ONNX_IO_METADATA, Array, engine_class, open_engine
from edgekit.errors import DataRefused, EnvironmentFault, MissingExtra, ModelRefused
from edgekit_runtimes.engines import openvino as module
from edgekit_runtimes.engines.openvino import OpenVinoEngine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see the entry points of pyproject.toml, whichever version is installed."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][ENGINE_GROUP]
    points = EntryPoints(EntryPoint(name, value, ENGINE_GROUP) for name, value in listed.items())

    def entry_points(**wanted: Any) -> EntryPoints:
        return points.select(**wanted)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def compared(path: Path, feeds: dict[str, Array]) -> dict[str, float]:
    """Relative L2 of each output between OpenVINO and the built-in engine."""
    with OpenVinoEngine(path, threads=1) as mine, open_engine(path, threads=1) as theirs:
        assert {i.name: (i.shape, i.dtype, i.zero_point) for i in (*mine.inputs, *mine.outputs)} == {
            i.name: (i.shape, i.dtype, i.zero_point) for i in (*theirs.inputs, *theirs.outputs)
        }
        got, want = mine.run(feeds), theirs.run(feeds)
    return {name: float(np.linalg.norm(got[name] - want[name]) / np.linalg.norm(want[name])) for name in want}


def test_it_comes_through_the_door_alone(door: None) -> None:
    assert "openvino" not in BUILT_IN
    assert engine_class("openvino") is OpenVinoEngine
    with pytest.raises(EnvironmentFault, match="engine 'openvino' has no execution provider 'GPU'"):
        engine_class("openvino:GPU")


def test_its_extra_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["openvino"] == ["openvino>=2025"]
    assert "openvino" in extras["all"][0]


def test_parity_with_onnx_runtime_on_a_detector(detector_bundle: Bundle) -> None:
    golden, _ = detector_bundle.golden()
    path = detector_bundle.file("model.fp32.onnx")
    with open_engine(path) as engine:
        name = engine.inputs[0].name
    assert max(compared(path, {name: golden["photo"]}).values()) < 1e-5


@pytest.mark.parametrize(
    ("file", "limit"), [("vww_96_float.tflite", 1e-5), ("vww_96_int8.tflite", 0.01), ("kws_ref_model.tflite", 0.02)]
)
def test_parity_with_litert_on_float_and_integer_files(models: Path, file: str, limit: float) -> None:
    with open_engine(models / file) as engine:
        (info,) = engine.inputs
    shape = [size or 1 for size in info.shape]
    feeds: dict[str, Array] = {info.name: np.random.default_rng(0).random(shape, np.float32)}
    assert max(compared(models / file, feeds).values()) < limit


def test_it_says_what_runs(models: Path) -> None:
    with OpenVinoEngine(models / "vww_96_float.tflite", threads=1) as engine:
        assert engine.threads == 1
        assert engine.version.startswith("202")
        assert "-" not in engine.version


def test_answers_survive_the_next_run_and_any_batch(models: Path) -> None:
    with OpenVinoEngine(models / "vww_96_float.tflite", threads=1) as engine:
        pictures = np.random.default_rng(0).random((3, 96, 96, 3), np.float32)
        (first,) = engine.run({"input_1": pictures[:1]}).values()
        kept = first.copy()
        (all_,) = engine.run({"input_1": pictures}).values()
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_allclose(all_[:1], kept, rtol=1e-4)
        assert all_.shape == (3, 2)
    with pytest.raises(RuntimeError, match="closed"):
        engine.run({"input_1": pictures})


def integer_model(path: Path, metadata: str) -> Path:
    """Write ``y = x`` of int8, with metadata that gives its scale."""
    value = helper.make_tensor_value_info
    x, y = value("x", TensorProto.INT8, [1, 4]), value("y", TensorProto.INT8, [1, 4])
    graph = helper.make_graph([helper.make_node("Max", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {ONNX_IO_METADATA: metadata})
    onnx.save(model, path)
    return path


def test_integers_of_an_onnx_file_come_with_their_metadata(tmp_path: Path) -> None:
    scales = '{"x": {"scale": 0.5, "zero_point": -1}, "y": {"scale": 0.25, "zero_point": 0}}'
    path = integer_model(tmp_path / "model.onnx", scales)
    feeds = {"x": np.array([[0.0, 1.0, -2.0, 3.5]], np.float32)}
    with OpenVinoEngine(path) as mine, open_engine(path) as theirs:
        assert (mine.inputs, mine.outputs) == (theirs.inputs, theirs.outputs)
        np.testing.assert_array_equal(mine.run(feeds)["y"], theirs.run(feeds)["y"])


def test_damaged_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="has a scale that is not positive"):
        OpenVinoEngine(integer_model(tmp_path / "model.onnx", '{"x": {"scale": 0, "zero_point": 0}}'))


def test_integers_whose_scale_is_not_shown_are_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SINGLE", ())
    with pytest.raises(ModelRefused, match=r"does not tell the scale .*'input_1_int8'.*\n  remedy: .*--engine litert"):
        OpenVinoEngine(models / "vww_96_int8.tflite")


@pytest.mark.parametrize("file", ["FastestDet.onnx", "vww_96_float.tflite"])
def test_a_truncated_file_is_refused_with_its_size(models: Path, tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.write_bytes((models / file).read_bytes()[:1000])
    with pytest.raises(ModelRefused, match=r"OpenVINO cannot load .* \(1000 bytes\): \S") as caught:
        OpenVinoEngine(path)
    assert "src/" not in caught.value.received
    assert "--engine" in (caught.value.remedy or "")


def test_nobody_is_told_of_a_model_that_is_read(models: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom edgekit_runtimes.engines.openvino import OpenVinoEngine\n"
        "os.register_at_fork(before=lambda: print('forked', flush=True))\n"
        "OpenVinoEngine(Path(sys.argv[1])).close()\nprint(sys.modules['openvino_telemetry'])"
    )
    words = [sys.executable, "-c", script, str(models / "vww_96_float.tflite")]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["None"]


def test_external_data_elsewhere_is_refused(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    value = helper.make_tensor_value_info
    x, y = value("x", TensorProto.FLOAT, [4]), value("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelRefused, match="outside the model's folder"):
        OpenVinoEngine(tmp_path / "model.onnx")


def test_an_error_of_the_library_while_running_is_told(models: Path) -> None:
    class Failing:
        def infer(self, _: object) -> None:
            raise RuntimeError("out of memory")

    with OpenVinoEngine(models / "vww_96_float.tflite", threads=1) as engine:
        engine._request = Failing()
        with pytest.raises(DataRefused, match=r"OpenVINO cannot run vww_96_float\.tflite .*out of memory"):
            engine.run({"input_1": np.zeros((1, 96, 96, 3), np.float32)})


def test_without_the_library_the_extra_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgekit-ai\[openvino\]'"):
        OpenVinoEngine(models / "vww_96_float.tflite")
