"""What photos and recordings have in common: files that a CSV lists, and folders that are classes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit_converters.data.dataset import Dataset, Item


def read_list(path: Path, spec: Spec, label: Callable[[str | None, Path], Any]) -> Dataset:
    """A CSV with a column ``file`` and, if known, ``label``; relative to the CSV.

    Args:
        path: The CSV.
        spec: Its task knows what a truth is.
        label: Makes of the text and the CSV's folder what the task takes as truth.

    Raises:
        DataRefused: No column ``file``, or a file that does not exist.
    """
    truth, folder = task_class(spec.task).truth, path.parent
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if "file" not in (reader.fieldnames or ()):
            raise DataRefused(f"{path} has columns {reader.fieldnames}", expected="file, and label if known")
        items = [
            Item(
                row["file"],
                folder / row["file"],
                truth(spec, label(row.get("label"), folder), f"{path.name} line {number}"),
            )
            for number, row in enumerate(reader, 2)
        ]
    missing = next((item for item in items if not item.value.is_file()), None)
    if missing is not None:
        raise DataRefused(f"{path} names {missing.name}, which does not exist", expected="files relative to the CSV")
    return Dataset(lambda: iter(items), len(items), str(path))


def class_index(classes: Sequence[str], spec: Spec, where: str) -> dict[str, int]:
    """Folder -> class: by the spec's labels, or without them by its place among the folders."""
    if not spec.labels:
        return {name: number for number, name in enumerate(classes)}
    return {name: task_class(spec.task).truth(spec, name, where) or 0 for name in classes}
