"""Average precision against pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.tasks.average_precision import THRESHOLDS, AveragePrecision, Matched, match

Array = NDArray[Any]
Side = tuple[Array, Array, Array]
Photo = tuple[Side, Side]


def made_up(seed: int, photos: int = 12, classes: int = 4, most: int = 9) -> list[Photo]:
    """Right boxes, some of them crowds, and found ones near them, beside them and twice, with tied scores."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(photos):
        count = int(rng.integers(0, most))
        corners = rng.random((count, 2)) * 200
        right = np.concatenate([corners, corners + 10 + rng.random((count, 2)) * 80], axis=1)
        names = rng.integers(0, classes, count)
        near = right[rng.integers(0, count, 2 * count)] if count else np.zeros((0, 4))
        near_names = names[rng.integers(0, count, 2 * count)] if count else np.zeros(0, np.int64)
        wild = rng.random((3, 2)) * 200
        found = np.concatenate([right + rng.normal(0, 3, right.shape), near + rng.normal(0, 9, near.shape),
                                np.concatenate([wild, wild + 50], axis=1)])  # fmt: skip
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        scores = rng.integers(1, 60, len(found)) / 60 if seed % 2 else rng.random(len(found))
        kinds = np.concatenate([names, near_names, rng.integers(0, classes + 1, 3)])
        made.append(((found, scores, kinds), (right, names, rng.random(count) < 0.15)))
    return made


def by_pycocotools(photos: list[Photo]) -> tuple[float, float]:
    """MAP50-95 and mAP50."""
    coco_module, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, ((boxes, scores, kinds), (right, names, crowd)) in enumerate(photos, 1):
        for box, name, many in zip(right, names, crowd, strict=True):
            wide, high = box[2:] - box[:2]
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": int(name) + 1, "iscrowd": int(many),
                "bbox": [*box[:2].tolist(), float(wide), float(high)], "area": float(wide * high),
            })  # fmt: skip
        for box, score, kind in zip(boxes, scores, kinds, strict=True):
            sides = (box[2:] - box[:2]).tolist()
            found.append({"image_id": number, "category_id": int(kind) + 1, "bbox": [*box[:2].tolist(), *sides],
                          "score": float(score)})  # fmt: skip
    categories = sorted({one["category_id"] for one in [*annotations, *found]})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(1, len(photos) + 1)], "annotations": annotations,
            "categories": [{"id": number} for number in categories], "info": {},
        }  # fmt: skip
        truth.createIndex()
        judged = evaluation.COCOeval(truth, truth.loadRes(found), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return float(judged.stats[0]), float(judged.stats[1])


def matched(photos: list[Photo]) -> list[Matched]:
    return [match(found, right) for found, right in photos]


@pytest.mark.parametrize("seed", range(8))
def test_it_is_that_of_pycocotools(seed: int) -> None:
    photos = made_up(seed)
    ours = AveragePrecision(matched(photos))
    everything = np.arange(len(photos))
    want, want_50 = by_pycocotools(photos)
    assert 0.05 < want < 0.95
    assert ours(everything) == pytest.approx(want, abs=1e-9)
    assert ours(everything, 1) == pytest.approx(want_50, abs=1e-9)


def test_drawing_photos_again_is_repeating_them() -> None:
    """Scores differ between photos here: of tied ones the order among repeated photos is nobody's to say."""
    photos = made_up(2)
    ours = AveragePrecision(matched(photos))
    for seed in range(5):
        draw = np.random.default_rng(seed).integers(0, len(photos), len(photos))
        want, want_50 = by_pycocotools([photos[index] for index in draw])
        assert ours(draw) == pytest.approx(want, abs=1e-9)
        assert ours(draw, 1) == pytest.approx(want_50, abs=1e-9)


def test_more_than_a_hundred_boxes_of_a_class_are_cut_as_in_coco() -> None:
    found, right = made_up(4, photos=1, classes=1, most=9)[0]
    assert len(right[0])
    many = (np.repeat(found[0], 40, axis=0), np.repeat(found[1], 40) * np.linspace(1, 0.5, 40 * len(found[0])),
            np.repeat(found[2], 40) * 0)  # fmt: skip
    photos = [(many, (right[0], right[1] * 0, right[2] & False))]
    want, want_50 = by_pycocotools(photos)
    ours = AveragePrecision(matched(photos))
    assert (ours(np.array([0])), ours(np.array([0]), 1)) == pytest.approx((want, want_50), abs=1e-9)


def test_perfect_and_empty_answers() -> None:
    boxes, names = np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]]), np.array([0, 1])
    right = (boxes, names, np.zeros(2, bool))
    nothing = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    perfect = AveragePrecision([match((boxes, np.array([0.9, 0.8]), names), right)])
    assert perfect(np.array([0])) == pytest.approx(1.0)
    assert AveragePrecision([match(nothing, right)])(np.array([0])) == 0.0
    assert np.isnan(AveragePrecision([match(nothing, (np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool)))])
                    (np.array([0])))  # fmt: skip
    assert len(THRESHOLDS) == 10
