"""Photos with the annotations of a COCO ``instances.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit_converters.data.dataset import Dataset, Item

_EXPECTED = "a COCO file with images, annotations and categories"


def read(path: Path, spec: Spec) -> Dataset:
    """Photos of a COCO file, beside it or in a folder ``images``; categories are known to the task by name.

    The task is given the truth of a photo as a mapping with ``width``, ``height`` and ``annotations``, each as in the
    file with a ``category``; a photo without annotations holds no objects.

    Raises:
        DataRefused: The file is no such file, or names photos or categories that do not exist.
    """
    content = _load(path)
    truth = task_class(spec.task).truth
    try:
        names = {category["id"]: category["name"] for category in content["categories"]}
        of_photo: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            named = {**annotation, "category": names[annotation["category_id"]]}
            of_photo[annotation["image_id"]].append(named)
        items = []
        for image in content["images"]:
            size = {"width": image["width"], "height": image["height"]}
            where = f"{path.name}: {image['file_name']}"
            known = truth(spec, {**size, "annotations": of_photo[image["id"]]}, where)
            items.append(Item(str(image["file_name"]), _photo(path, image["file_name"]), known))
    except (KeyError, TypeError) as error:
        raise DataRefused(f"{path}: an entry without or of unknown {error}", expected=_EXPECTED) from error
    return Dataset(lambda: iter(items), len(items), str(path))


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataRefused(f"{path}: {error}", expected=_EXPECTED) from error
    if not isinstance(content, dict):
        raise DataRefused(f"{path} holds a {type(content).__name__}", expected=_EXPECTED)
    return content


def _photo(path: Path, name: str) -> Path:
    found = next((file for file in (path.parent / name, path.parent / "images" / name) if file.is_file()), None)
    if found is None:
        raise DataRefused(f"{path} names {name}, which does not exist", expected="photos beside it or in images/")
    return found
