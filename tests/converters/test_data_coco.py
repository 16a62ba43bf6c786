"""Photos with the annotations of a COCO file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit.spec import Preprocess, Spec, TensorSpec
from edgekit_converters.data import open_dataset

SPEC = Spec(
    task="object-detection",
    inputs=(TensorSpec("photo", (1, 8, 8, 3), layout="NHWC"),),
    outputs=(TensorSpec("o", (1, 6, 20)),),
    preprocess=Preprocess(),
    options={"head": "yolov8"},
    labels=("ant", "bee"),
)


def content() -> dict[str, Any]:
    """The numbers of categories are not those of the labels, as in COCO itself."""
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20},
                   {"id": 9, "file_name": "b.png", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10], "iscrowd": 0},
                        {"id": 2, "image_id": 7, "category_id": 90, "bbox": [0, 0, 4, 2], "iscrowd": 1}],
        "categories": [{"id": 90, "name": "ant"}, {"id": 18, "name": "bee"}],
    }  # fmt: skip


def written(folder: Path, raw: Any) -> Path:
    for name in ("a.png", "images/b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((20, 40, 3), np.uint8))
    (folder / "instances.json").write_text(json.dumps(raw), encoding="utf-8")
    return folder / "instances.json"


def test_photos_and_their_boxes(tmp_path: Path) -> None:
    data = open_dataset(written(tmp_path, content()), SPEC)
    assert [(item.name, item.value) for item in data] == [
        ("a.png", tmp_path / "a.png"), ("b.png", tmp_path / "images" / "b.png")]  # fmt: skip
    first, second = (item.label for item in data)
    assert np.allclose(first.boxes, [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.1, 0.1]])
    assert first.classes.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True]
    assert len(second.classes) == 0, "no annotation: there is nothing in the photo"


def test_what_is_no_coco_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, content())
    with pytest.raises(DataRefused, match=r"label 'bee'.*\n.*--labels"):
        open_dataset(path, SPEC.replace(labels=("dog", "fox")))
    for change, message in (
        (
            {"images": [{"id": 7, "file_name": "c.png", "width": 1, "height": 1}], "annotations": []},
            "names c.png, which",
        ),
        ({"annotations": [{"image_id": 8, "category_id": 18, "bbox": [1, 1, 1, 1]}]}, "unknown 8"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 1, 1]}]}, "unknown 1;"),
        ({"categories": None}, "expected a COCO file"),
    ):
        with pytest.raises(DataRefused, match=message):
            open_dataset(written(tmp_path, {**content(), **change}), SPEC)
    with pytest.raises(DataRefused, match="holds a list"):
        open_dataset(written(tmp_path, []), SPEC)
    path.write_text('{"images": [')
    with pytest.raises(DataRefused, match=r"instances\.json: .*; expected a COCO file"):
        open_dataset(path, SPEC)


def test_text_beside_photos_of_a_folder(tmp_path: Path) -> None:
    written(tmp_path, content())
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    labels = {item.name: item.label for item in open_dataset(tmp_path, SPEC)}
    assert labels["a.png"].classes.tolist() == [1]
    assert labels["images/b.png"] is None
