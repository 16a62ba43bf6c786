"""LiteRT on real files and broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekit.engine import Array
from edgekit.errors import DataRefused, EnvironmentFault, MissingExtra, ModelRefused, UsageError
from edgekit_runtimes.engines import litert
from edgekit_runtimes.engines.litert import LiteRTEngine
from edgekit_runtimes.engines.native_log import without_native_info

RANDOM = np.random.default_rng(7)


def stored_output(path: Path, stored: Array) -> Array:
    """Run the bare interpreter on stored integers."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], stored)
    interpreter.invoke()
    result: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return result


@pytest.mark.parametrize(
    ("name", "dtype"), [("mobilenet_v2_1.0_224_quant.tflite", "uint8"), ("kws_ref_model.tflite", "int8")]
)
def test_quantized_files_take_and_give_floats(models: Path, name: str, dtype: str) -> None:
    with LiteRTEngine(models / name, threads=1) as engine:
        (entry,), (result,) = engine.inputs, engine.outputs
        assert (entry.dtype, result.dtype) == (dtype, dtype)
        assert entry.scale is not None
        shape = [size or 1 for size in entry.shape]
        limits = np.iinfo(dtype)
        stored = RANDOM.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        outputs = engine.run({entry.name: (stored.astype(np.float32) - entry.zero_point) * np.float32(entry.scale)})
    expected = stored_output(models / name, stored)
    assert outputs[result.name].dtype == np.float32
    np.testing.assert_array_equal(outputs[result.name], result.dequantize(expected))


def test_declares_what_the_file_declares(models: Path) -> None:
    with LiteRTEngine(models / "ad01_int8.tflite") as engine:
        assert [(info.name, info.shape, info.dtype) for info in engine.inputs] == [("input_1", (None, 640), "int8")]
        assert engine.inputs[0].zero_point == 89
        assert engine.inputs[0].scale == pytest.approx(0.39101523)
        assert engine.outputs[0].shape == (None, 640)
        assert engine.version.startswith("2.")


def test_integer_outputs_without_scale_stay_integers(models: Path) -> None:
    with LiteRTEngine(models / "deeplabv3_mnv2_dm05_pascal_quant.tflite") as engine:
        (entry,) = engine.inputs
        outputs = engine.run({entry.name: np.zeros((1, 513, 513, 3), np.float32)})
    assert outputs["ArgMax"].dtype == np.int64


def test_a_dynamic_batch_follows_the_inputs(models: Path) -> None:
    with LiteRTEngine(models / "vww_96_float.tflite", threads=1) as engine:
        batch = RANDOM.random((3, 96, 96, 3), np.float32)
        together = engine.run({"input_1": batch})["Identity"]
        apart = [engine.run({"input_1": batch[i : i + 1]})["Identity"] for i in range(3)]
    assert together.shape == (3, 2)
    np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-5)


def test_layout_is_renewed_only_when_shapes_change(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocated: list[Interpreter] = []
    original = Interpreter.allocate_tensors

    def allocate(self: Interpreter) -> None:
        allocated.append(self)
        original(self)

    monkeypatch.setattr(Interpreter, "allocate_tensors", allocate)
    with LiteRTEngine(models / "vww_96_float.tflite", threads=1) as engine:
        for batch in (1, 1, 2, 2, 1):
            engine.run({"input_1": np.zeros((batch, 96, 96, 3), np.float32)})
    assert len(allocated) == 3


def test_outputs_survive_the_next_run(models: Path) -> None:
    with LiteRTEngine(models / "vww_96_float.tflite", threads=1) as engine:
        first = engine.run({"input_1": np.zeros((1, 96, 96, 3), np.float32)})["Identity"]
        kept = first.copy()
        engine.run({"input_1": np.ones((1, 96, 96, 3), np.float32)})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("keep", [0.0, 0.5, -1])
def test_a_truncated_file_is_refused_with_its_size(models: Path, tmp_path: Path, keep: float) -> None:
    data = (models / "ad01_int8.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[:-1] if keep == -1 else data[: int(len(data) * keep)])
    with pytest.raises(ModelRefused, match=rf"cut\.tflite.*\({path.stat().st_size} bytes\)"):
        LiteRTEngine(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.tflite"
    path.write_bytes(b"not a model at all" * 20)
    with pytest.raises(ModelRefused, match=r"LiteRT cannot load .*notes\.tflite \(360 bytes\): .*Flatbuffer"):
        LiteRTEngine(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"none\.tflite does not exist"):
        LiteRTEngine(tmp_path / "none.tflite")


def test_no_threads_are_refused(models: Path) -> None:
    with pytest.raises(UsageError, match="0 threads; expected 1 or more"):
        LiteRTEngine(models / "ad01_int8.tflite", threads=0)


@pytest.mark.parametrize("method", ["invoke", "set_tensor", "get_tensor", "resize_tensor_input", "allocate_tensors"])
@pytest.mark.parametrize("kind", [ValueError, RuntimeError, TypeError, MemoryError])
def test_no_error_of_the_library_escapes(
    models: Path, monkeypatch: pytest.MonkeyPatch, method: str, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise kind("of the library")

    feeds = {"input_1": np.zeros((2, 96, 96, 3), np.float32)}
    with LiteRTEngine(models / "vww_96_float.tflite", threads=1) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Interpreter, method, fail)
            with pytest.raises(
                DataRefused, match=r"cannot run vww_96_float.tflite on inputs of shape .*of the library"
            ):
                engine.run(feeds)
        assert engine.run(feeds)["Identity"].shape == (2, 2)  # the failure left nothing behind


def test_repeated_tensor_names_are_numbered(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Interpreter.get_output_details
    monkeypatch.setattr(Interpreter, "get_output_details", lambda self: original(self) * 2)
    with LiteRTEngine(models / "vww_96_float.tflite", threads=1) as engine:
        outputs = engine.run({"input_1": np.zeros((1, 96, 96, 3), np.float32)})
    assert [info.name for info in engine.outputs] == ["Identity", "Identity#2"]
    np.testing.assert_array_equal(outputs["Identity"], outputs["Identity#2"])


def test_native_notes_are_dropped_and_everything_else_passes(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with without_native_info():
        os.write(2, b"INFO: Created a delegate.\nERROR: something real\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "ERROR: something real\nafter\n"


def test_opening_prints_nothing(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LiteRTEngine(models / "vww_96_float.tflite").close()
    assert capfd.readouterr() == ("", "")


def test_without_any_interpreter_the_extra_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert, "INTERPRETERS", ("no_such_package.interpreter",))
    with pytest.raises(MissingExtra, match=r"pip install 'edgekit-ai\[litert\]'"):
        LiteRTEngine(models / "ad01_int8.tflite")


def test_an_older_interpreter_serves_where_litert_is_not_installed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "older_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1.14'\n")
    (package / "interpreter.py").write_text("from ai_edge_litert.interpreter import Interpreter\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(litert, "INTERPRETERS", ("no_such_package.interpreter", "older_runtime.interpreter"))
    try:
        with LiteRTEngine(models / "ad01_int8.tflite") as engine:
            assert (engine.library, engine.version) == ("older_runtime", "1.14")
    finally:
        for name in ("older_runtime", "older_runtime.interpreter"):
            sys.modules.pop(name, None)


def test_a_broken_interpreter_is_not_replaced_in_silence(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_runtime").mkdir()
    (tmp_path / "broken_runtime" / "__init__.py").write_text("raise ImportError('libfoo.so: not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(litert, "INTERPRETERS", ("broken_runtime.interpreter", "ai_edge_litert.interpreter"))
    with pytest.raises(EnvironmentFault, match="broken_runtime is installed but cannot be imported: libfoo"):
        LiteRTEngine(models / "ad01_int8.tflite")


def test_the_old_runtime_beside_numpy_2_is_refused_before_it_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentFault, match=r"tflite-runtime was built for NumPy 1, and NumPy 2\.4\.6") as caught:
        litert._check_numpy("2.4.6")
    assert "edgekit-ai[tflite]" in (caught.value.remedy or "")
    litert._check_numpy("1.26.4")
    checked: list[str] = []
    monkeypatch.setattr(litert, "_check_numpy", checked.append)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "tflite_runtime" else None)
    monkeypatch.setattr("importlib.import_module", lambda name: name)
    assert litert._interpreter_module() == "tflite_runtime.interpreter"
    assert checked == [np.__version__]
