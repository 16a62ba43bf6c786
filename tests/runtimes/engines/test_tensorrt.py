"""Engines of TensorRT: precision, options, where they are kept, and what is said while they are built."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.errors import EnvironmentFault, ModelRefused
from edgekit_runtimes.doctor import models
from edgekit_runtimes.engines import nvidia
from edgekit_runtimes.engines.nvidia import Gpu
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine
from edgekit_runtimes.engines.providers import PROVIDERS
from edgekit_runtimes.engines.tensorrt import NO_TF32, engine_cache, prepare
from tests.runtimes.engines.elsewhere import Elsewhere
from tests.runtimes.engines.quantized import network, pictures

ORIN = Gpu("Orin", "8.7")


def test_an_engine_is_kept_and_its_building_told(
    elsewhere: type[Elsewhere], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    OnnxRuntimeEngine(tiny, provider="tensorrt:1")
    (name, options), cuda = elsewhere.sessions[0].providers
    folder = Path(options["trt_engine_cache_path"])
    assert (name, options["device_id"]) == (PROVIDERS["tensorrt"], "1")
    assert cuda == (PROVIDERS["cuda"], {"device_id": "1", "use_tf32": "0"})
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert folder.is_relative_to(tmp_path / "cache" / "edgekit" / "tensorrt")
    begun, ended = capsys.readouterr().err.splitlines()
    engine = "the fp32 TensorRT engine of tiny.onnx"
    assert begun == f"building {engine}, this can take minutes; it is kept in {folder}"
    assert ended == f"built {engine} in 0 s"
    OnnxRuntimeEngine(tiny, provider="tensorrt:1")
    assert elsewhere.sessions[1].providers == elsewhere.sessions[0].providers
    assert capsys.readouterr().err == ""


def test_an_engine_that_is_built_by_the_first_run_is_told_then(
    elsewhere: type[Elsewhere], tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.builds = "run"
    with OnnxRuntimeEngine(tiny, provider="tensorrt") as engine:
        capsys.readouterr()
        engine.run({"x": models.picture()})
        assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["building", "built"]
        engine.run({"x": models.picture()})
        assert capsys.readouterr().err == ""


def test_an_int8_file_becomes_an_int8_engine_from_its_own_scales(
    elsewhere: type[Elsewhere], small: tuple[Path, Path]
) -> None:
    before, after = small
    with OnnxRuntimeEngine(after, provider="tensorrt") as engine:
        (session,) = elsewhere.sessions
        options = session.providers[0][1]
        inputs = pictures(4)
        found = np.concatenate([engine.run({"x": each})["y"] for each in inputs])
    assert options["trt_int8_enable"] == "1"
    # ONNX Runtime: no table beside Q/DQ nodes. Half precision was not what the conversion proved.
    assert not {"trt_int8_calibration_table_name", "trt_fp16_enable"} & set(options)
    assert isinstance(session.model, bytes)
    zero = {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(session.model).graph.initializer}
    assert {array.dtype.name for array in zero.values()} <= {"int8", "float32", "int64"}
    with OnnxRuntimeEngine(before) as engine:
        wanted = np.concatenate([engine.run({"x": each})["y"] for each in inputs])
    assert np.linalg.norm(found - wanted) < 0.05 * np.linalg.norm(wanted)


def test_weights_beside_the_file_are_found(
    elsewhere: type[Elsewhere], small: tuple[Path, Path], tmp_path: Path
) -> None:
    after = small[1]
    model = onnx.load(str(after))
    path = tmp_path / "outside.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="outside.bin", size_threshold=16)
    with OnnxRuntimeEngine(after, provider="tensorrt") as engine:
        wanted = engine.run({"x": pictures(1)[0]})["y"]
    with OnnxRuntimeEngine(path, provider="tensorrt") as engine:
        np.testing.assert_array_equal(engine.run({"x": pictures(1)[0]})["y"], wanted)
    assert elsewhere.sessions[-1].model != str(path)


def test_a_half_precision_file_gets_half_precision(elsewhere: type[Elsewhere], tmp_path: Path) -> None:
    """TensorRT refuses it otherwise: fp16 precision has been set for a layer, but is not configured in the builder."""
    from onnxruntime.transformers import float16

    path = tmp_path / "small.fp16.onnx"
    onnx.save(float16.convert_float_to_float16(network(), keep_io_types=True), str(path))
    OnnxRuntimeEngine(path, provider="tensorrt")
    options = elsewhere.sessions[0].providers[0][1]
    assert options["trt_fp16_enable"] == options["trt_layer_norm_fp32_fallback"] == "1"
    assert "trt_int8_enable" not in options


def test_float32_is_not_rounded_to_tf32(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(NO_TF32, "1")
    prepare(tiny, "1.0", "0")
    assert os.environ[NO_TF32] == "1"  # whoever sets it is heard
    monkeypatch.delenv(NO_TF32)
    build = prepare(tiny, "1.0", "0")
    assert os.environ[NO_TF32] == "0"
    assert build.precision == "fp32"
    assert not {"trt_fp16_enable", "trt_int8_enable"} & set(build.options)


def test_an_engine_is_not_used_for_other_weights_another_version_or_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.onnx"
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    value = helper.make_tensor_value_info
    x, y = value("x", TensorProto.FLOAT, [4]), value("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    folders = set()
    for weights in (0, 1):
        np.full(4, weights, np.float32).tofile(tmp_path / "w.bin")
        folders |= {engine_cache(path, version, device) for version in ("1.0", "1.1") for device in ("0", "1")}
    assert len(folders) == 8
    assert engine_cache(path, "1.0", "0") in folders


def test_an_engine_is_not_used_on_another_gpu_or_by_another_tensorrt(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = []
    for gpu, version in ((ORIN, "10.3.0"), (ORIN, "10.4.0"), (Gpu("Orin", "8.6"), "10.3.0"), (None, None)):
        monkeypatch.setattr(nvidia, "gpu", lambda index, gpu=gpu: gpu)
        monkeypatch.setattr(nvidia, "tensorrt_version", lambda version=version: version)
        folders.append(engine_cache(tiny, "1.0", "0"))
    assert len(set(folders)) == 4


def test_a_cache_that_cannot_be_made_is_told(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(EnvironmentFault, match=r"the cache folder .* cannot be made: .*\n  remedy: .*XDG_CACHE_HOME"):
        engine_cache(tiny, "1.0", "0")


def test_a_damaged_file_is_the_files_fault(elsewhere: type[Elsewhere], tiny: Path) -> None:
    tiny.write_bytes(models.ONNX[:-20])
    with pytest.raises(ModelRefused, match=r"tiny\.onnx .* is damaged"):
        OnnxRuntimeEngine(tiny, provider="tensorrt")


def test_an_engine_that_could_not_be_built_is_told(
    elsewhere: type[Elsewhere], tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.fails = {PROVIDERS["tensorrt"]: "TensorRT EP failed to create engine from network."}
    with pytest.raises(EnvironmentFault, match=r"cannot run tiny\.onnx here: TensorRT EP failed to create engine"):
        OnnxRuntimeEngine(tiny, provider="tensorrt")
    assert "could not build the fp32 TensorRT engine of tiny.onnx in" in capsys.readouterr().err


@pytest.mark.parametrize(("short", "runs"), [("tensorrt", "cuda"), ("cuda", "cpu")])
def test_another_provider_in_its_place_is_refused(
    elsewhere: type[Elsewhere], tiny: Path, short: str, runs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.absent = frozenset({PROVIDERS[short]})
    wanted = f"ONNX Runtime runs on {PROVIDERS[runs]} instead of {PROVIDERS[short]}"
    with pytest.raises(EnvironmentFault, match=wanted) as caught:
        OnnxRuntimeEngine(tiny, provider=short)
    assert "edgekit doctor" in (caught.value.remedy or "")
    assert "built" not in capsys.readouterr().err.replace("could not build", "")
