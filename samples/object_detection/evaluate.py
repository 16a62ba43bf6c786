"""Measure each artifact of a detector's bundle on labelled photos, here or on the board: needs no framework.

python evaluate.py BUNDLE FOLDER        FOLDER has photos, and beside each a .txt with its boxes as YOLO writes them
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgekit
from edgekit.bundle import Artifact, Bundle
from edgekit.errors import DataRefused, EdgeKitError
from edgekit.images import IMAGE_SUFFIXES
from edgekit.tasks.average_precision import AveragePrecision, Matched, match
from edgekit.tasks.detection_score import EVALUATION_SCORE
from edgekit.tasks.detection_truth import Objects, label_file, objects
from edgekit.tasks.object_detection import Detections, ObjectDetection

ENGINES = {"tflite": "litert", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Score:
    """How an artifact did.

    Attributes:
        map50: Mean average precision at an overlap of 0.5, as COCO computes it.
        map50_95: Mean of those at overlaps of 0.5 to 0.95.
        milliseconds: Mean time for one photo: reading, resizing, inference, decoding.
    """

    map50: float
    map50_95: float
    milliseconds: float


def labelled_photos(bundle: Path, folder: Path) -> list[tuple[Path, Objects]]:
    """Photos of a folder with their boxes. Raises DataRefused when there are none."""
    spec = Bundle(bundle).spec
    files = [(path, label_file(path)) for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    known = [(path, objects(spec, label, str(label))) for path, label in files]
    labelled = [(path, truth) for path, truth in known if truth is not None]
    if not labelled:
        raise DataRefused(f"{folder} holds no labelled photos", expected="photos, each with a .txt beside it")
    return labelled


def score(bundle: Path, artifact: Artifact, photos: Sequence[tuple[Path, Objects]]) -> Score:
    """Find objects in every photo with one artifact."""
    matched, seconds = [], 0.0
    with edgekit.load(bundle, engine=ENGINES[artifact.format], recipe=artifact.recipe) as predictor:
        if not isinstance(predictor.task, ObjectDetection):
            raise DataRefused(f"a bundle for {predictor.task.name}", expected="one for object-detection")
        predictor.task = predictor.task.with_score(EVALUATION_SCORE)
        for path, truth in photos:
            start = time.perf_counter()
            found = predictor.predict(path)
            seconds += time.perf_counter() - start
            assert isinstance(found, Detections)  # noqa: S101  what the task gives
            matched.append(compare(found, truth))
    precision, everything = AveragePrecision(matched), np.arange(len(matched))
    return Score(precision(everything, 1), precision(everything), 1000 * seconds / len(photos))


def compare(found: Detections, truth: Objects) -> Matched:
    """Match what was found with what is right."""
    boxes = np.array([one.box for one in found.objects]).reshape(-1, 4)
    scores = np.array([one.score for one in found.objects])
    classes = np.array([one.index for one in found.objects], np.int64)
    right = truth.boxes * np.array([found.width, found.height] * 2)
    return match((boxes, scores, classes), (right, truth.classes, truth.crowd))


def main(bundle: Path, folder: Path) -> None:
    """Print one line an artifact."""
    photos = labelled_photos(bundle, folder)
    print(f"{len(photos)} photos, {sum(len(truth.classes) for _, truth in photos)} objects")
    for artifact in Bundle(bundle).artifacts:
        result = score(bundle, artifact, photos)
        print(
            f"{artifact.file:24} mAP50 {100 * result.map50:5.2f}   mAP50-95 {100 * result.map50_95:5.2f}"
            f"   {result.milliseconds:.1f} ms a photo"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure each artifact of a detector's bundle on labelled photos.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        main(given.bundle, given.folder)
    except EdgeKitError as error:
        raise SystemExit(f"error: {error}") from error
