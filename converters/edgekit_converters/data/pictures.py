"""Photos: a folder, a CSV or JSON lines of files, one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused
from edgekit.images import IMAGE_SUFFIXES
from edgekit.rows import json_object
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.base import Task
from edgekit.tasks.picture import PictureTask
from edgekit_converters.data.dataset import Dataset, Item
from edgekit_converters.data.files import class_index, read_list


def read_one(path: Path, spec: Spec) -> Dataset:
    """A single photo."""
    label = _beside(task_class(spec.task), path, spec)
    return Dataset(lambda: iter([Item(path.name, path, label)]), 1, path.name)


def read_folder(folder: Path, spec: Spec) -> Dataset:
    """Photos of a folder and everything below it; subfolders are classes where the task knows classes."""
    kind = task_class(spec.task)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if kind.truth.__func__ is not Task.truth.__func__:  # type: ignore[attr-defined]  # the truth is no class
        files = [file for file in files if not _is_truth(kind, file)]
        items = [Item(str(p.relative_to(folder)), p, _beside(kind, p, spec)) for p in files]
        return Dataset(lambda: iter(items), len(items), str(folder))
    classes = sorted({p.relative_to(folder).parts[0] for p in files if p.parent != folder})
    if any(p.parent == folder for p in files):
        classes = []  # a flat folder, or a mixed one: no labels can be read from it
    index = class_index(classes, spec, str(folder))
    items = [
        Item(str(p.relative_to(folder)), p, index[p.relative_to(folder).parts[0]] if classes else None) for p in files
    ]
    return Dataset(lambda: iter(items), len(items), str(folder))


def read_csv(path: Path, spec: Spec) -> Dataset:
    """A CSV with a column ``file`` and, if known, ``label``, which may name a file too; relative to the CSV."""
    return read_list(path, spec, _label)


def read_jsonl(path: Path, spec: Spec) -> Dataset:
    """JSON lines with ``file``, relative to the file, and ``label`` as the task's truth has it, or as a file."""
    kind = task_class(spec.task)
    items = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                where = f"{path.name} line {number}"
                row = json_object(line, where, "file", '{"file": …, "label": …}')
                file = path.parent / row["file"]
                if not file.is_file():
                    raise DataRefused(f"{where} names {row['file']}, which does not exist", expected="files beside it")
                label = row.get("label")
                known = _label(label, path.parent) if isinstance(label, str) else label
                items.append(Item(row["file"], file, kind.truth(spec, known, where)))
    return Dataset(lambda: iter(items), len(items), str(path))


def _label(text: str | None, folder: Path) -> str | Path | None:
    """A label; where it names a file, that file."""
    return folder / text if text and "." in text and (folder / text).is_file() else text


def _beside(kind: type[Task], file: Path, spec: Spec) -> Any:
    if not issubclass(kind, PictureTask):
        return None
    found = kind.beside(file)
    return None if found is None else kind.truth(spec, found, str(found))


def _is_truth(kind: type[Task], file: Path) -> bool:
    """Whether an image is the truth of another one, such as a mask."""
    return issubclass(kind, PictureTask) and kind.is_truth(file)


READERS: dict[str, Callable[[Path, Spec], Dataset]] = {
    "/": read_folder,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    **dict.fromkeys(IMAGE_SUFFIXES, read_one),
}
