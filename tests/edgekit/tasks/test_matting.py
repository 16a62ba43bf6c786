"""Mattes: decoding, refusals, IoU and mean absolute difference."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import task_for
from edgekit.tasks.label_maps import LabelMap
from edgekit.tasks.matting import Matte, Matting, MattingScorer
from edgekit.tasks.picture import PictureSize


def task(shape: tuple[int | None, ...] = (1, 1, 16, 24), how: Preprocess | None = None, **options: Any) -> Matting:
    photo = TensorSpec("photo", (1, 32, 48, 3), layout="NHWC")
    spec = Spec("matting", (photo,), (TensorSpec("matte", shape),), how or Preprocess(), options=options)
    made = task_for(spec)
    assert isinstance(made, Matting)
    return made


def logits(*shape: int) -> Any:
    return (3 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def test_logits_become_shares_at_the_photos_size() -> None:
    given = logits(1, 1, 16, 24)
    (got,) = task(activation="sigmoid").decode({"matte": given}, [PictureSize(50, 70)])
    expected = torch.nn.functional.interpolate(
        torch.sigmoid(torch.from_numpy(given)), size=(50, 70), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    assert np.allclose(got.alpha, expected, atol=1e-5)
    assert np.array_equal(got.mask, got.alpha >= 0.5)


def test_channels_last_no_channel_and_two_channels_give_the_same() -> None:
    given = logits(1, 16, 24)
    (one,) = task((1, 16, 24), activation="sigmoid").decode({"matte": given})
    (last,) = task((1, 16, 24, 1), activation="sigmoid").decode({"matte": given[..., None]})
    two = np.stack([np.ones_like(given), given + 1], axis=1)
    (soft,) = task((1, 2, 16, 24), activation="softmax").decode({"matte": two})
    assert np.array_equal(one.alpha, last.alpha)
    assert np.allclose(one.alpha, soft.alpha, atol=1e-6)


def test_letterbox_is_undone_and_what_was_cropped_is_no_foreground() -> None:
    given = np.zeros((1, 1, 32, 48), np.float32)
    given[..., 16:32] = 1
    (boxed,) = task((1, 1, 32, 48), Preprocess("letterbox")).decode({"matte": given}, [PictureSize(64, 32)])
    assert boxed.share == 1.0
    how = Preprocess("short-side", (64, 64), crop=True)
    (cut,) = task((1, 1, 32, 48), how).decode({"matte": np.ones_like(given)}, [PictureSize(64, 64)])
    assert cut.share == pytest.approx(32 * 48 / 64 / 64)


def test_shares_that_are_none_are_refused_and_clipped_where_the_options_say_so() -> None:
    given = logits(1, 1, 16, 24)
    with pytest.raises(DataRefused, match=r"'matte' holds -\d.*shares 0\.\.1") as refusal:
        task().decode({"matte": given})
    assert "sigmoid" in str(refusal.value.remedy)
    (clipped,) = task(activation="clip").decode({"matte": given})
    assert (clipped.alpha.min(), clipped.alpha.max()) == (0.0, 1.0)
    given[0, 0, 0, 0] = np.nan
    with pytest.raises(DataRefused, match="holds NaN"):
        task(activation="sigmoid").decode({"matte": given})


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 3, 16, 24), {}, "expected one channel"),
        ((1, 1, 16, 24), {"activation": "softmax"}, "two channels for softmax"),
        ((1, 1, 16, 24), {"activation": "relu"}, "options.activation = 'relu'"),
        ((1, 1, 16, 24), {"metric": "sad"}, "options.metric = 'sad'"),
        ((1, 1, 16, 24), {"threshold": 1.5}, "options.threshold = 1.5"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        task(shape, **options)


def test_the_json_form_the_line_and_the_drawing() -> None:
    alpha = np.zeros((40, 60), np.float32)
    alpha[:, 30:] = 0.8
    matte = Matte(alpha, name="person")
    raw = matte.to_dict()
    png: Any = cv2.imdecode(np.frombuffer(base64.b64decode(raw["matte"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(png, np.rint(alpha * 255))
    assert (raw["height"], raw["width"], raw["person"]) == (40, 60, 0.5)
    assert str(matte) == "person 50.0 %"
    drawn = matte.draw(np.full((400, 600, 3), 90, np.uint8))
    assert (drawn[300, :290] == 90).all()
    assert (drawn[300, 320:] != 90).any(axis=1).all()


def test_iou_and_mean_absolute_difference_are_the_definitions() -> None:
    random = np.random.default_rng(2)
    right = (random.random((30, 40)) * 255).astype(np.uint8)
    want, got = (Matte(random.random((30, 40)).astype(np.float32)) for _ in range(2))
    by_iou, by_mad = task().scorer(), task(metric="mad").scorer()
    for scorer in (by_iou, by_mad):
        scorer.add(want, got, LabelMap.of(right, "truth"))
    foreground = right / np.float32(255) >= 0.5
    definitions: list[tuple[MattingScorer, str, Callable[[Matte], float]]] = [
        (by_iou, "IoU", lambda matte: float((matte.mask & foreground).sum() / (matte.mask | foreground).sum())),
        (by_mad, "mean absolute difference", lambda matte: float(np.abs(matte.alpha - right / 255).mean())),
    ]
    for scorer, name, definition in definitions:
        original, artifact = scorer.metrics() or (None, None)
        assert original is not None
        assert artifact is not None
        assert original.name == name
        assert original.value == pytest.approx(definition(want), abs=1e-6)
        assert artifact.value == pytest.approx(definition(got), abs=1e-6)
        assert original.higher_is_better == (name == "IoU")
    agreement = by_iou.agreement()
    assert agreement is not None
    assert agreement.value == pytest.approx((want.mask & got.mask).sum() / (want.mask | got.mask).sum())


@pytest.mark.parametrize(("metric", "worst"), [("iou", 0.0), ("mad", 1.0)])
def test_an_artifact_without_an_answer_is_wrong(metric: str, worst: float) -> None:
    made = task(metric=metric)
    scorer = made.scorer()
    share = np.full((1, 1, 16, 24), 0.9, np.float32)
    label = LabelMap.of(np.ones((32, 48), np.uint8), "truth")
    scorer.update({"matte": share}, {"matte": np.full_like(share, np.nan)}, [label], [None])
    agreement, scores = scorer.agreement(), scorer.metrics()
    assert agreement is not None
    assert agreement.value == 0.0
    assert scores is not None
    assert scores[1].value == worst


def test_a_mask_of_zeros_and_ones_means_the_same_as_of_0_and_255(tmp_path: Path) -> None:
    foreground = np.zeros((32, 48), np.uint8)
    foreground[:, :20] = 1
    for factor in (1, 255):
        path = tmp_path / f"{factor}_mask.png"
        cv2.imwrite(str(path), foreground * factor)
        truth = Matting.truth(task().spec, path, "photo")
        scorer = task().scorer()
        answer = Matte(foreground.astype(np.float32))
        scorer.add(answer, answer, truth)
        scores = scorer.metrics()
        assert scores is not None
        assert scores[0].value == 1.0


def test_an_empty_mask_that_is_found_empty_is_right() -> None:
    scorer = task().scorer()
    nothing = Matte(np.zeros((4, 4), np.float32))
    scorer.add(nothing, nothing, LabelMap.of(np.zeros((4, 4), np.uint8), "truth"))
    scores = scorer.metrics()
    assert scores is not None
    assert scores[0].value == 1.0
