"""Each head against its published formula, written out place by place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import task_for
from edgekit.tasks.anchors import anchors_for
from edgekit.tasks.detection_options import DetectionOptions
from edgekit.tasks.object_detection import ObjectDetection
from edgekit.tasks.picture import PictureSize

Array = NDArray[Any]
Found = list[tuple[float, int, list[float]]]

SIZE = 64


def task(shapes: Mapping[str, tuple[int | None, ...]], labels: int = 0, **options: Any) -> ObjectDetection:
    """A detector with an input of 64 x 64 pixels; every overlap is allowed and everything is kept, unless said."""
    spec = Spec(
        task="object-detection",
        inputs=(TensorSpec("photo", (1, SIZE, SIZE, 3), layout="NHWC"),),
        outputs=tuple(TensorSpec(name, shape) for name, shape in shapes.items()),
        preprocess=Preprocess(),
        options={"iou": 1.0, "score": 0.3, **options},
        labels=tuple(f"class {number}" for number in range(labels)) or None,
    )
    found = task_for(spec)
    assert isinstance(found, ObjectDetection)
    return found


def decoded(detector: ObjectDetection, outputs: dict[str, Array]) -> Found:
    """Score, class and box of what is found in a photo of the input's size."""
    batch = {name: array[None].astype(np.float32) for name, array in outputs.items()}
    result = detector.decode(batch, [PictureSize(SIZE, SIZE)])[0]
    return [(one.score, one.index, list(one.box)) for one in result.objects]


def assert_same(got: Found, want: Found) -> None:
    """Boxes are cut at the photo's edge, and those outside are gone; the order is by score."""
    cut = [(s, c, [min(max(side, 0.0), float(SIZE)) for side in box]) for s, c, box in want]
    cut = sorted((one for one in cut if one[2][2] > one[2][0] and one[2][3] > one[2][1]), key=lambda one: -one[0])
    assert len(cut) > 3
    assert [one[1] for one in got] == [one[1] for one in cut]
    assert np.allclose([one[0] for one in got], [one[0] for one in cut], atol=1e-5)
    assert np.allclose([one[2] for one in got], [one[2] for one in cut], atol=1e-3)


def corners(x: float, y: float, wide: float, high: float) -> list[float]:
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(row: Array) -> list[float]:
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def places(count: int, channels: int, seed: int = 0) -> Array:
    """Rows of a centre, sizes and shares."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random((count, 2)) * SIZE, 4 + rng.random((count, 2)) * 30,
                           rng.random((count, channels - 4))], axis=1)  # fmt: skip


def test_yolov5_multiplies_objectness_and_class() -> None:
    rows = places(40, 8)
    want = []
    for x, y, wide, high, objectness, *scores in rows:
        best = max(range(3), key=lambda c: scores[c])
        if objectness * scores[best] > 0.3:
            want.append((objectness * scores[best], best, corners(x, y, wide, high)))
    assert_same(decoded(task({"out": (1, 40, 8)}, 3, head="yolov5"), {"out": rows}), want)


def yolov8_by_hand(rows: Array, unit: float = 1.0) -> Found:
    want = []
    for x, y, wide, high, *scores in rows:
        best = max(range(len(scores)), key=lambda c: scores[c])
        if scores[best] > 0.3:
            want.append((scores[best], best, [side * unit for side in corners(x, y, wide, high)]))
    return want


@pytest.mark.parametrize("labels", [0, 3])
def test_yolov8_in_either_order_of_axes(labels: int) -> None:
    rows = places(40, 7)
    want = yolov8_by_hand(rows)
    assert_same(decoded(task({"out": (1, 7, 40)}, labels, head="yolov8"), {"out": rows.T}), want)
    assert_same(decoded(task({"out": (1, 40, 7)}, labels, head="yolov8"), {"out": rows}), want)


def test_labels_tell_the_axes_apart_where_there_are_few_boxes() -> None:
    rows = places(5, 7)
    assert_same(decoded(task({"out": (1, 5, 7)}, 3, head="yolov8", score=0.0), {"out": rows}),
                [(max(row[4:]), int(np.argmax(row[4:])), corners(*row[:4])) for row in rows])  # fmt: skip


def test_yolov8_with_boxes_and_scores_apart_and_as_shares() -> None:
    rows = places(40, 7)
    rows[:, :4] /= SIZE
    want = yolov8_by_hand(rows, SIZE)
    apart = task({"s": (1, 3, 40), "b": (1, 4, 40)}, head="yolov8", normalised=True)
    assert_same(decoded(apart, {"s": rows[:, 4:].T, "b": rows[:, :4].T}), want)
    together = task({"out": (1, 7, 40)}, head="yolov8", normalised=True)
    assert_same(decoded(together, {"out": rows.T}), want)


def test_logits_and_several_classes_of_one_place() -> None:
    rows = places(30, 7)
    rows[:, 4:] = rows[:, 4:] * 8 - 5
    want = [(sigmoid(value), number, corners(*row[:4]))
            for row in rows for number, value in enumerate(row[4:]) if sigmoid(value) > 0.3]  # fmt: skip
    assert len({tuple(box) for _, _, box in want}) < len(want)
    detector = task({"out": (1, 7, 30)}, head="yolov8", multi_label=True, activation="sigmoid")
    assert_same(decoded(detector, {"out": rows.T}), want)


def test_yolov10_is_final() -> None:
    rows = np.array([[10, 10, 30, 30, 0.9, 2], [10, 10, 30, 31, 0.8, 2], [5, 5, 9, 9, 0.2, 0], [1, 2, 3, 4, 0.5, 1],
                     [20, 20, 40, 45, 0.4, 0]])  # fmt: skip
    want = [(row[4], int(row[5]), list(row[:4])) for row in rows if row[4] > 0.3]
    assert_same(decoded(task({"out": (1, 5, 6)}, 3, head="yolov10", iou=0.1), {"out": rows}), want)


@pytest.mark.parametrize("last", [False, True])
def test_fastestdet(last: bool) -> None:
    """As published: tanh of the offsets from the cell, sigmoid of the sizes, objectness times class."""
    rng = np.random.default_rng(3)
    cells = np.concatenate([rng.random((1, 4, 4)), rng.normal(0, 1, (4, 4, 4)), rng.random((3, 4, 4))])
    want = []
    for row in range(4):
        for column in range(4):
            objectness, tx, ty, tw, th, *shares = cells[:, row, column]
            best = max(range(3), key=lambda c: shares[c])
            x, y = (math.tanh(tx) + column) / 4 * SIZE, (math.tanh(ty) + row) / 4 * SIZE
            if objectness * shares[best] > 0.3:
                box = corners(x, y, sigmoid(tw) * SIZE, sigmoid(th) * SIZE)
                want.append((objectness * shares[best], best, box))
    shape = (1, 4, 4, 8) if last else (1, 8, 4, 4)
    array = np.moveaxis(cells, 0, 2) if last else cells
    assert_same(decoded(task({"out": shape}, head="fastestdet"), {"out": array}), want)


@pytest.mark.parametrize("unit", ["strides", "pixels"])
def test_fcos(unit: str) -> None:
    """Locations at the middle of their cells; the root of class times centerness."""
    rng = np.random.default_rng(1)
    locations = [((column + 0.5) * stride, (row + 0.5) * stride, stride)
                 for stride in (16, 32) for row in range(SIZE // stride)
                 for column in range(SIZE // stride)]  # fmt: skip
    logits, middle = rng.normal(0, 1.5, (20, 3)), rng.normal(0, 1, (20, 1))
    distances = rng.random((20, 4)) * (1 if unit == "strides" else 16)
    want = []
    for (x, y, stride), row, centre, sides in zip(locations, logits, middle, distances, strict=True):
        left, top, right, bottom = sides * (stride if unit == "strides" else 1)
        for number, value in enumerate(row):
            score = math.sqrt(sigmoid(value) * sigmoid(centre[0]))
            if score > 0.5:
                want.append((score, number, [x - left, y - top, x + right, y + bottom]))
    detector = task({"cls": (1, 20, 3), "reg": (1, 20, 4), "ctr": (1, 20, 1)}, 3, head="fcos", strides=(16, 32),
                    distances=unit, score=0.5)  # fmt: skip
    assert_same(decoded(detector, {"cls": logits, "reg": distances, "ctr": middle}), want)
    plain = task({"cls": (1, 20, 3), "reg": (1, 20, 4)}, head="fcos", strides=(16, 32), distances=unit, score=0.5)
    both = decoded(plain, {"cls": logits, "reg": distances})
    assert {round(score, 4) for score, _, _ in both} == {
        round(sigmoid(value), 4) for value in logits.ravel() if sigmoid(value) > 0.5
    }


def torchvision_anchors(maps: list[int], ratios: list[list[float]], scales: list[float]) -> list[list[float]]:
    """What torchvision's DefaultBoxGenerator documents, by loops."""
    found = []
    for level, side in enumerate(maps):
        sizes = [(scales[level],) * 2, (math.sqrt(scales[level] * scales[level + 1]),) * 2]
        for ratio in ratios[level]:
            wide, high = scales[level] * math.sqrt(ratio), scales[level] / math.sqrt(ratio)
            sizes += [(wide, high), (high, wide)]
        for row in range(side):
            for column in range(side):
                found += [[(column + 0.5) / side, (row + 0.5) / side, min(w, 1), min(h, 1)] for w, h in sizes]
    return found


def tensorflow_anchors(maps: list[int]) -> list[list[float]]:
    """What create_ssd_anchors documents for six ratios and a reduced lowest level, by loops."""
    steps = [0.2 + (0.95 - 0.2) * level / (len(maps) - 1) for level in range(len(maps))] + [1.0]
    found = []
    for level, side in enumerate(maps):
        pairs = [(steps[level], ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
        pairs.append((math.sqrt(steps[level] * steps[level + 1]), 1.0))
        if level == 0:
            pairs = [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]
        for row in range(side):
            for column in range(side):
                x, y = (column + 0.5) / side, (row + 0.5) / side
                found += [[x, y, scale * math.sqrt(ratio), scale / math.sqrt(ratio)] for scale, ratio in pairs]
    return found


def test_anchors_follow_the_published_formulas() -> None:
    maps = [19, 10, 5, 3, 2, 1]
    options = DetectionOptions("ssd", anchors="tensorflow", feature_maps=tuple(maps))
    got = anchors_for(options, (300, 300))
    assert len(got) == 1917, "as published for SSD MobileNet at 300 x 300"
    assert np.allclose(got, tensorflow_anchors(maps))
    scales = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    ratios = [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]]
    maps = [38, 19, 10, 5, 3, 1]
    options = DetectionOptions("ssd", anchors="torchvision", feature_maps=tuple(maps), scales=tuple(scales),
                               aspect_ratios=tuple(ratios))  # fmt: skip
    got = anchors_for(options, (300, 300))
    assert len(got) == 8732, "as published for SSD300"
    assert np.allclose(got, torchvision_anchors(maps, ratios, scales))


def test_steps_place_anchors_where_pixels_say() -> None:
    options = DetectionOptions("ssd", anchors="torchvision", feature_maps=(3,), scales=(0.5, 0.6), steps=(30,))
    got = anchors_for(options, (64, 80))
    assert np.allclose(np.unique(got[:, 0]), [(column + 0.5) * 30 / 80 for column in range(3)])
    assert np.allclose(np.unique(got[:, 1]), [(row + 0.5) * 30 / 64 for row in range(3)])


@pytest.mark.parametrize("style", ["torchvision", "tensorflow"])
def test_ssd(style: str) -> None:
    rng = np.random.default_rng(5)
    maps = [2, 1]
    anchors = (tensorflow_anchors(maps) if style == "tensorflow"
               else torchvision_anchors(maps, [[2.0, 3.0]] * 2, [0.2, 0.95, 1.0]))  # fmt: skip
    logits, said = rng.normal(0, 2, (len(anchors), 4)), rng.normal(0, 1, (len(anchors), 4))
    want = []
    for (ax, ay, aw, ah), row, (first, second, third, fourth) in zip(anchors, logits, said, strict=True):
        x, y, w, h = (second, first, fourth, third) if style == "tensorflow" else (first, second, third, fourth)
        box = [side * SIZE for side in corners(
            0.1 * x * aw + ax, 0.1 * y * ah + ay, math.exp(0.2 * w) * aw, math.exp(0.2 * h) * ah)]  # fmt: skip
        shares = [sigmoid(value) for value in row] if style == "tensorflow" else softmax(row)
        want += [(share, number, box) for number, share in enumerate(shares[1:]) if share > 0.3]
    detector = task({"boxes": (1, len(anchors), 4), "scores": (1, len(anchors), 4)}, 3, head="ssd", anchors=style,
                    feature_maps=maps, boxes="boxes", scores="scores")  # fmt: skip
    assert_same(decoded(detector, {"boxes": said, "scores": logits}), want)


STANDARD = {"TFLite_Detection_PostProcess": (1, 5, 4), "TFLite_Detection_PostProcess:1": (1, 5),
            "TFLite_Detection_PostProcess:2": (1, 5), "TFLite_Detection_PostProcess:3": (1,)}  # fmt: skip


@pytest.mark.parametrize("named", [False, True])
def test_ssd_postprocessed(named: bool) -> None:
    """Only as many as the model says; what lies behind is what an earlier photo left."""
    boxes = np.array([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0.3, 0.1, 0.4, 0.9], [0.2, 0.2, 0.3, 0.3], [0.5, 0.5, 1, 1]])
    classes, scores = np.array([2, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    names = ["a", "b", "c", "d"] if named else list(STANDARD)
    shapes = dict(zip(names, STANDARD.values(), strict=True))
    options = {"boxes": "a", "classes": "b", "scores": "c", "count": "d"} if named else {}
    detector = task(shapes, 3, head="ssd-postprocessed", **options)
    arrays = dict(zip(names, (boxes, classes, scores, np.array(4.0)), strict=True))
    want = [(score, int(kind), [left * SIZE, top * SIZE, right * SIZE, bottom * SIZE])
            for (top, left, bottom, right), kind, score in zip(boxes[:4], classes, scores, strict=False)]  # fmt: skip
    assert_same(decoded(detector, arrays), want)
    arrays[names[3]] = np.array(7.0)
    with pytest.raises(DataRefused, match="says 7 boxes; expected 0 to 5"):
        decoded(detector, arrays)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_detr(activation: str) -> None:
    rng = np.random.default_rng(2)
    logits, boxes = rng.normal(0, 2, (20, 6)), rng.random((20, 4)) * 0.5 + 0.2
    want = []
    for row, box in zip(logits, boxes, strict=True):
        shares = softmax(row)[:-1] if activation == "softmax" else [sigmoid(value) for value in row]
        best = max(range(len(shares)), key=lambda c: shares[c])
        if shares[best] > 0.3:
            want.append((shares[best], best, [side * SIZE for side in corners(*box)]))
    detector = task({"logits": (1, 20, 6), "pred_boxes": (1, 20, 4)}, 5 if activation == "softmax" else 6, head="detr",
                    activation=activation)  # fmt: skip
    assert_same(decoded(detector, {"logits": logits, "pred_boxes": boxes}), want)


@pytest.mark.parametrize(
    ("shapes", "labels", "options", "message"),
    [
        ({"o": (1, 40, 8)}, 0, {"head": "yolo"}, r"options\.head = 'yolo'; expected yolov5 or yolov8"),
        ({"o": (1, 40, 8)}, 0, {}, r"without options\.head"),
        ({"o": (1, 40, 8)}, 0, {"head": "yolov8", "score": 2}, r"options\.score = 2; expected a number from 0 to 1"),
        ({"o": (1, 40, 8)}, 0, {"head": "yolov8", "max_detections": 0}, r"max_detections = 0"),
        ({"o": (1, 40, 8)}, 0, {"head": "yolov8", "colour": 1}, "unknown key 'colour'"),
        ({"o": (1, 40, 40)}, 0, {"head": "yolov8"}, "either dimension could count the boxes"),
        ({"o": (1, 84, None)}, 0, {"head": "yolov8"}, "either dimension could count the boxes"),
        ({"o": (1, 40, 8)}, 9, {"head": "yolov8"}, "9 labels for a head with 4 classes"),
        ({"o": (1, 40, 8)}, 9, {"head": "yolov5"}, "9 labels for a head with 3 classes"),
        ({"o": (1, 85, 22, 22)}, 9, {"head": "fastestdet"}, "9 labels for a head with 80 classes"),
        ({"o": (1, 40, 7)}, 0, {"head": "yolov10"}, r"expected an output \(N, 6\)"),
        ({"o": (1, 40, 8)}, 0, {"head": "fastestdet"}, "one output of 3 dimensions"),
        ({"o": (1, 4, 8, 6)}, 0, {"head": "fastestdet"}, "could be channels"),
        ({"a": (1, 9, 4), "b": (1, 9, 4)}, 0, {"head": "detr"}, "2 of the outputs .* could be the boxes"),
        ({"a": (1, 9, 4), "b": (1, 9, 3)}, 0, {"head": "detr", "boxes": "c"}, r"options\.boxes = 'c'"),
        ({"a": (1, 9, 4), "b": (1, 9, 3)}, 0, {"head": "fcos"}, r"9 locations .* expected 86"),
        ({"a": (1, 9, 4), "b": (1, 9, 3)}, 0, {"head": "ssd"}, r"without options\.anchors"),
        ({"a": (1, 9, 4), "b": (1, 9, 3)}, 0, {"head": "ssd", "anchors": "tensorflow", "feature_maps": (1,)},
         "expected 3, one for each anchor"),
        ({"a": (1, 5, 4), "b": (1, 5), "c": (1, 5), "d": (1,)}, 0, {"head": "ssd-postprocessed"},
         r"2 of the outputs .* could be the classes"),
    ],
)  # fmt: skip
def test_what_cannot_be_or_is_not_clear_is_refused(
    shapes: dict[str, tuple[int | None, ...]], labels: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecRefused, match=message):
        task(shapes, labels, **options)
