"""ONNX Runtime on real files, broken ones and ones that reach outside their folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as library_errors

from edgekit.errors import DataRefused, EnvironmentFault, MissingExtra, ModelRefused
from edgekit_runtimes.engines.external_data import check_external_data
from edgekit_runtimes.engines.onnxruntime import OnnxRuntimeEngine
from edgekit_runtimes.engines.providers import CPU

ERRORS = sorted(
    (
        kind
        for kind in vars(library_errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__.startswith("onnxruntime")
    ),
    key=lambda kind: kind.__name__,
)


def external_model(path: Path, location: str, *, count: int = 16, nested: bool = False, **entries: int) -> None:
    """Write ``y = x + w`` whose ``w`` lies in another file; `nested` puts it inside an If branch."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[count], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    value = helper.make_tensor_value_info
    x, y = value("x", TensorProto.FLOAT, [count]), value("y", TensorProto.FLOAT, [count])
    add = helper.make_node("Add", ["x", "w"], ["y"])
    if nested:
        branch = helper.make_graph([add], "branch", [], [y], [tensor])
        flag = helper.make_tensor("flag", TensorProto.BOOL, [], [True])
        choose = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([choose], "graph", [x], [y], [flag])
    else:
        graph = helper.make_graph([add], "graph", [x], [y], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def scalar_model(path: Path) -> None:
    """Write ``y = x * 2`` on a dynamic batch of int64."""
    value = helper.make_tensor_value_info
    two = helper.make_tensor("two", TensorProto.INT64, [], [2])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        "graph",
        [value("x", TensorProto.INT64, ["batch", 3])],
        [value("y", TensorProto.INT64, ["batch", 3])],
        [two],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def test_runs_a_real_network(models: Path) -> None:
    with OnnxRuntimeEngine(models / "FastestDet.onnx", threads=1) as engine:
        assert [(info.name, info.shape, info.dtype) for info in engine.inputs] == [
            ("input.1", (1, 3, 352, 352), "float32")
        ]
        outputs = engine.run({"input.1": np.full((1, 3, 352, 352), 0.5, np.float32)})
        assert engine.provider == CPU
        assert engine.version.startswith("1.")
    assert outputs["758"].shape == (1, 85, 22, 22)
    assert np.isfinite(outputs["758"]).all()


def test_a_dynamic_batch_of_integers(tmp_path: Path) -> None:
    scalar_model(tmp_path / "double.onnx")
    with OnnxRuntimeEngine(tmp_path / "double.onnx") as engine:
        assert engine.inputs[0].shape == (None, 3)
        outputs = engine.run({"x": np.arange(6, dtype=np.int32).reshape(2, 3)})
    np.testing.assert_array_equal(outputs["y"], [[0, 2, 4], [6, 8, 10]])


@pytest.mark.parametrize("keep", [0.0, 0.5, -1])
def test_a_truncated_file_is_refused_with_its_size(models: Path, tmp_path: Path, keep: float) -> None:
    data = (models / "FastestDet.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[:-1] if keep == -1 else data[: int(len(data) * keep)])
    with pytest.raises(ModelRefused, match=rf"cut\.onnx.*\({path.stat().st_size} bytes\)"):
        OnnxRuntimeEngine(path)


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    np.arange(16, dtype=np.float32).tofile(tmp_path / "w.bin")
    external_model(tmp_path / "model.onnx", "w.bin", offset=0, length=64)
    with OnnxRuntimeEngine(tmp_path / "model.onnx") as engine:
        outputs = engine.run({"x": np.ones(16, np.float32)})
    np.testing.assert_array_equal(outputs["y"], np.arange(16) + 1)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("location", "cause"),
    [
        ("../secret.bin", "outside the model's folder"),
        ("/etc/hostname", "outside the model's folder"),
        ("C:\\secret.bin", "outside the model's folder"),
        ("", "outside the model's folder"),
        ("link.bin", "a symbolic link"),
        ("linked/secret.bin", "a symbolic link"),
        ("none.bin", "missing"),
        ("short.bin", "too short: 60 of 64 bytes"),
    ],
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str, cause: str, nested: bool) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    np.arange(16, dtype=np.float32).tofile(tmp_path / "secret.bin")
    np.arange(15, dtype=np.float32).tofile(folder / "short.bin")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    external_model(folder / "model.onnx", location, length=64, nested=nested)
    with pytest.raises(ModelRefused, match=rf"model\.onnx: the external data .* of tensor 'w' is {cause}"):
        OnnxRuntimeEngine(folder / "model.onnx")


def test_external_data_shorter_than_the_tensor_is_refused(tmp_path: Path) -> None:
    np.arange(4, dtype=np.float32).tofile(tmp_path / "w.bin")
    external_model(tmp_path / "model.onnx", "w.bin")  # says nothing of its length: only the runtime can tell
    with pytest.raises(ModelRefused, match=r"ONNX Runtime cannot load .*model\.onnx"):
        OnnxRuntimeEngine(tmp_path / "model.onnx")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_models_end_in_a_refusal_or_in_silence(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "model.onnx"
    np.arange(16, dtype=np.float32).tofile(tmp_path / "w.bin")
    external_model(path, "w.bin", nested=True)
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for at in random.integers(0, len(data), 4):
        data[at] = random.integers(256)
    path.write_bytes(data)
    try:
        check_external_data(path)
    except ModelRefused as error:
        assert "model.onnx" in str(error)  # noqa: PT017


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_no_error_of_the_library_escapes(models: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    import onnxruntime

    def fail(*_: object, **__: object) -> None:
        raise kind("of the library")

    with OnnxRuntimeEngine(models / "FastestDet.onnx", threads=1) as engine:
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
        with pytest.raises(DataRefused, match=r"cannot run FastestDet.onnx .*of the library"):
            engine.run({"input.1": np.zeros((1, 3, 352, 352), np.float32)})
    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(ModelRefused, match=r"cannot load .*FastestDet.onnx .*of the library"):
        OnnxRuntimeEngine(models / "FastestDet.onnx")


def test_a_provider_that_is_not_there_is_refused(models: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"has no CUDAExecutionProvider; expected .*CPUExecutionProvider"):
        OnnxRuntimeEngine(models / "FastestDet.onnx", provider="CUDAExecutionProvider")


def test_another_provider_than_the_one_asked_for_is_an_error(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def other(_: Any) -> list[str]:
        return ["SlowExecutionProvider", CPU]

    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", other)
    with pytest.raises(EnvironmentFault, match="runs on SlowExecutionProvider instead of CPUExecutionProvider"):
        OnnxRuntimeEngine(models / "FastestDet.onnx")


def test_without_the_library_the_extra_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgekit-ai\[onnxruntime\]'"):
        OnnxRuntimeEngine(models / "FastestDet.onnx")
