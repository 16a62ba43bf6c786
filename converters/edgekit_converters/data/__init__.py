"""Calibration and evaluation data: a folder, a CSV, arrays, text or a function, always read lazily.

| given | samples | labels |
|---|---|---|
| folder of images or sound | sorted | the subfolder, by the spec's labels or in sorted order; or what lies beside |
| ``.csv`` of files | column ``file``, relative to the CSV | column ``label``: a number, a name, a file |
| COCO ``.json`` | its photos, beside it or in ``images`` | their annotations, categories by name |
| ``.jsonl`` of photos | key ``file``, relative to the file | key ``label``: as the task has it, or a file |
| ``.npz``, ``.npy`` | first axis; arrays named as the inputs (or one array) | array ``label``, ``labels`` or ``y`` |
| ``.csv``, ``.tsv``, ``.jsonl`` of rows | rows, for tasks on rows | the spec's target column |
| ``.txt``, ``.tsv``, ``.jsonl`` | lines; ``text<TAB>label``; ``{"text", "text_pair", "label"}`` | as said |
| ``.jsonl`` of entities | ``{"text", "entities": [{"start", "end", "label"}]}`` | entities, in characters |
| ``.conll`` | ``token<TAB>tag`` a line, sentences apart by empty lines | the entities that the tags say |
| ``.jsonl`` of questions | ``{"question", "context", "answers"}`` | answers: texts |
| SQuAD ``.json`` | version 1 or 2 | its answers |
| ``module:function``, ``file.py:function`` | what it yields: an item, or ``(item, label)`` | the second |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit_converters.data import arrays, coco, conll, lines, pictures, python, questions, rows, sounds
from edgekit_converters.data.dataset import REMEDY, Dataset, Item

__all__ = ["Dataset", "Item", "open_dataset"]

Reader = Callable[[Path, Spec], Dataset]
_ARRAYS: dict[str, Reader] = {".npz": arrays.read, ".npy": arrays.read}
_READERS: dict[str, dict[str, Reader]] = {
    "picture": {**_ARRAYS, **pictures.READERS, ".json": coco.read},
    "text": {**lines.READERS, **conll.READERS},
    "question": {**questions.READERS},
    "row": {**rows.READERS},
    "sound": {**_ARRAYS, **sounds.READERS},
    "arrays": {**_ARRAYS, **pictures.READERS, **lines.READERS},
}
"""What a task takes -> suffix -> reader; the suffix of a folder is ``/``."""


def open_dataset(where: str | Path | Any, spec: Spec) -> Dataset:
    """Open calibration or evaluation data.

    Args:
        where: Path or ``module:function`` as in the table above; from Python also a callable that returns an
            iterable, or a sequence of items.
        spec: For the task, label names and input names.

    Raises:
        DataRefused: Nothing there, no samples, a label that the task does not know, or a one-shot iterator.
    """
    if not isinstance(where, (str, Path)):
        return python.read(where, spec)
    path = Path(where)
    if path.exists():
        readers = _READERS[task_class(spec.task).takes]
        suffix = "/" if path.is_dir() else path.suffix.lower()
        if suffix not in readers:
            raise DataRefused(f"{path}: {'a folder' if suffix == '/' else f'data of type {suffix!r}'}", remedy=REMEDY)
        return readers[suffix](path, spec)
    if ":" in str(where):
        from edgekit_converters.references import load_reference

        return python.read(load_reference(str(where)), spec, str(where))
    raise DataRefused(f"{where}: no such file or folder", remedy=REMEDY)
