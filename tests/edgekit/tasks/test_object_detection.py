"""Photos to boxes: results, what is refused, what is right beside a photo, scores of artifacts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import DataRefused
from edgekit.metrics import Estimate, Proportion
from edgekit.preprocess import placement
from edgekit.presets import PRESETS, preset
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import Drawable, task_for
from edgekit.tasks.base import context_of
from edgekit.tasks.detection_score import EVALUATION_SCORE
from edgekit.tasks.detection_truth import Objects, label_file
from edgekit.tasks.object_detection import Detection, Detections, ObjectDetection
from edgekit.tasks.picture import PictureSize

Array = NDArray[Any]

SPEC = Spec(
    task="object-detection",
    inputs=(TensorSpec("photo", (1, 3, 64, 64), layout="NCHW"),),
    outputs=(TensorSpec("boxes", (1, 7, 50)),),
    preprocess=Preprocess("letterbox", scale=1 / 255),
    options={"head": "yolov8"},
    labels=("ant", "bee", "cat"),
)


def detector(spec: Spec = SPEC, **options: Any) -> ObjectDetection:
    found = task_for(spec.replace(options={**spec.options, **options}))
    assert isinstance(found, ObjectDetection)
    return found


def answer(*rows: tuple[float, ...], count: int = 50) -> dict[str, Array]:
    """Rows of centre, size and three scores, among places that hold nothing."""
    array = np.zeros((1, 7, count), np.float32)
    for number, row in enumerate(rows):
        array[0, :, number] = row
    return {"boxes": array}


def test_boxes_are_in_pixels_of_the_photo_and_overlapping_ones_of_a_class_are_left_out() -> None:
    """A photo of 200 x 100 fills the rows 16 to 48 of the letterbox of 64."""
    outputs = answer((32, 32, 16, 8, 0, 0.9, 0), (33, 32, 16, 8, 0, 0.8, 0), (33, 32, 16, 8, 0.7, 0, 0),
                     (10, 5, 8, 8, 0, 0, 0.6), (60, 40, 16, 8, 0, 0, 0.5))  # fmt: skip
    found = detector().decode(outputs, [PictureSize(100, 200)])[0]
    assert [(one.name, one.index) for one in found.objects] == [("bee", 1), ("ant", 0), ("cat", 2)]
    assert found.objects[0].box == (75.0, 37.5, 125.0, 62.5)
    assert found.objects[2].box == (162.5, 62.5, 200.0, 87.5), "cut at the edge; what lies in the border is gone"
    agnostic = detector(agnostic=True).decode(outputs, [PictureSize(100, 200)])[0]
    assert [one.name for one in agnostic.objects] == ["bee", "cat"]
    few = detector(max_detections=1).decode(outputs, [PictureSize(100, 200)])[0]
    assert [one.name for one in few.objects] == ["bee"]


def test_the_context_comes_from_the_photo(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 90, 3), np.uint8))
    task = detector()
    feeds = task.encode(tmp_path / "a.png")
    assert feeds["photo"].shape == (1, 3, 64, 64)
    assert context_of(feeds) == PictureSize(30, 90)
    results = task.decode(
        {"boxes": np.repeat(answer((32, 32, 8, 8, 0, 0.9, 0))["boxes"], 2, axis=0)}, [context_of(feeds), None]
    )
    assert [(one.width, one.height) for one in results] == [(90, 30), (64, 64)]
    assert results[1].objects[0].box == (28, 28, 36, 36), "without a photo, pixels of the input"


@pytest.mark.parametrize("turned", [False, True])
def test_boxes_are_those_of_the_whole_photo_where_it_was_decoded_at_a_fraction(tmp_path: Path, turned: bool) -> None:
    from PIL import Image

    photo = np.random.default_rng(0).integers(0, 256, (701, 1200, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    Image.fromarray(photo).save(tmp_path / "a.jpg", exif=exif.tobytes())
    task = detector()
    task.fast_decode = True
    want = PictureSize(1200, 701) if turned else PictureSize(701, 1200)
    assert context_of(task.encode(tmp_path / "a.jpg")) == want
    assert task.read(tmp_path / "a.jpg").shape[0] < want.height


def test_a_result_for_programs_and_for_people() -> None:
    found = detector().decode(answer((32, 32, 16, 8, 0, 0.9, 0)), [PictureSize(64, 64)])[0]
    one = {"box": [24.0, 28.0, 40.0, 36.0], "index": 1, "name": "bee", "score": pytest.approx(0.9)}
    assert json.loads(json.dumps(found.to_dict())) == {"count": 1, "objects": [one], "width": 64, "height": 64}
    assert str(found) == "bee 90 % [24 28 40 36]"
    many = Detections(found.objects * 9, 64, 64, 0.25)
    assert str(many).endswith(", and 3 more")


def test_nothing_above_the_threshold_is_a_result_too() -> None:
    found = detector(score=0.5).decode(answer((32, 32, 16, 8, 0, 0.4, 0)), [PictureSize(64, 64)])[0]
    assert found.to_dict() == {"count": 0, "objects": [], "width": 64, "height": 64}
    assert str(found) == "nothing with a score above 0.5"
    photo = np.full((64, 64, 3), 80, np.uint8)
    assert np.array_equal(found.draw(photo), photo)


def test_a_drawing_has_a_frame_where_the_box_is() -> None:
    """The picture may have been enlarged; the frame keeps its share of it."""
    found = Detections((Detection((20, 10, 80, 40), 1, "bee", 0.9),), 100, 50, 0.25)
    assert isinstance(found, Drawable)
    photo = np.full((400, 800, 3), 80, np.uint8)
    drawn = found.draw(photo)
    assert (photo == 80).all()
    changed = (drawn != 80).any(axis=2)
    rows, columns = np.flatnonzero(changed[:, 400]), np.flatnonzero(changed[200])
    assert abs(rows[-1] - 320) <= 4
    assert abs(columns[0] - 160) <= 4
    assert abs(columns[-1] - 640) <= 4
    assert not changed[150:300, 200:600].any(), "what is inside stays visible"


def test_not_finite_outputs_are_refused() -> None:
    with pytest.raises(DataRefused, match="output 'boxes' holds NaN"):
        detector().decode(answer((np.nan, 32, 16, 8, 0, 0.4, 0)), [PictureSize(64, 64)])
    with pytest.raises(DataRefused, match="box that is not finite"):
        detector().decode(answer((np.inf, 32, 16, 8, 0, 0.4, 0)), [PictureSize(64, 64)])
    ignored = detector().decode(answer((np.inf, 32, 16, 8, 0, 0.1, 0)), [PictureSize(64, 64)])
    assert ignored[0].objects == ()


def test_boxes_without_an_area_and_inside_out_are_left_out() -> None:
    outputs = answer((32, 32, 0, 8, 0, 0.9, 0), (32, 32, -6, 8, 0, 0.8, 0), (32, 32, 6, 8, 0, 0.7, 0))
    found = detector().decode(outputs, [PictureSize(64, 64)])[0]
    assert [round(one.score, 2) for one in found.objects] == [0.7]


def test_a_photo_of_one_pixel(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "dot.png"), np.full((1, 1, 3), 7, np.uint8))
    task = detector()
    size = context_of(task.encode(tmp_path / "dot.png"))
    found = task.decode(answer((32, 32, 64, 64, 0, 0.9, 0)), [size])[0]
    assert list(found.objects[0].box) == [0, 0, 1, 1]
    assert found.draw(np.zeros((320, 320, 3), np.uint8)).any()


def test_thousands_of_overlapping_boxes_take_bounded_time() -> None:
    rng = np.random.default_rng(0)
    outputs = {"boxes": np.concatenate([rng.random((4, 8400)) * 600, 0.3 + 0.7 * rng.random((80, 8400))])[None]}
    spec = SPEC.replace(inputs=(TensorSpec("photo", (1, 3, 640, 640), layout="NCHW"),), labels=None,
                        outputs=(TensorSpec("boxes", (1, 84, 8400)),))  # fmt: skip
    start = time.process_time()
    found = detector(spec, score=0.0, iou=0.99).decode(outputs, [PictureSize(640, 640)])[0]
    assert len(found.objects) > 250
    assert time.process_time() - start < 2, "a tenth of a second"


@pytest.mark.parametrize(
    ("name", "shape"),
    [("yolov5", (1, 100, 85)), ("yolov8", (1, 84, 100)), ("yolov10", (1, 100, 6)), ("fastestdet", (1, 85, 22, 22))],
)
def test_presets_of_detectors(name: str, shape: tuple[int, ...]) -> None:
    assert name in PRESETS
    spec = preset(name).replace(
        inputs=(TensorSpec("photo", (1, 3, 640, 640), layout="NCHW"),), outputs=(TensorSpec("o", shape),)
    )
    task = detector(spec)
    assert task.options.head == name
    encoded = task.encode(np.full((320, 640, 3), (255, 0, 0), np.uint8))["photo"][0]
    if name == "fastestdet":
        assert encoded[:, 0, 0].tolist() == [0, 0, 1], "stretched, BGR"
    else:
        assert np.allclose(encoded[:, 0, 0], 114 / 255), "the letterbox's border"
        assert encoded[:, 320, 0].tolist() == [1, 0, 0]
        assert placement((320, 640), spec.inputs[0], task.preprocess).offset == (160, 0)


def read(text: str, folder: Path, spec: Spec = SPEC) -> Objects:
    path = folder / "a.txt"
    path.write_text(text, encoding="utf-8")
    found = ObjectDetection.truth(spec, path, "a.jpg")
    assert found is not None
    return found


def test_yolo_text_holds_boxes_and_polygons(tmp_path: Path) -> None:
    found = read("1 0.5 0.5 0.2 0.4\n\n2 0.1 0.2 0.3 0.2 0.3 0.6\n0 0.05 0.5 0.11 1.0\n", tmp_path)
    assert found.classes.tolist() == [1, 2, 0]
    assert np.allclose(found.boxes, [[0.4, 0.3, 0.6, 0.7], [0.1, 0.2, 0.3, 0.6], [0, 0, 0.105, 1]])
    assert len(read("", tmp_path).classes) == 0, "an empty file says that there is nothing"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0.5 0.5 0.2 0.4", r"a.txt line 2: label '3'; expected a class number 0\.\.2"),
        ("1 0.5 0.5 0.2", "a.txt line 2: '1 0.5 0.5 0.2'; expected lines of: class"),
        ("1 50 50 20 40", "shares 0..1 of the photo"),
        ("1 0.5 nan 0.2 0.4", "shares 0..1 of the photo"),
        ("1 0.5 x 0.2 0.4", "shares 0..1 of the photo"),
    ],
)
def test_a_line_that_is_no_box_is_refused(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=message):
        read(f"1 0.5 0.5 0.2 0.4\n{line}\n", tmp_path)


def test_the_text_lies_beside_the_photo_or_among_labels(tmp_path: Path) -> None:
    beside, inside = tmp_path / "b.jpg", tmp_path / "images" / "val" / "a.jpg"
    other = tmp_path / "labels" / "val" / "a.txt"
    other.parent.mkdir(parents=True)
    other.write_text("")
    assert label_file(inside) == other
    assert ObjectDetection.beside(beside) is None
    beside.with_suffix(".txt").write_text("")
    assert ObjectDetection.beside(beside) == beside.with_suffix(".txt")


def test_other_truths() -> None:
    cat, crowd = {"bbox": [10, 5, 20, 10], "category": "cat"}, {"bbox": [0, 0, 100, 50], "category": 0, "iscrowd": 1}
    raw: dict[str, Any] = {"width": 100, "height": 50, "annotations": [cat, crowd]}
    found = ObjectDetection.truth(SPEC, raw, "sample 0")
    assert found is not None
    assert np.allclose(found.boxes, np.array([[0.1, 0.1, 0.3, 0.3], [0.0, 0.0, 1.0, 1.0]]))
    assert (found.classes.tolist(), found.crowd.tolist()) == ([2, 0], [False, True])
    assert ObjectDetection.truth(SPEC, found, "") is found
    assert ObjectDetection.truth(SPEC, None, "") is None
    for wrong in ("cat", {**raw, "annotations": [{"bbox": [1, 2, 3], "category": 0}]}, {**raw, "width": float("nan")}):
        with pytest.raises(DataRefused, match="sample 0"):
            ObjectDetection.truth(SPEC, wrong, "sample 0")


def score(*pairs: tuple[dict[str, Array], dict[str, Array], Objects | None], **options: Any) -> Any:
    scorer = detector(**options).scorer()
    for reference, candidate, truth in pairs:
        scorer.update(reference, candidate, [truth], [PictureSize(64, 64)])
    return scorer


def test_agreement_is_the_share_of_matched_boxes() -> None:
    want = answer((16, 16, 16, 16, 0, 0.9, 0), (48, 48, 16, 16, 0.8, 0, 0), (48, 16, 16, 16, 0, 0, 0.7))
    same = answer((17, 16, 16, 16, 0, 0.5, 0), (48, 48, 16, 16, 0, 0, 0.8), (40, 16, 16, 16, 0, 0, 0.7),
                  (10, 60, 4, 4, 0.2, 0, 0))  # fmt: skip
    agreement = score((want, same, None)).agreement()
    # The first is near enough; the second has another class, the third overlaps by a third; the last is not reported.
    assert agreement == Proportion(2, 6, "matched boxes")
    empty = score((answer(), answer(), None))
    assert empty.agreement() is None
    assert empty.metrics() is None
    broken = score((want, answer((np.nan, 16, 16, 16, 0, 0.9, 0)), None))
    assert broken.agreement() == Proportion(0, 3, "matched boxes")


def test_average_precision_takes_boxes_below_the_threshold_and_counts_what_cannot_be_decoded() -> None:
    right = Objects(np.array([[0.125, 0.125, 0.375, 0.375], [0.625, 0.625, 0.875, 0.875]]), np.array([1, 0]),
                    np.zeros(2, bool))  # fmt: skip
    both = answer((16, 16, 16, 16, 0, 0.9, 0), (48, 48, 16, 16, 0.01, 0, 0))
    one = answer((16, 16, 16, 16, 0, 0.9, 0))
    original, artifact = score((both, one, right)).metrics()
    assert (original.name, original.value, original.samples) == ("mAP50", pytest.approx(1.0), 1)
    assert artifact.value == pytest.approx(0.5)
    assert EVALUATION_SCORE < 0.01 < SPEC.options.get("score", 0.25)
    _, broken = score((both, answer((np.nan,) * 7), right)).metrics()
    assert broken.value == 0
    shifted = answer((17, 16, 16, 16, 0, 0.9, 0), (48, 48, 16, 16, 0.01, 0, 0))  # overlaps by 15/17
    _, all_levels = score((both, shifted, right), metric="mAP50-95").metrics()
    assert (all_levels.name, all_levels.value) == ("mAP50-95", pytest.approx((0.8 + 1) / 2))


def test_the_interval_comes_from_the_photos() -> None:
    right = Objects(np.array([[0.125, 0.125, 0.375, 0.375]]), np.array([1]), np.zeros(1, bool))
    hit, miss = answer((16, 16, 16, 16, 0, 0.9, 0)), answer()
    original, artifact = score(*[(hit, hit if number % 2 else miss, right) for number in range(20)]).metrics()
    assert isinstance(artifact, Estimate)
    assert original.interval() == (pytest.approx(1.0), pytest.approx(1.0))
    low, high = artifact.interval()
    assert 0.2 < low < 0.4 < artifact.value < 0.6 < high < 0.8
    assert artifact.samples == 20


def test_made_up_inputs_have_no_photo_to_compare_boxes_in() -> None:
    scorer = detector().scorer()
    assert scorer is not None
    scorer.update(answer((16, 16, 16, 16, 0, 0.9, 0)), answer(), [None], [None])
    assert scorer.agreement() is None
