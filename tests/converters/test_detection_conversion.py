"""A head that puts boxes in pixels and scores 0..1 into one output, as YOLO does, from conversion to boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgekit
from edgekit.bundle import Bundle
from edgekit.presets import preset
from edgekit.tasks.object_detection import Detections
from edgekit_converters.api import build_request
from edgekit_converters.convert import convert
from edgekit_converters.progress import Silent

SIDE, CELLS, CLASSES = 64, 64, 3


def head(path: Path) -> Path:
    """Bright squares of one colour become boxes of 16 pixels: cells of 8 x 8 pixels say where and which colour."""
    colour = np.zeros((CLASSES, 3, 8, 8), np.float32)
    for number in range(CLASSES):
        colour[number] = -4.0 / 64
        colour[number, number] = 8.0 / 64
    mean = np.full((4, 3, 8, 8), 0.02 / 64, np.float32)
    rows, columns = np.mgrid[0:8, 0:8].reshape(2, -1).astype(np.float32) * 8 + 4
    place = np.stack([columns, rows, np.full(CELLS, 16.0), np.full(CELLS, 16.0)])[None].astype(np.float32)
    constants = {
        "colour": colour, "bias": np.full(CLASSES, -3, np.float32), "mean": mean, "place": place,
        "to_scores": np.array([1, CLASSES, CELLS]), "to_boxes": np.array([1, 4, CELLS]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["images", "colour", "bias"], ["logits"], name="scores", strides=[8, 8]),
        helper.make_node("Conv", ["images", "mean"], ["nudges"], name="boxes", strides=[8, 8]),
        helper.make_node("Reshape", ["logits", "to_scores"], ["flat_logits"], name="flat_scores"),
        helper.make_node("Reshape", ["nudges", "to_boxes"], ["flat_nudges"], name="flat_boxes"),
        helper.make_node("Sigmoid", ["flat_logits"], ["shares"], name="sigmoid"),
        helper.make_node("Add", ["flat_nudges", "place"], ["corners"], name="add"),
        helper.make_node("Concat", ["corners", "shares"], ["output0"], name="both", axis=1),
    ]
    graph = helper.make_graph(
        nodes, "head",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + CLASSES, CELLS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def scenes(folder: Path, count: int = 12) -> Path:
    """Photos with coloured squares upon cells, and their boxes as YOLO text."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        photo = rng.integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
        lines = []
        for cell in rng.choice(16, 3, replace=False):  # far enough from each other
            y, x, kind = int(cell // 4) * 16, int(cell % 4) * 16, int(rng.integers(CLASSES))
            photo[y : y + 8, x : x + 8] = rng.integers(0, 40, (8, 8, 3))
            photo[y : y + 8, x : x + 8, kind] = rng.integers(200, 256, (8, 8))
            lines.append(f"{kind} {(x + 4) / SIDE} {(y + 4) / SIDE} {16 / SIDE} {16 / SIDE}")
        cv2.imwrite(str(folder / f"{number}.png"), photo[..., ::-1])
        (folder / f"{number}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("head")
    photos = scenes(folder / "photos")
    request = build_request(
        head(folder / "head.onnx"), folder / "head.bundle", to=("onnx",), recipes=("fp32", "int8"), preset=None,
        spec=preset("yolov8").replace(labels=("red", "green", "blue")), calibration=photos, evaluation=photos,
        effort="low",
    )  # fmt: skip
    return convert(request, Silent())[0]


def test_scores_survive_beside_boxes_in_pixels(bundle: Bundle) -> None:
    """Under one int8 scale for both, a step would be a quarter: scores of 0.9 and 0.8 would be the same."""
    photo = bundle.path.parent / "photos" / "0.png"
    outputs = {}
    for recipe in ("fp32", "int8"):
        with edgekit.load(bundle.path, recipe=recipe) as predictor:
            outputs[recipe] = predictor.runner.run(predictor.task.encode(photo))["output0"][0]
    scores, rounded = outputs["fp32"][4:], outputs["int8"][4:]
    assert scores.max() > 0.6
    assert np.abs(rounded - scores).max() < 0.05
    assert np.abs(outputs["int8"][:4] - outputs["fp32"][:4]).max() < 0.5


def test_parity_is_that_of_boxes(bundle: Bundle) -> None:
    for artifact in bundle.artifacts:
        agreement, metric = artifact.parity.agreement, artifact.parity.metric
        assert agreement is not None
        assert agreement.value == 1.0
        assert metric is not None
        assert (metric.name, metric.total) == ("mAP50", 12)
        assert metric.value == pytest.approx(1.0)


def test_boxes_of_a_photo(bundle: Bundle) -> None:
    photo = bundle.path.parent / "photos" / "1.png"
    with edgekit.load(bundle.path) as predictor:
        found = predictor.predict(photo)
    assert isinstance(found, Detections)
    want = sorted(line.split()[0] for line in photo.with_suffix(".txt").read_text().splitlines())
    assert sorted(str(one.index) for one in found.objects) == want
    assert {one.name for one in found.objects} <= {"red", "green", "blue"}
