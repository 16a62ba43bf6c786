"""Keypoints: heat maps, numbers and YOLO-pose, OKS and PCK."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.cocoeval import COCOeval, Params

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import task_for
from edgekit.tasks.heatmaps import peaks
from edgekit.tasks.keypoint_scorer import COCO_SIGMAS, KeypointTruth, oks
from edgekit.tasks.keypoints import COCO_EDGES, Keypoint, Keypoints, Pose, Poses
from edgekit.tasks.picture import PictureSize

PHOTO = TensorSpec("photo", (1, 64, 48, 3), layout="NHWC")


def task(shape: tuple[int | None, ...], how: Preprocess | None = None, labels: Any = None, **options: Any) -> Keypoints:
    spec = Spec(
        "keypoints", (PHOTO,), (TensorSpec("points", shape),), how or Preprocess(), options=options, labels=labels
    )
    made = task_for(spec)
    assert isinstance(made, Keypoints)
    return made


def bumps(points: Any, rows: int = 16, columns: int = 12, spread: float = 1.5) -> Any:
    """Gaussian heat maps ``(points, rows, columns)`` around places in cells."""
    y, x = np.mgrid[:rows, :columns]
    maps = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * spread**2)) for px, py in points]
    return np.stack(maps).astype(np.float32)


def published_quarter(maps: Any) -> list[list[float]]:
    """``get_final_preds`` of HRNet and SimpleBaseline, point by point."""
    found = []
    for one in maps:
        at = int(one.argmax())
        y, x = divmod(at, one.shape[1])
        place = [float(x), float(y)]
        if 1 < x < one.shape[1] - 1 and 1 < y < one.shape[0] - 1:
            place[0] += math.copysign(0.25, one[y, x + 1] - one[y, x - 1]) * (one[y, x + 1] != one[y, x - 1])
            place[1] += math.copysign(0.25, one[y + 1, x] - one[y - 1, x]) * (one[y + 1, x] != one[y - 1, x])
        found.append(place)
    return found


@given(st.integers(0, 999))
def test_quarter_offsets_are_the_published_ones(seed: int) -> None:
    maps = np.random.default_rng(seed).integers(0, 9, (5, 7, 6)).astype(np.float32)
    cells, scores = peaks(maps, "quarter")
    assert cells.tolist() == published_quarter(maps)
    assert scores.tolist() == maps.reshape(5, -1).max(axis=1).tolist()


@given(st.floats(15, 33), st.floats(15, 49))
def test_finer_methods_come_closer_to_the_true_place(x: float, y: float) -> None:
    maps = bumps([(x, y)], 64, 48, 2.0)
    true = np.array([x, y])
    rough = peaks(maps, "none")[0][0]
    assert np.array_equal(rough, np.rint(true)) or np.abs(rough - true).max() <= 0.5 + 1e-6
    assert np.abs(peaks(maps, "quarter")[0][0] - true).max() <= 0.2501
    assert np.abs(peaks(maps, "dark")[0][0] - true).max() <= 0.02
    assert np.abs(peaks(np.log(maps + 1e-12), "soft-argmax")[0][0] - true).max() <= 0.02


def test_dark_is_exact_where_the_smoothed_peak_is_gaussian() -> None:
    cells, _ = peaks(bumps([(24.3, 30.7)], 64, 48, 2.0), "dark")
    assert cells[0] == pytest.approx([24.3, 30.7], abs=0.01)


@pytest.mark.parametrize("refine", ["none", "quarter", "dark", "soft-argmax"])
def test_flat_maps_and_maps_of_one_cell_have_an_answer(refine: Any) -> None:
    for shape in ((2, 1, 1), (2, 5, 5)):
        cells, scores = peaks(np.zeros(shape, np.float32), refine)
        assert np.isfinite(cells).all()
        assert scores.tolist() == [0, 0]


def test_heat_maps_become_photo_pixels() -> None:
    maps = bumps([(3, 5), (8, 9), (6, 2)])
    made = task((1, 3, 16, 12), labels=("a", "b", "c"), refine="none")
    (got,) = made.decode({"points": maps[None]}, [PictureSize(128, 96)])
    (pose,) = got.found
    assert [(p.name, p.x, p.y) for p in pose.points] == [("a", 24, 40), ("b", 64, 72), ("c", 48, 16)]
    last = task((1, 16, 12, 3), labels=("a", "b", "c"), refine="none")
    assert last.decode({"points": maps.transpose(1, 2, 0)[None]}, [PictureSize(128, 96)]) == [got]
    centre = task((1, 3, 16, 12), refine="none", cells="centre")
    (shifted,) = centre.decode({"points": maps[None]}, [PictureSize(128, 96)])
    assert [(p.x, p.y) for p in shifted.found[0].points] == [(28, 44), (68, 76), (52, 20)]


def test_movenet_numbers_are_y_x_score_in_shares_of_the_letterboxed_input() -> None:
    numbers = np.random.default_rng(0).random((1, 1, 17, 3)).astype(np.float32)
    made = task((1, 1, 17, 3), Preprocess("letterbox"), form="points", order="yx")
    (got,) = made.decode({"points": numbers}, [PictureSize(256, 96)])
    (pose,) = got.found
    assert pose.points[0].name == "nose"
    assert got.edges == COCO_EDGES
    for point, (y, x, score) in zip(pose.points, numbers[0, 0].tolist(), strict=True):
        assert point.y == pytest.approx(y * 64 * 4, abs=1e-3)
        assert point.x == pytest.approx((x * 48 - 12) * 4, abs=1e-3)
        assert point.score == pytest.approx(score)
    assert pose.score == pytest.approx(numbers[..., 2].mean())


def test_flat_numbers_in_pixels_and_without_scores() -> None:
    flat = np.array([[12, 16, 0.5, 24, 32, 0.7]], np.float32)
    made = task((1, 6), form="points", units="pixels", columns=3)
    (got,) = made.decode({"points": flat}, [PictureSize(128, 96)])
    assert [(p.x, p.y) for p in got.found[0].points] == [(24, 32), (48, 64)]
    bare = task((1, 2, 2), form="points").decode({"points": np.full((1, 2, 2), 0.5, np.float32)}, [PictureSize(10, 20)])
    assert [(p.x, p.y, p.score) for p in bare[0].found[0].points] == [(10, 5, 1), (10, 5, 1)]


def test_yolo_pose_suppresses_and_undoes_the_letterbox() -> None:
    candidates = np.zeros((1, 5 + 6, 4), np.float32)
    candidates[0, :, 0] = (24, 32, 20, 20, 0.9, 20, 30, 0.8, 28, 34, 0.1)
    candidates[0, :, 1] = (25, 32, 20, 20, 0.8, 0, 0, 0, 0, 0, 0)
    candidates[0, :, 2] = (24, 8, 6, 6, 0.5, 24, 8, 0.9, 24, 9, 0.9)
    candidates[0, :, 3] = (24, 50, 6, 6, 0.1, 1, 1, 1, 1, 1, 1)
    made = task((1, 11, 4), Preprocess("letterbox"), labels=("a", "b"), form="yolo-pose")
    (got,) = made.decode({"points": candidates}, [PictureSize(64, 32)])
    first, second = got.found
    assert (round(first.score, 3), round(second.score, 3)) == (0.9, 0.5)
    assert first.box == pytest.approx((6, 22, 26, 42))
    assert [(p.name, p.x, p.y) for p in first.points] == [("a", 12, 30), ("b", 20, 34)]
    assert made.decode({"points": candidates.transpose(0, 2, 1)}, [PictureSize(64, 32)]) == [got]


def test_nobody_is_an_answer() -> None:
    made = task((1, 11, 4), labels=("a", "b"), form="yolo-pose")
    (got,) = made.decode({"points": np.zeros((1, 11, 4), np.float32)}, [PictureSize(1, 1)])
    assert (got.found, str(got)) == ((), "nobody")
    assert got.draw(np.zeros((5, 5, 3), np.uint8)).shape == (5, 5, 3)


def test_the_json_form_the_line_and_the_drawing() -> None:
    points = (Keypoint("a", 100.0, 50.0, 0.9), Keypoint("b", 500.0, 350.0, 0.8), Keypoint("c", 300.0, 50.0, 0.1))
    poses = Poses(400, 600, (Pose(points, 0.6),), ((0, 1), (1, 2)))
    raw = json.loads(json.dumps(poses.to_dict(), allow_nan=False))
    assert raw["poses"][0]["points"][1] == {"name": "b", "x": 500.0, "y": 350.0, "score": 0.8}
    assert str(poses) == "60 % 2 of 3 points: a 100,50, b 500,350"
    drawn = poses.draw(np.full((800, 1200, 3), 90, np.uint8))
    assert (drawn[100, 200] != 90).any()
    assert (drawn[400, 600] != 90).any(), "the line between a and b"
    assert (drawn[100, 600] == 90).all(), "c is below the threshold"
    assert (drawn[400, 800] == 90).all(), "and so is its line"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "lines"}, "options.form = 'lines'"),
        ({"refine": "best"}, "options.refine = 'best'"),
        ({"order": "zy"}, "options.order = 'zy'"),
        ({"metric": "pdj"}, "options.metric = 'pdj'"),
        ({"edges": ((1, 2, 3),)}, "options.edges"),
        ({"sigmas": (0.1, -1)}, "options.sigmas"),
        ({"columns": 1}, "options.columns = 1"),
        ({"points_axis": "middle"}, "options.points_axis"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        task((1, 3, 16, 12), **options)


def test_outputs_that_do_not_fit_are_refused() -> None:
    maps = bumps([(3, 5)] * 3)[None]
    with pytest.raises(DataRefused, match="holds NaN"):
        task((1, 3, 16, 12)).decode({"points": np.full_like(maps, np.nan)})
    with pytest.raises(DataRefused, match="3 points and 2 labels"):
        task((1, 3, 16, 12), labels=("a", "b")).decode({"points": maps})
    with pytest.raises(DataRefused, match=r"options\.edges"):
        task((1, 3, 16, 12), edges=((0, 3),)).decode({"points": maps})
    every: list[dict[str, Any]] = [{}, {"form": "points"}, {"form": "yolo-pose"}]
    for options in every:
        with pytest.raises(DataRefused, match=r"of shape \[1, 6\]"):
            task((1, 6), **options).decode({"points": np.zeros((1, 6), np.float32)})


def coco_oks(found: Any, person: dict[str, Any]) -> float:
    """``pycocotools`` itself, on one answer and one truth."""
    judge = COCOeval(iouType="keypoints")
    judge.params = Params("keypoints")
    flat = np.concatenate([found, np.ones((17, 1))], axis=1).ravel().tolist()
    judge._gts[1, 1] = [{"id": 1, "keypoints": person["keypoints"], "area": person["area"], "bbox": [0, 0, 9, 9]}]
    judge._dts[1, 1] = [{"id": 1, "keypoints": flat, "score": 1.0}]
    return float(judge.computeOks(1, 1)[0, 0])


@given(st.integers(0, 999))
def test_oks_is_pycocotools(seed: int) -> None:
    random = np.random.default_rng(seed)
    marks = np.concatenate([random.uniform(0, 200, (17, 2)), random.integers(0, 3, (17, 1))], axis=1)
    marks[0, 2] = 2
    person = {"keypoints": marks.ravel().tolist(), "area": float(random.uniform(500, 20000))}
    found = marks[:, :2] + random.normal(0, 8, (17, 2))
    truth = KeypointTruth.of(person, "truth")
    assert oks(found, truth, COCO_SIGMAS) == pytest.approx(coco_oks(found, person), abs=1e-9)


def test_coco_sigmas_are_pycocotools() -> None:
    assert np.allclose(COCO_SIGMAS, Params("keypoints").kpt_oks_sigmas)


def pose_at(points: Any, score: float = 0.9) -> Pose:
    return Pose(tuple(Keypoint(str(i), float(x), float(y), 0.9) for i, (x, y) in enumerate(points)), score)


def test_people_are_matched_once_and_a_missed_one_counts_nothing() -> None:
    made = task((1, 3, 16, 12), metric="pck", pck_share=0.1)
    scorer = made.scorer()
    one, two = np.array([[0.0, 0], [10, 0], [0, 100]]), np.array([[200.0, 0], [210, 0], [200, 100]])
    truth = made.truth(made.spec, [{"points": two.tolist()}, {"points": one.tolist()}], "photo")
    off = one + np.array([[0, 0], [0, 0], [0, 50]])
    scorer.add(Poses(300, 300, (pose_at(one), pose_at(two))), Poses(300, 300, (pose_at(off),)), truth)
    scores, agreement = scorer.metrics(), scorer.agreement()
    assert scores is not None
    assert agreement is not None
    assert (scores[0].name, scores[0].value) == ("PCK@0.1", 1.0)
    assert scores[1].value == pytest.approx((2 / 3 + 0) / 2)
    assert agreement.value == scores[1].value


def test_an_artifact_without_an_answer_finds_nobody() -> None:
    made, maps = task((1, 3, 16, 12)), bumps([(3, 5), (8, 9), (6, 2)])[None]
    scorer = made.scorer()
    scorer.update({"points": maps}, {"points": np.full_like(maps, np.nan)}, [None], [None])
    agreement = scorer.agreement()
    assert agreement is not None
    assert (agreement.name, agreement.value) == ("OKS", 0.0)
    assert scorer.metrics() is None


def test_truth_comes_from_a_file_from_text_or_from_mappings(tmp_path: Path) -> None:
    made = task((1, 2, 16, 12))
    people = [{"points": [[1, 2], [11, 22, 0]], "bbox": [0, 0, 30, 40]}]
    (tmp_path / "a.json").write_text(json.dumps(people))
    for raw in (people, json.dumps(people), made.beside(tmp_path / "a.jpg")):
        truth = made.truth(made.spec, raw, "photo")
        assert truth is not None
        assert (truth[0].known.tolist(), truth[0].area, truth[0].side) == ([True, False], 1200.0, 40.0)
    assert made.beside(tmp_path / "b.jpg") is None
    assert made.truth(made.spec, "", "photo") is None


@pytest.mark.parametrize(
    "raw", [[{"area": 3}], [{"points": []}], [{"points": [["x", 1]]}], "{", 3, [{"points": [[1]]}]]
)
def test_truth_that_cannot_be_right_is_refused(raw: Any) -> None:
    with pytest.raises(DataRefused, match="photo 4"):
        Keypoints.truth(task((1, 2, 16, 12)).spec, raw, "photo 4")


def test_a_truth_with_other_points_is_refused() -> None:
    scorer = task((1, 3, 16, 12)).scorer()
    poses = Poses(9, 9, (pose_at([[0, 0], [1, 1], [2, 2]]),))
    with pytest.raises(DataRefused, match=r"2 points.*the model's 3"):
        scorer.add(poses, poses, (KeypointTruth.of({"points": [[0, 0], [1, 1]]}, "photo"),))
