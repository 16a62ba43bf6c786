from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import ModelRefused, SpecRefused, UsageError
from edgekit_converters.sources import Source, open_source
from edgekit_converters.targets import ExportOptions, export


@pytest.fixture(scope="module")
def artifact(torch_source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "net.onnx"
    export(torch_source, "onnx", path)
    return path


def test_an_artifact_is_copied_to_its_own_format(artifact: Path, tmp_path: Path) -> None:
    with open_source(artifact) as source:
        exported = export(source, "onnx", tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx").read_bytes() == artifact.read_bytes()
    assert exported.inputs == ("picture", "ids")
    assert exported.outputs == ("zeta", "alpha", "maps")


def test_an_artifact_is_not_turned_into_another_format(artifact: Path, tmp_path: Path) -> None:
    with open_source(artifact) as source, pytest.raises(ModelRefused, match="cannot be converted to TFLite") as refused:
        export(source, "tflite", tmp_path / "net.tflite")
    assert "--to onnx" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_keeps_its_layout(artifact: Path, tmp_path: Path) -> None:
    with open_source(artifact) as source, pytest.raises(SpecRefused, match="expected NCHW, as the ONNX file has it"):
        export(source, "onnx", tmp_path / "net.onnx", ExportOptions(layouts={"picture": "NHWC"}))


def test_an_unknown_format_is_a_usage_error(torch_source: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target 'coreml'; expected tflite or onnx"):
        export(torch_source, "coreml", tmp_path / "net.coreml")


def test_a_layout_for_an_input_that_is_no_image_is_refused(torch_source: Source, tmp_path: Path) -> None:
    with pytest.raises(SpecRefused, match="layout NHWC for input 'ids'"):
        export(torch_source, "tflite", tmp_path / "net.tflite", ExportOptions(layouts={"ids": "NHWC"}))
