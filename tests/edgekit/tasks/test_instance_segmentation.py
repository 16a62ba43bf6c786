"""Instances: YOLO-seg and Mask R-CNN outputs, mask IoU and mask mAP50."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import rle, task_for
from edgekit.tasks.instance_segmentation import Instance, Instances, InstanceSegmentation, pasted, suppressed
from edgekit.tasks.picture import PictureSize

PHOTO = TensorSpec("photo", (1, 64, 96, 3), layout="NHWC")
NAMES = ("cat", "dog", "cow")


def yolo(how: Preprocess | None = None, **options: Any) -> InstanceSegmentation:
    outputs = (TensorSpec("candidates", (1, 4 + 3 + 8, 50)), TensorSpec("prototypes", (1, 8, 16, 24)))
    spec = Spec(
        "instance-segmentation", (PHOTO,), outputs, how or Preprocess(), options={"coefficients": 8, **options},
        labels=NAMES,
    )  # fmt: skip
    made = task_for(spec)
    assert isinstance(made, InstanceSegmentation)
    return made


def yolo_outputs(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    centre = random.uniform(10, 60, (2, 50))
    size = random.uniform(15, 50, (2, 50))
    scores = random.uniform(0, 0.2, (3, 50))
    scores[random.integers(0, 3, 12), np.arange(12)] = random.uniform(0.3, 0.95, 12)
    candidates = np.concatenate([centre, size, scores, random.normal(size=(8, 50))])
    prototypes = random.normal(size=(1, 8, 16, 24))
    return {"candidates": candidates[None].astype(np.float32), "prototypes": prototypes.astype(np.float32)}


def plain_nms(boxes: Any, scores: Any, classes: Any, iou: float) -> list[int]:
    """Greedy suppression, one pair at a time."""
    left, kept = sorted(range(len(scores)), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)

        def over(other: int, best: int = best) -> float:
            a, b = boxes[best], boxes[other]
            across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            both = across * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
            return float(both / (areas - both))

        left = [i for i in left if classes[i] != classes[best] or over(i) <= iou]
    return kept


@given(st.integers(0, 30), st.integers(0, 999), st.floats(0.05, 0.95))
def test_suppression_is_the_greedy_definition(count: int, seed: int, iou: float) -> None:
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, 30, (count, 2)), random.uniform(5, 30, (count, 2))
    boxes, scores = np.concatenate([corner, corner + size], axis=1), random.random(count)
    classes = random.integers(0, 3, count)
    assert suppressed(boxes, scores, classes, iou).tolist() == plain_nms(boxes, scores, classes, iou)


@pytest.mark.parametrize("swapped", [False, True])
def test_yolo_masks_are_the_published_ones(swapped: bool) -> None:
    """Coefficients times prototypes, enlarged bilinearly, cut to the box, positive: ``process_mask_native``."""
    outputs = yolo_outputs()
    candidates, prototypes = outputs["candidates"][0], outputs["prototypes"][0]
    given_ = outputs
    if swapped:
        given_ = {
            "candidates": outputs["candidates"].transpose(0, 2, 1),
            "prototypes": outputs["prototypes"].transpose(0, 2, 3, 1),
        }
    (got,) = yolo().decode(given_, [PictureSize(128, 192)])
    best = candidates[4:7].max(axis=0)
    chosen = np.flatnonzero(best >= 0.25)
    boxes = np.stack([
        candidates[0] - candidates[2] / 2, candidates[1] - candidates[3] / 2,
        candidates[0] + candidates[2] / 2, candidates[1] + candidates[3] / 2,
    ], axis=1)[chosen]  # fmt: skip
    classes = candidates[4:7, chosen].argmax(axis=0)
    kept = plain_nms(boxes, best[chosen], classes, 0.7)
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy((candidates[7:, chosen[kept]].T @ prototypes.reshape(8, -1)).reshape(1, -1, 16, 24)),
        size=(128, 192), mode="bilinear", align_corners=False,
    )[0].numpy()  # fmt: skip
    rows, columns = np.arange(128)[:, None], np.arange(192)[None]
    assert len(got.found) == len(kept) > 3
    for one, at, plane in zip(got.found, kept, enlarged, strict=True):
        left, top, right, bottom = np.clip(boxes[at] * 2, 0, [192, 128, 192, 128])
        inside = (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)
        decided = np.abs(plane) > 5e-2
        assert np.array_equal(one.whole(128, 192)[decided], ((plane > 0) & inside)[decided])
        assert one.box == pytest.approx((left, top, right, bottom), abs=1e-4)
        assert one.index == classes[at]
        assert one.name == NAMES[one.index]
        assert one.score == pytest.approx(best[chosen[at]])


def test_the_letterbox_is_undone() -> None:
    outputs = yolo_outputs()
    outputs["candidates"][:, 4:7] = 0
    outputs["candidates"][0, :7, 0] = (48, 32, 24, 16, 0.9, 0, 0)
    outputs["candidates"][0, 7:, 0] = 1
    outputs["prototypes"][:] = 1
    (got,) = yolo(Preprocess("letterbox")).decode(outputs, [PictureSize(128, 64)])
    (one,) = got.found
    assert one.box == (8.0, 48.0, 56.0, 80.0), "64 x 128 became 32 x 64 in the middle of 96 x 64"
    assert one.mask.shape == (32, 48)
    assert one.mask.all()


def torchvision_paste(mask: Any, box: Any, height: int, width: int) -> Any:
    """The formulas of ``torchvision.models.detection.roi_heads.paste_mask_in_image`` and ``expand_boxes``."""
    scale = (mask.shape[-1] + 2) / mask.shape[-1]
    padded = torch.nn.functional.pad(torch.from_numpy(mask)[None], (1,) * 4)
    half_w, half_h = (box[2] - box[0]) * 0.5 * scale, (box[3] - box[1]) * 0.5 * scale
    centre_x, centre_y = (box[2] + box[0]) * 0.5, (box[3] + box[1]) * 0.5
    x0, y0, x1, y1 = (
        int(value) for value in (centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h)
    )
    size = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
    big = torch.nn.functional.interpolate(padded[None], size=size, mode="bilinear", align_corners=False)[0, 0]
    whole = torch.zeros((height, width))
    left, right, top, bottom = max(x0, 0), min(x1 + 1, width), max(y0, 0), min(y1 + 1, height)
    whole[top:bottom, left:right] = big[top - y0 : bottom - y0, left - x0 : right - x0]
    return whole.numpy()


@given(st.integers(0, 999))
def test_masks_are_pasted_as_torchvision_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = int(random.integers(5, 90)), int(random.integers(5, 90))
    corner = random.uniform(0, [width - 2, height - 2])
    far = random.uniform(corner + 1, [width, height])
    box, mask = np.concatenate([corner, far]), random.random((28, 28)).astype(np.float32)
    (left, top), part = pasted(mask, box, (height, width))
    whole = np.zeros((height, width), np.float32)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    assert np.allclose(whole, torchvision_paste(mask, box, height, width), atol=1e-5)


def rcnn(**options: Any) -> InstanceSegmentation:
    shapes = {"boxes": (1, 5, 4), "labels": (1, 5), "scores": (1, 5), "masks": (1, 5, 28, 28)}
    outputs = tuple(TensorSpec(name, shape) for name, shape in shapes.items())
    spec = Spec(
        "instance-segmentation", (PHOTO,), outputs, Preprocess(), options={"form": "mask-rcnn", **options}, labels=NAMES
    )
    made = task_for(spec)
    assert isinstance(made, InstanceSegmentation)
    return made


def rcnn_outputs() -> dict[str, Any]:
    random = np.random.default_rng(1)
    corner = random.uniform(0, 40, (1, 5, 2))
    return {
        "boxes": np.concatenate([corner, corner + random.uniform(5, 24, (1, 5, 2))], axis=2).astype(np.float32),
        "labels": np.array([[0, 1, 2, 1, 0]]),
        "scores": np.array([[0.3, 0.9, 0.1, 0.6, 0.8]], np.float32),
        "masks": random.random((1, 5, 28, 28)).astype(np.float32),
    }


@pytest.mark.parametrize("batched", [True, False])
def test_mask_rcnn_results_are_torchvisions(batched: bool) -> None:
    outputs = rcnn_outputs()
    given_ = outputs if batched else {**{n: a[0] for n, a in outputs.items()}, "masks": outputs["masks"][0][:, None]}
    (got,) = rcnn().decode(given_, [PictureSize(128, 192)])
    assert [one.name for one in got.found] == ["dog", "cat", "dog", "cat"]
    for one, at in zip(got.found, (1, 4, 3, 0), strict=True):
        expected = torchvision_paste(outputs["masks"][0, at], outputs["boxes"][0, at] * 2, 128, 192) > 0.5
        assert (one.whole(128, 192) != expected).mean() < 1e-3


def test_nothing_above_the_threshold_is_an_answer() -> None:
    outputs = {**rcnn_outputs(), "scores": np.zeros((1, 5), np.float32)}
    (got,) = rcnn().decode(outputs, [PictureSize(10, 10)])
    assert (got.found, str(got)) == ((), "nothing")
    assert json.loads(json.dumps(got.to_dict()))["instances"] == []
    none = {name: array[:, :0] for name, array in rcnn_outputs().items()}
    assert rcnn().decode(none, [PictureSize(10, 10)])[0].found == ()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
def test_the_json_form_is_cocos_and_the_drawing_tints() -> None:
    (got,) = yolo().decode(yolo_outputs(), [PictureSize(400, 600)])
    raw = json.loads(json.dumps(got.to_dict(), allow_nan=False))
    assert (raw["height"], raw["width"]) == (400, 600)
    for one, written in zip(got.found, raw["instances"], strict=True):
        assert np.array_equal(coco.decode(written["mask"]).astype(bool), one.whole(400, 600))
        assert written["name"] == one.name
    picture = np.full((800, 1200, 3), 90, np.uint8)
    drawn = got.draw(picture)
    covered = np.logical_or.reduce([one.whole(400, 600) for one in got.found])
    rows, columns = np.nonzero(covered)
    assert (drawn[rows * 2, columns * 2] != 90).any(axis=1).mean() > 0.99
    assert (picture == 90).all()


def test_outputs_that_do_not_fit_are_refused() -> None:
    outputs = yolo_outputs()
    outputs["prototypes"][0, 0, 0, 0] = np.nan
    with pytest.raises(DataRefused, match="'prototypes' holds NaN"):
        yolo().decode(outputs)
    with pytest.raises(DataRefused, match=r"candidates of shape \[12, 50\]"):
        yolo().decode({**yolo_outputs(), "candidates": np.zeros((1, 12, 50), np.float32)})
    with pytest.raises(DataRefused, match="prototypes of shape"):
        yolo().decode({**yolo_outputs(), "prototypes": np.zeros((1, 7, 16, 24), np.float32)})
    with pytest.raises(DataRefused, match="of as many things"):
        rcnn().decode({**rcnn_outputs(), "labels": np.zeros((1, 4))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "solo"}, "options.form = 'solo'"),
        ({"threshold": 0}, "options.threshold = 0"),
        ({"limit": 0}, "options.limit = 0"),
        ({"form": "mask-rcnn"}, "expected boxes, labels, scores and masks"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        yolo(**options)


def thing(index: int, score: float, box: tuple[int, int, int, int]) -> Instance:
    left, top, right, bottom = box
    mask = np.ones((bottom - top, right - left), bool)
    return Instance(index, NAMES[index], score, (left, top, right, bottom), (left, top), mask)


def random_photos(count: int) -> list[tuple[Instances, list[dict[str, Any]]]]:
    """Truths, some of them crowds, and answers that are about right."""
    random, photos = np.random.default_rng(4), []
    for _ in range(count):
        truth, found = [], []
        for _ in range(random.integers(0, 6)):
            left, top = random.integers(0, 60, 2)
            wide, high = random.integers(8, 30, 2)
            index = int(random.integers(0, 3))
            one = thing(index, 1.0, (left, top, left + wide, top + high))
            crowd = bool(random.random() < 0.15)
            encoded = rle.encode(one.whole(100, 100))
            truth.append({"label": NAMES[index], "segmentation": encoded, "iscrowd": crowd})
            if random.random() < 0.8:
                moved = left + random.integers(0, 6), top + random.integers(0, 6)
                guess = index if random.random() < 0.8 else int(random.integers(0, 3))
                box = (int(moved[0]), int(moved[1]), int(moved[0] + wide), int(moved[1] + high))
                found.append(thing(guess, float(random.random()), box))
        found.sort(key=lambda one: -one.score)
        photos.append((Instances(100, 100, tuple(found)), truth))
    return photos


def test_mask_map50_is_pycocotools() -> None:
    photos = random_photos(30)
    made = yolo()
    scorer = made.scorer()
    annotations: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for number, (found, truth) in enumerate(photos):
        scorer.add(found, found, made.truth(made.spec, truth, "photo"))
        for one in truth:
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": NAMES.index(one["label"]),
                "segmentation": one["segmentation"], "iscrowd": int(one["iscrowd"]), "bbox": [0, 0, 1, 1],
                "area": float(coco.area(one["segmentation"])),
            })  # fmt: skip
        for instance in found.found:
            encoded = rle.encode(instance.whole(100, 100))
            answers.append({
                "image_id": number, "category_id": instance.index, "segmentation": encoded, "score": instance.score,
            })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "info": {}, "images": [{"id": i, "height": 100, "width": 100} for i in range(len(photos))],
            "annotations": annotations, "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES)],
        }  # fmt: skip
        known.createIndex()
        judge = COCOeval(known, known.loadRes(answers), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    original, artifact = scorer.metrics() or (None, None)
    assert original is not None
    assert artifact is not None
    assert original.name == "mask mAP50"
    assert original.value == pytest.approx(judge.stats[1], abs=1e-9)
    assert artifact.value == original.value
    low, high = original.interval()
    assert low < original.value < high
    agreement = scorer.agreement()
    assert agreement is not None
    assert agreement.value == 1.0


def test_agreement_is_the_iou_of_what_both_find() -> None:
    scorer = yolo().scorer()
    want = Instances(50, 50, (thing(0, 0.9, (0, 0, 20, 10)), thing(1, 0.8, (30, 30, 40, 40))))
    got = Instances(50, 50, (thing(0, 0.9, (5, 0, 20, 10)), thing(2, 0.8, (30, 30, 40, 40))))
    scorer.add(want, got, None)
    agreement = scorer.agreement()
    assert agreement is not None
    assert agreement.value == pytest.approx(0.75 / 2)
    assert scorer.metrics() is None


def test_an_artifact_without_an_answer_finds_nothing() -> None:
    made, outputs = yolo(), yolo_outputs()
    scorer = made.scorer()
    (found,) = made.decode(outputs)
    truth = [{"label": one.index, "segmentation": rle.encode(one.whole(64, 96))} for one in found.found]
    broken = {name: np.full_like(array, np.nan) for name, array in outputs.items()}
    scorer.update(outputs, broken, [made.truth(made.spec, truth, "photo")], [None])
    scores, agreement = scorer.metrics(), scorer.agreement()
    assert scores is not None
    assert agreement is not None
    assert (scores[0].value, scores[1].value, agreement.value) == (1.0, 0.0, 0.0)


def test_annotations_may_be_polygons_in_a_file_beside_the_photo(tmp_path: Path) -> None:
    made = yolo()
    (tmp_path / "a.json").write_text(json.dumps([{"label": "dog", "segmentation": [[10, 10, 30, 10, 30, 20, 10, 20]]}]))
    assert made.beside(tmp_path / "b.jpg") is None
    truth = made.truth(made.spec, made.beside(tmp_path / "a.jpg"), "a.json")
    assert truth is not None
    assert (truth[0].index, truth[0].crowd) == (1, False)
    mask = truth[0].mask(50, 60)
    assert mask[11:19, 11:29].all()
    assert mask.sum() < 300
    wrong = made.truth(made.spec, [{"label": 0, "segmentation": rle.encode(mask)}], "a.json")
    assert wrong is not None
    with pytest.raises(DataRefused, match=r"annotation 1: a mask of 60 x 50.*photo's 9 x 9"):
        wrong[0].mask(9, 9)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"label": 1}, "a list of annotations"),
        ([{"label": 1}], "annotation 1: .*label and segmentation"),
        ([{"label": "horse", "segmentation": []}], "label 'horse'"),
        ("missing.json", "photo: "),
    ],
)
def test_annotations_that_cannot_be_right_are_refused(raw: Any, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        InstanceSegmentation.truth(yolo().spec, raw, "photo")
