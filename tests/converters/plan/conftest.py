"""A classifier that is converted in a second, and the command that plans for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.cli import main

Plan = Callable[..., "tuple[int, str, str]"]


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .onnx file that tells red, green and blue photos of 32 x 32 pixels from others, by their mean colours."""
    value, make = helper.make_tensor_value_info, numpy_helper.from_array
    filters = np.zeros((6, 3, 3, 3), np.float32)
    for channel in range(3):
        filters[2 * channel : 2 * channel + 2, :, 1, 1] = -0.5
        filters[2 * channel : 2 * channel + 2, channel, 1, 1] = 1.0
    weights = np.zeros((6, 4), np.float32)
    for channel in range(3):
        weights[2 * channel : 2 * channel + 2, channel] = 4.0
    weights += 0.01 * np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["photo", "filters"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes, "colours",
        [value("photo", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [value("scores", TensorProto.FLOAT, ["batch", 4])],
        [make(filters, "filters"), make(weights, "weights"), make(np.array([0, 0, 0, 1], np.float32), "bias")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = tmp_path_factory.mktemp("colours") / "colours.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def plan_words(colour_model: Path, colour_photos: list[Path]) -> list[str]:
    """The command's words but for the budget and the folder; measuring takes a moment."""
    words = [str(colour_model), "--preset", "unit", "--calibration", str(colour_photos[0].parent), "--to", "onnx"]
    words += ["--recipe", "fp32", "--recipe", "int8", "--effort", "low", "--engine", "onnxruntime", "--threads", "1"]
    return [*words, "--rounds", "1", "--seconds", "0.01"]


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str]) -> Plan:
    """Run the command in this process; measuring goes to child processes all the same."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["plan", *map(str, words)])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run
