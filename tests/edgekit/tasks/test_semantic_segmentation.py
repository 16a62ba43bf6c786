"""Class maps: decoding, label maps, mIoU."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import task_class, task_for
from edgekit.tasks.label_maps import LabelMap, read_label_map
from edgekit.tasks.picture import PictureSize
from edgekit.tasks.semantic_segmentation import UNSEEN, SegmentationMap, SemanticSegmentation, largest

PHOTO = TensorSpec("photo", (1, 32, 48, 3), layout="NHWC")
NAMES = ("background", "cat", "dog")


def task(
    shape: tuple[int | None, ...] = (1, 3, 8, 12), how: Preprocess | None = None, dtype: str = "float32", **options: Any
) -> SemanticSegmentation:
    labels = options.pop("labels", NAMES)
    spec = Spec(
        "semantic-segmentation", (PHOTO,), (TensorSpec("scores", shape, dtype),), how or Preprocess(), options=options,
        labels=labels,
    )  # fmt: skip
    made = task_for(spec)
    assert isinstance(made, SemanticSegmentation)
    return made


def scores(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_logits_are_resampled_and_decided_as_transformers_does(height: int, width: int, seed: int) -> None:
    """``post_process_semantic_segmentation``: bilinear interpolation of the logits, then argmax."""
    logits = scores(1, 3, 8, 12, seed=seed)
    (got,) = task().decode({"scores": logits}, [PictureSize(height, width)])
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(logits), size=(height, width), mode="bilinear", align_corners=False
    )[0]
    expected = resized.argmax(dim=0).numpy()
    assert got.classes.shape == (height, width)
    top = resized.topk(2, dim=0).values.numpy()
    decided = top[0] - top[1] > 1e-4
    assert np.array_equal(got.classes[decided], expected[decided])


def test_largest_is_argmax_with_the_first_of_equals() -> None:
    planes = np.random.default_rng(1).integers(0, 4, (200, 9, 7)).astype(np.float32)
    assert np.array_equal(largest(planes), planes.argmax(axis=0))


def test_channels_last_and_class_maps_give_the_same_map() -> None:
    logits = scores(2, 3, 8, 12)
    sizes = [PictureSize(20, 30), PictureSize(64, 48)]
    first = task().decode({"scores": logits}, sizes)
    last = task((None, 8, 12, 3)).decode({"scores": logits.transpose(0, 2, 3, 1)}, sizes)
    by_map = task(upsample="map").decode({"scores": logits}, sizes)
    numbers = task((None, 8, 12), dtype="int64").decode({"scores": logits.argmax(axis=1)}, sizes)
    for one, other, quick, number in zip(first, last, by_map, numbers, strict=True):
        assert np.array_equal(one.classes, other.classes)
        assert np.array_equal(quick.classes, number.classes)
    enlarged = cv2.resize(logits[1].argmax(axis=0).astype(np.uint8), (48, 64), interpolation=cv2.INTER_NEAREST)
    assert (by_map[1].classes == enlarged).mean() > 0.97


def test_letterbox_and_crop_are_undone() -> None:
    logits = np.zeros((1, 3, 32, 48), np.float32)
    logits[0, 1, :, :24] = 1
    logits[0, 2, :, 24:] = 1
    (boxed,) = task((1, 3, 32, 48), Preprocess("letterbox")).decode({"scores": logits}, [PictureSize(100, 50)])
    assert np.array_equal(boxed.classes, np.repeat([[1] * 25 + [2] * 25], 100, axis=0))
    cropped = Preprocess("short-side", (64, 64), crop=True)
    (cut,) = task((1, 3, 32, 48), cropped).decode({"scores": logits}, [PictureSize(64, 96)])
    assert (cut.classes[:16] == UNSEEN).all()
    assert np.array_equal(cut.classes[20], [UNSEEN] * 24 + [1] * 24 + [2] * 24 + [UNSEEN] * 24)
    assert [one.share for one in cut.shares] == [0.5, 0.5], "of what the model saw"


def test_a_photo_of_one_pixel_and_a_photo_of_unknown_size() -> None:
    assert task().decode({"scores": scores(1, 3, 8, 12)}, [PictureSize(1, 1)])[0].classes.shape == (1, 1)
    assert task().decode({"scores": scores(1, 3, 8, 12)})[0].classes.shape == (32, 48)


def test_the_json_form_has_shares_and_a_png_of_the_map() -> None:
    found = SegmentationMap(np.array([[0, 0, 2], [2, 0, 255]], np.uint8), NAMES)
    raw = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert raw["classes"] == [
        {"index": 0, "name": "background", "share": 0.6},
        {"index": 2, "name": "dog", "share": 0.4},
    ]
    png = np.frombuffer(base64.b64decode(raw["map"]), np.uint8)
    written: Any = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    assert np.array_equal(written, found.classes)
    assert (raw["height"], raw["width"]) == (2, 3)
    assert str(found) == "background 60.0 %, dog 40.0 %"


def test_drawing_tints_the_classes_but_not_the_background() -> None:
    classes = np.zeros((200, 300), np.uint8)
    classes[:, 150:] = 1
    picture = np.full((400, 600, 3), 90, np.uint8)
    drawn = SegmentationMap(classes, NAMES).draw(picture)
    assert drawn.shape == picture.shape
    assert (drawn[300, :290] == 90).all()
    assert (drawn[300, 310:] != 90).any(axis=1).all()
    assert (drawn[:30, :60] != 90).any(), "the legend"
    assert (picture == 90).all()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 4, 8, 12), {}, "3 labels for output 'scores'"),
        ((1, 3, 8, 3), {}, "3 labels for output 'scores'"),
        ((1, 3), {}, r"of shape \[1, 3\]"),
        ((1, 3, 8, 12), {"upsample": "cubic"}, "options.upsample = 'cubic'"),
        ((1, 3, 8, 12), {"channels": "middle"}, "options.channels = 'middle'"),
        ((1, 3, 8, 12), {"ignore": 300}, "options.ignore = 300"),
        ((1, 3, 8, 12), {"output": "mask"}, "options.output = 'mask'"),
        ((1, 3, 8, 12), {"colours": 3}, "unknown key 'colours'"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        task(shape, **options)


def test_the_option_says_where_the_classes_are_when_sizes_do_not() -> None:
    assert task((1, 3, 8, 3), channels="last").decode({"scores": scores(1, 3, 8, 3)})[0].classes.shape == (32, 48)
    unlabelled = task((1, 21, 65, 65), labels=None)
    assert unlabelled.decode({"scores": scores(1, 21, 65, 65)})[0].classes.max() == 20


def test_outputs_that_are_no_classes_are_refused() -> None:
    logits = scores(1, 3, 8, 12)
    logits[0, 1, 2, 3] = np.nan
    with pytest.raises(DataRefused, match="holds NaN"):
        task().decode({"scores": logits})
    with pytest.raises(DataRefused, match=r"holds -1\.\.2"):
        task((1, 8, 12)).decode({"scores": np.full((1, 8, 12), 2) - 3 * np.eye(8, 12)[None]})
    with pytest.raises(DataRefused, match="256 classes"):
        task((1, 256, 2, 2), labels=None, channels="first").decode({"scores": scores(1, 256, 2, 2)})


def miou(pairs: list[tuple[Any, Any]], ignore: int | None) -> float:
    """The definition, class by class."""
    values = []
    for number in range(256):
        both = either = 0
        for label, answer in pairs:
            counted = label != ignore
            both += int(((label == number) & (answer == number) & counted).sum())
            either += int((((label == number) | (answer == number)) & counted).sum())
        if either and number != ignore:
            values.append(both / either)
    return float(np.mean(values))


def test_miou_is_the_definition_and_ignored_pixels_do_not_count() -> None:
    random = np.random.default_rng(3)
    made = task((1, 8, 12), ignore=2)
    scorer = made.scorer()
    pairs, artifacts = [], []
    for _ in range(5):
        label = random.integers(0, 3, (20, 30)).astype(np.uint8)
        want, got = (np.where(random.random((20, 30)) < 0.7, label, 1).astype(np.uint8) for _ in range(2))
        scorer.add(SegmentationMap(want), SegmentationMap(got), LabelMap.of(label, "truth"))
        pairs.append((label, want))
        artifacts.append((label, got))
    original, artifact = scorer.metrics() or (None, None)
    assert original is not None
    assert artifact is not None
    assert original.name == "mIoU"
    assert original.value == pytest.approx(miou(pairs, 2))
    assert artifact.value == pytest.approx(miou(artifacts, 2))
    low, high = original.interval()
    assert low < original.value < high
    agreement = scorer.agreement()
    assert agreement is not None
    same = np.mean([(a == b).mean() for (_, a), (_, b) in zip(pairs, artifacts, strict=True)])
    assert agreement.value == pytest.approx(same)


def test_an_artifact_that_answers_nothing_is_wrong_everywhere() -> None:
    made = task((1, 3, 8, 12))
    scorer = made.scorer()
    logits = scores(1, 3, 8, 12)
    label = made.decode({"scores": logits})[0].classes
    scorer.update({"scores": logits}, {"scores": np.full_like(logits, np.nan)}, [LabelMap.of(label, "t")], [None])
    original, artifact = scorer.metrics() or (None, None)
    assert original is not None
    assert artifact is not None
    assert (original.value, artifact.value) == (1.0, 0.0)
    agreement = scorer.agreement()
    assert agreement is not None
    assert agreement.value == 0.0


def test_without_photos_there_is_nothing_to_say() -> None:
    assert task().scorer().agreement() is None
    assert task().scorer().metrics() is None


def test_label_maps_lie_beside_photos(tmp_path: Path) -> None:
    kind = task_class("semantic-segmentation")
    assert issubclass(kind, SemanticSegmentation)
    photo, mask = tmp_path / "a.jpg", tmp_path / "a_mask.png"
    cv2.imwrite(str(photo), np.zeros((4, 6, 3), np.uint8))
    assert kind.beside(photo) is None
    cv2.imwrite(str(mask), np.full((4, 6), 2, np.uint8))
    assert kind.beside(photo) == mask
    assert kind.is_truth(mask)
    assert not kind.is_truth(photo)
    truth = kind.truth(task().spec, mask, "a")
    assert truth is not None
    assert (truth.read() == 2).all()


def test_label_maps_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    kind, spec = task_class("semantic-segmentation"), task().spec
    mask = tmp_path / "a_mask.png"
    cv2.imwrite(str(mask), np.array([[0, 7], [255, 1]], np.uint8))
    with pytest.raises(DataRefused, match=r"photo 3: the label map holds 7") as refusal:
        kind.truth(spec, mask, "photo 3")
    assert "0..2 or 255" in str(refusal.value)
    with pytest.raises(DataRefused, match="is no file"):
        kind.truth(spec, "missing.png", "photo 3")
    with pytest.raises(DataRefused, match="a map of shape"):
        kind.truth(spec, np.zeros((2, 2, 3)), "photo 3")
    cv2.imwrite(str(mask), np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8))
    with pytest.raises(DataRefused, match="3"):
        kind.truth(spec, mask, "photo 3")
    mask.write_bytes(b"no picture")
    with pytest.raises(DataRefused, match="is no picture"):
        kind.truth(spec, mask, "photo 3")
    assert kind.truth(spec, "", "photo 3") is None


def test_a_label_map_of_another_size_is_refused() -> None:
    scorer = task().scorer()
    answer = SegmentationMap(np.zeros((4, 6), np.uint8))
    with pytest.raises(DataRefused, match=r"truth of b: the map has 6 x 5 pixels.*6 x 4"):
        scorer.add(answer, answer, LabelMap.of(np.zeros((5, 6), np.uint8), "truth of b"))


def test_palette_pngs_give_their_indices(tmp_path: Path) -> None:
    """As Pascal VOC stores label maps; Pillow writes and reads them."""
    from PIL import Image

    numbers = np.random.default_rng(5).integers(0, 40, (13, 17)).astype(np.uint8)
    numbers[0, 0] = 255
    image = Image.new("P", (17, 13))
    image.putdata(numbers.ravel().tolist())
    image.putpalette([value for index in range(256) for value in (index, 255 - index, index * 7 % 256)])
    path = tmp_path / "voc.png"
    image.save(path, optimize=False)
    assert np.array_equal(np.array(Image.open(path)), numbers)
    assert np.array_equal(read_label_map(path), numbers)
