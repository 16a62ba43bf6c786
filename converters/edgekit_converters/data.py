"""Calibration and evaluation data: a folder, a CSV, arrays, text or a function, always read lazily.

| given | samples | labels |
|---|---|---|
| folder | its images, sorted; subfolders are classes | subfolder, by the spec's labels or in sorted order |
| ``.csv`` | column ``file``, relative to the CSV | column ``label``: a number or a name |
| ``.npz``, ``.npy`` | first axis; arrays named as the inputs (or one array) | array ``label``, ``labels`` or ``y`` |
| ``.txt``, ``.tsv``, ``.jsonl`` | lines; ``text<TAB>label``; ``{"text", "text_pair", "label"}`` | as said |
| ``module:function``, ``file.py:function`` | what it yields: an item, or ``(item, label)`` | the second |
"""

from __future__ import annotations

import csv
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.images import IMAGE_SUFFIXES
from edgekit.spec import Spec
from edgekit.tasks import Task


@dataclass(frozen=True)
class Item:
    """One sample before encoding.

    Attributes:
        name: For messages: a file, a line, an index.
        value: What the task encodes.
        label: Class, ``None`` where unknown.
    """

    name: str
    value: Any
    label: int | None = None


@dataclass(frozen=True)
class Sample:
    """One encoded sample.

    Attributes:
        name: For messages.
        feeds: Spec input name -> array with a batch of 1.
        label: Class, ``None`` where unknown.
    """

    name: str
    feeds: dict[str, Array]
    label: int | None


class Dataset:
    """Samples that can be read again and again, one at a time.

    Args:
        items: Returns a new iterator over all items each time it is called.
        count: Number of items.
        origin: Where they come from, for messages and the manifest.
    """

    def __init__(self, items: Callable[[], Iterator[Item]], count: int, origin: str) -> None:
        self._items = items
        self._count = count
        self.origin = origin
        if count == 0:
            raise DataRefused(f"{origin} holds no samples", expected="at least one", remedy=_REMEDY)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        return self._items()

    def split(self, every: int) -> tuple[Dataset, Dataset]:
        """Return two parts: all but each ``every``-th item, and each ``every``-th."""
        kept = sum(1 for i in range(self._count) if i % every)

        def part(held_out: bool) -> Iterator[Item]:
            return (item for i, item in enumerate(self._items()) if (i % every == 0) == held_out)

        return (
            Dataset(lambda: part(False), kept, self.origin),
            Dataset(lambda: part(True), self._count - kept, self.origin),
        )

    def encoded(self, task: Task) -> Iterator[Sample]:
        """Encode item by item. Raises DataRefused naming the item that cannot be."""
        for item in self:
            try:
                feeds = task.encode(item.value)
            except DataRefused as error:
                name = item.name
                received = error.received if name in error.received else f"{name}: {error.received}"
                raise DataRefused(received, expected=error.expected, remedy=error.remedy) from error
            yield Sample(item.name, feeds, item.label)


_REMEDY = "pass a folder of images, a .csv, .npz, .npy, .txt, .tsv or .jsonl file, or module:function"


def open_dataset(where: str | Path | Any, spec: Spec) -> Dataset:
    """Open calibration or evaluation data.

    Args:
        where: Path or ``module:function`` as in the table above; from Python also a callable that returns an
            iterable, or a sequence of items.
        spec: For label names and input names.

    Raises:
        DataRefused: Nothing there, no samples, a label that is not a class, or a one-shot iterator.
    """
    if not isinstance(where, (str, Path)):
        return _from_object(where)
    path = Path(where)
    if path.is_dir():
        return _from_folder(path, spec)
    if path.is_file():
        return _from_file(path, spec)
    if ":" in str(where):
        from edgekit_converters.references import load_reference

        return _from_object(load_reference(str(where)), str(where))
    raise DataRefused(f"{where}: no such file or folder", remedy=_REMEDY)


def _from_file(path: Path, spec: Spec) -> Dataset:
    readers: dict[str, Callable[[Path, Spec], Dataset]] = {
        ".csv": _from_csv,
        ".npz": _from_arrays,
        ".npy": _from_arrays,
        ".txt": _from_lines,
        ".tsv": _from_lines,
        ".jsonl": _from_lines,
    }
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Dataset(lambda: iter([Item(path.name, path)]), 1, path.name)
    if path.suffix.lower() not in readers:
        raise DataRefused(f"{path}: data of type {path.suffix!r}", remedy=_REMEDY)
    return readers[path.suffix.lower()](path, spec)


def _from_folder(folder: Path, spec: Spec) -> Dataset:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    classes = sorted({p.relative_to(folder).parts[0] for p in files if p.parent != folder})
    if any(p.parent == folder for p in files):
        classes = []  # a flat folder, or a mixed one: no labels can be read from it
    index = _class_index(classes, spec, str(folder))
    items = [
        Item(str(p.relative_to(folder)), p, index[p.relative_to(folder).parts[0]] if classes else None) for p in files
    ]
    return Dataset(lambda: iter(items), len(items), str(folder))


def _class_index(classes: Sequence[str], spec: Spec, where: str) -> dict[str, int]:
    if not spec.labels or not classes:
        return {name: number for number, name in enumerate(classes)}
    return {name: _label(name, spec, where) or 0 for name in classes}


def _label(text: str | int | None, spec: Spec, where: str) -> int | None:
    """Class number of a label given as a number or a name."""
    if text is None or text == "":
        return None
    names = spec.labels or ()
    if str(text) in names:
        return names.index(str(text))
    try:
        number = int(text)
    except ValueError:
        number = -1
    classes = next((size for size in (spec.outputs[0].shape[1:] if spec.outputs else ()) if size), None)
    limit = len(names) or classes
    if number < 0 or (limit is not None and limit > 1 and number >= limit):
        raise DataRefused(
            f"{where}: label {text!r}",
            expected=f"a class number 0..{limit - 1}" if limit else "a class number",
            remedy="pass the class names with --labels, one a line, if labels are names",
        )
    return number


def _from_csv(path: Path, spec: Spec) -> Dataset:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if "file" not in (reader.fieldnames or ()):
            raise DataRefused(f"{path} has columns {reader.fieldnames}", expected="file, and label if known")
        items = [
            Item(row["file"], path.parent / row["file"], _label(row.get("label"), spec, f"{path.name} line {number}"))
            for number, row in enumerate(reader, 2)
        ]
    missing = next((item for item in items if not Path(item.value).is_file()), None)
    if missing is not None:
        raise DataRefused(f"{path} names {missing.name}, which does not exist", expected="files relative to the CSV")
    return Dataset(lambda: iter(items), len(items), str(path))


def _from_arrays(path: Path, spec: Spec) -> Dataset:
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataRefused(
            f"{path} ({path.stat().st_size} bytes): {error}", expected="arrays without pickles"
        ) from error
    arrays = {"": loaded} if path.suffix == ".npy" else {name: loaded[name] for name in loaded.files}
    labels = next((arrays.pop(name) for name in ("label", "labels", "y") if name in arrays), None)
    named = {tensor.name: arrays[tensor.name] for tensor in spec.inputs if tensor.name in arrays}
    if named and len(named) == len(spec.inputs):
        arrays = named  # other arrays in the file are none of the model's business
    if len({len(array) for array in arrays.values()}) > 1 or not arrays:
        raise DataRefused(f"{path} has arrays {_shapes(arrays)}", expected="the same length on the first axis")
    count = len(next(iter(arrays.values())))
    single = next(iter(arrays.values())) if len(arrays) == 1 else None

    def items() -> Iterator[Item]:
        for i in range(count):
            value = single[i] if single is not None else {name: array[i] for name, array in arrays.items()}
            label = None if labels is None else _label(int(labels[i]), spec, f"{path.name} sample {i}")
            yield Item(f"{path.name} sample {i}", value, label)

    return Dataset(items, count, str(path))


def _shapes(arrays: dict[str, Array]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())


def _from_lines(path: Path, spec: Spec) -> Dataset:
    read = {".txt": _plain_line, ".tsv": _tsv_line, ".jsonl": _json_line}[path.suffix.lower()]
    with path.open(encoding="utf-8") as stream:
        count = sum(1 for line in stream if line.strip())

    def items() -> Iterator[Item]:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    where = f"{path.name} line {number}"
                    text, label = read(line.rstrip("\r\n"), where)
                    yield Item(where, text, _label(label, spec, where))

    return Dataset(items, count, str(path))


def _plain_line(line: str, _: str) -> tuple[Any, Any]:
    return line, None


def _tsv_line(line: str, _: str) -> tuple[Any, Any]:
    text, _, label = line.rpartition("\t")
    return (text, label) if text else (label, None)


def _json_line(line: str, where: str) -> tuple[Any, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataRefused(f"{where}: {error}", expected="a JSON object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DataRefused(f"{where}: {line[:80]}", expected='{"text": …, "label": …}')
    pair = row.get("text_pair")
    return (row["text"], pair) if isinstance(pair, str) else row["text"], row.get("label")


def _from_object(source: Any, origin: str = "samples given in Python") -> Dataset:
    """A function that yields samples, or a sequence of samples; a one-shot iterator is refused."""
    if inspect.isgenerator(source) or (hasattr(source, "__next__") and not hasattr(source, "__len__")):
        raise DataRefused(
            f"{origin}: a one-shot {type(source).__name__}, which can be read only once",
            expected="data that can be read again",
            remedy="pass the generator function itself (not its result), or a list",
        )
    read: Callable[[], Any] = source if callable(source) else lambda: source

    def items() -> Iterator[Item]:
        for i, value in enumerate(read()):
            if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], (int, np.integer)):
                yield Item(f"sample {i}", value[0], int(value[1]))
            else:
                yield Item(f"sample {i}", value)

    count = len(source) if hasattr(source, "__len__") else sum(1 for _ in items())
    return Dataset(items, count, origin)
