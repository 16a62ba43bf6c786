"""How long decoding takes, task by task: milliseconds of one core, whatever else the machine does.

    python tests/benchmarks/decoding.py [NAME …] [--repeats 50]

Outputs are made up, of the shapes and with the share of answers that real models give. A row is a function in `CASES`
that returns the task, its outputs and the contexts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from edgekit.engine import Array
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit.tasks import Task, task_for
from edgekit.tasks.picture import PictureSize

Case = tuple[Task, Mapping[str, Array], Sequence[Any]]


def yolov8(*, channels_first: bool, score: float = 0.25) -> Case:
    """80 classes, 640 x 640: 30 objects, each found about 8 times, among 8400 places."""
    rng = np.random.default_rng(0)
    rows = np.zeros((8400, 84), np.float32)
    rows[:, :4] = rng.random((8400, 4)) * (640, 640, 100, 100) + (0, 0, 10, 10)
    rows[:, 4:] = 0.2 * rng.random((8400, 80)) ** 8
    for number, centre in enumerate(rng.random((30, 2)) * 600 + 20):
        at = rng.integers(0, 8400, 8)
        rows[at, :2] = centre + rng.normal(0, 3, (8, 2))
        rows[at, 2:4] = 60 + rng.normal(0, 3, (8, 2))
        rows[at, 4 + number % 80] = 0.3 + 0.6 * rng.random(8)
    return _detector(rows.T if channels_first else rows, {"head": "yolov8", "iou": 0.7, "score": score})


def yolov5() -> Case:
    """80 classes, 640 x 640: 25200 places, one in a hundred with an object."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.random((25200, 4)) * 600, rng.random((25200, 81))], axis=1).astype(np.float32)
    rows[:, 4] *= rng.random(25200) < 0.01
    return _detector(rows, {"head": "yolov5"})


def fastestdet() -> Case:
    """22 x 22 cells, one in ten with an object."""
    rng = np.random.default_rng(0)
    cells = rng.normal(0, 1, (85, 22, 22)).astype(np.float32)
    cells[0] = 0.9 * (rng.random((22, 22)) < 0.1)
    cells[5:] = rng.random((80, 22, 22))
    return _detector(cells, {"head": "fastestdet"}, side=352)


def detr() -> Case:
    """100 queries, 91 classes and no object."""
    rng = np.random.default_rng(0)
    arrays = {"logits": rng.normal(0, 2, (100, 92)).astype(np.float32), "boxes": rng.random((100, 4), np.float32)}
    return _detector(arrays, {"head": "detr"})


def _detector(arrays: Array | Mapping[str, Array], options: Mapping[str, Any], side: int = 640) -> Case:
    named = dict(arrays) if isinstance(arrays, Mapping) else {"boxes": arrays}
    batch = {name: np.ascontiguousarray(array)[None] for name, array in named.items()}
    spec = Spec(
        task="object-detection",
        inputs=(TensorSpec("photo", (1, 3, side, side), layout="NCHW"),),
        outputs=tuple(TensorSpec(name, array.shape) for name, array in batch.items()),
        preprocess=Preprocess("letterbox"),
        options=options,
    )
    return task_for(spec), batch, [PictureSize(480, 640)]


CASES: dict[str, Callable[[], Case]] = {
    "YOLOv8, 84 x 8400": lambda: yolov8(channels_first=True),
    "YOLOv8, 8400 x 84": lambda: yolov8(channels_first=False),
    "YOLOv8, 84 x 8400, everything above 0.001": lambda: yolov8(channels_first=True, score=0.001),
    "YOLOv5, 25200 x 85": yolov5,
    "FastestDet, 85 x 22 x 22": fastestdet,
    "DETR, 100 queries": detr,
}
"""Name of a row -> what it decodes."""


def milliseconds(case: Case, repeats: int) -> tuple[float, float, int]:
    """Median and 95th percentile of the milliseconds for one input, and how many things it found."""
    task, outputs, contexts = case
    spent = []
    for _ in range(repeats):
        start = time.thread_time()
        results = task.decode(outputs, contexts)
        spent.append(1000 * (time.thread_time() - start))
    found = len(getattr(results[0], "objects", ()))
    return statistics.median(spent), float(np.percentile(spent, 95)), found


def main(names: Sequence[str], repeats: int) -> None:
    """Print one line a case."""
    cv2.setNumThreads(1)
    print(f"{'outputs':44}{'median':>10}{'95 %':>10}{'found':>8}")
    for name, make in CASES.items():
        if not names or any(word.lower() in name.lower() for word in names):
            median, high, found = milliseconds(make(), repeats)
            print(f"{name:44}{median:7.2f} ms{high:7.2f} ms{found:8}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="part of a row's name")
    parser.add_argument("--repeats", type=int, default=50)
    given = parser.parse_args()
    main(given.names, given.repeats)
