"""`edgekit inspect` as people and machines see it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgekit.binding import Binding
from edgekit.bundle import Artifact, Manifest, write_golden, write_manifest
from edgekit.errors import BundleRefused, MissingExtra, ModelRefused
from edgekit.metrics import Proportion
from edgekit.parity import OutputParity, Parity
from edgekit.spec import Spec, TensorSpec
from edgekit_converters.inspection import inspector
from edgekit_converters.inspection.cli import inspect

Write = Callable[..., Path]


def shown(*arguments: str | Path, columns: int = 80) -> Result:
    return CliRunner().invoke(inspect, [str(item) for item in arguments], env={"COLUMNS": str(columns)})


@pytest.fixture
def dense(tflite_file: Write, t: Any, op: Any) -> Path:
    tensors = [t("x", (1, 10)), t("w", (4, 10), values=np.zeros((4, 10), np.float32)), t("y", (1, 4))]
    return tflite_file(tensors, [op("FULLY_CONNECTED", [0, 1], [2])], [0], [2])


@pytest.fixture
def bundle(dense: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "dense"
    folder.mkdir()
    (folder / "dense.fp32.tflite").write_bytes(dense.read_bytes())
    parity = Parity(20, (OutputParity("y", 3.2e-7, 1.0, 1e-6),), Proportion(19, 20), Proportion(17, 20))
    artifact = Artifact(
        file="dense.fp32.tflite",
        format="tflite",
        recipe="fp32",
        bytes=dense.stat().st_size,
        inputs=(Binding("x", "x", (1, 10), "float32"),),
        outputs=(Binding("y", "y", (1, 4), "float32"),),
        parity=parity,
        golden=parity,
        latency_ms=0.25,
        notes=("the last layer stayed in float",),
    )
    spec = Spec(inputs=(TensorSpec("x", (None, 10)),), outputs=(TensorSpec("y", (None, 4)),))
    source = {"framework": "keras", "file": "dense.keras", "bytes": 2 * artifact.bytes}
    write_golden(folder, {"x": np.zeros((1, 10), np.float32)}, {"y": np.zeros((1, 4), np.float32)})
    write_manifest(folder, Manifest("dense", spec, (artifact,), source=source, tools={"tensorflow": "2.21.0"}))
    return folder


def test_a_person_sees_the_essentials_within_80_columns(realpack: Path) -> None:
    result = shown(realpack / "models" / "ref" / "mobilenet_v2_1.0_224_quant.tflite")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    words = re.sub(r"\s+", " ", result.output)
    for fact in (
        "3.61 MB · 3.489 M parameters · 300.8 M MACs",
        "input 1 x 224 x 224 x 3 uint8 0.0078125 128",
        "CONV_2D 36 280.1 M 93.1 %",
        "uint8 x uint8 per tensor 53 300.8 M 100.0 %",
        "weights uint8 3.47 MB 96.1 %",
        "min_runtime_version 1.5.0",
    ):
        assert fact in words


def test_json_carries_the_same(dense: Path) -> None:
    raw = json.loads(shown("--json", dense).output)
    assert (raw["format"], raw["macs"], raw["parameters"]) == ("tflite", 40, 40)
    assert raw["inputs"] == [{"name": "x", "shape": [1, 10], "dtype": "float32", "scale": None, "zero_point": 0}]
    work = {"macs": 40, "weight_bytes": 4 * 40, "traffic_bytes": 4 * (40 + 10 + 4)}
    assert raw["operators"] == [{"name": "FULLY_CONNECTED", "count": 1, "custom": False, **work}]
    assert raw["resources"]["operators"] == [{"name": "y", "kind": "FULLY_CONNECTED", "int8": False, **work}]
    assert raw["resources"]["peak_activation_bytes"] == 4 * (10 + 4)
    assert raw["custom_operators"] == []


def test_a_scale_that_is_no_number_is_shown_and_json_stays_valid(tflite_file: Write, t: Any, op: Any) -> None:
    tensors = [t("x", (1, 4), "INT8", scales=(float("nan"),)), t("y", (1, 4), "INT8", scales=(1.0,))]
    path = tflite_file(tensors, [op("RELU", [0], [1])], [0], [1])
    assert json.loads(shown("--json", path).output)["inputs"][0]["scale"] == "nan"


def test_names_cannot_command_the_terminal(tflite_file: Write, t: Any, op: Any) -> None:
    tensors = [t("\x1b[2Jx\x07[red]", (1, 4)), t("y", (1, 4))]
    output = shown(tflite_file(tensors, [op("RELU", [0], [1])], [0], [1])).output
    assert "?[2Jx?[red]" in output
    assert "\x1b[2J" not in output
    assert "\x07" not in output


def test_a_bundle_shows_manifest_parity_and_each_artifact(bundle: Path) -> None:
    result = shown(bundle)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    words = re.sub(r"\s+", " ", result.output)
    for fact in (
        "framework keras, file dense.keras",
        "tensorflow 2.21.0",
        "0.50 3.2e-07 95.0 % 85.0 % 0.25",
        "dense.fp32.tflite: the last layer stayed in float",
        "40 parameters · 40 MACs",
    ):
        assert fact in words


def test_a_bundle_as_json(bundle: Path) -> None:
    raw = json.loads(shown("--json", bundle).output)
    assert raw["manifest"]["artifacts"][0]["parity"]["agreement"]["successes"] == 19
    assert [item["file"] for item in raw["artifacts"]] == ["dense.fp32.tflite"]
    assert raw["unread"] == {}


def test_a_damaged_bundle_is_refused(bundle: Path) -> None:
    path = bundle / "dense.fp32.tflite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert isinstance(shown(bundle).exception, BundleRefused)


def test_a_bundle_is_shown_where_a_library_for_an_artifact_is_missing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: Path) -> None:
        raise MissingExtra(f"inspecting {path.name} needs onnx", remedy="pip install 'edgekit-ai[convert]'")

    monkeypatch.setattr(inspector, "inspect_artifact", missing)
    result = shown(bundle)
    assert result.exit_code == 0
    assert "dense.fp32.tflite was not read: inspecting dense.fp32.tflite needs onnx" in result.output


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    assert isinstance(shown(tmp_path / name).exception, ModelRefused)


def test_another_kind_of_file_and_of_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    assert isinstance(shown(tmp_path / "model.pt").exception, ModelRefused)
    assert isinstance(shown(tmp_path).exception, BundleRefused)


def test_the_command_exits_with_3_and_one_line_for_a_truncated_file(
    edgekit_command: Callable[..., Any], dense: Path
) -> None:
    dense.write_bytes(dense.read_bytes()[:200])
    result = edgekit_command("inspect", dense)
    assert result.returncode == 3
    assert result.stdout == ""
    assert "model.tflite (200 bytes) is truncated or damaged" in result.stderr
    assert "remedy" in result.stderr
    assert "Traceback" not in result.stderr
