"""What a person names on the command line, one item at a time, as the task takes it.

- photos: files, folders with everything below them but masks that are a data set's truth, and patterns such as
  ``'photos/*.jpg'``, sorted by name;
- videos: every frame, in order;
- sound: files, folders, patterns, and raw samples on standard input, see `edgekit_runtimes.inputs.sounds`;
- sentences: as they are, or ``.txt`` (one a line), ``.tsv`` (first column) and ``.jsonl`` (``text``, ``text_pair``)
  files;
- rows: ``name=value,name=value``, or ``.csv``, ``.tsv`` and ``.jsonl`` files with named columns;
- questions: ``.jsonl`` (``question``, ``context``) and SQuAD ``.json`` files, see `questions` for those about one text;
- arrays: ``.npz`` with the spec's input names, or ``.npy`` for a model with one input; the first axis counts samples.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.images import IMAGE_SUFFIXES
from edgekit.rows import ROW_SUFFIXES, json_object, read_rows
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.picture import PictureTask
from edgekit_runtimes.inputs import sounds
from edgekit_runtimes.inputs.frames import FrameSource
from edgekit_runtimes.inputs.item import Item, raiser
from edgekit_runtimes.inputs.open import open_frames

__all__ = ["Item", "items_for"]

_TEXT_SUFFIXES = (".jsonl", ".tsv", ".txt")


def items_for(spec: Spec, inputs: Iterable[str]) -> Iterator[Item]:
    """Yield the items that the inputs stand for; what cannot be read is an item whose ``load`` raises.

    Args:
        spec: Its task says what inputs are.
        inputs: Words from the command line.
    """
    expand = _EXPAND[task_class(spec.task).takes]
    for word in inputs:
        yield from expand(word, spec)


def _photos(word: str, spec: Spec) -> Iterator[Item]:
    path = Path(word)
    if path.is_dir():
        yield from _folder(path, spec)
    elif _is_pattern(word):
        yield from _matching(word, spec)
    else:
        try:
            source = open_frames(word)
        except DataRefused as error:
            yield Item(word, raiser(error))
            return
        yield from _frames(source) if source is not None else [Item(word, lambda: path, Path(path.name))]


def _is_pattern(word: str) -> bool:
    """Whether to look for matching files; addresses and standard input have options behind a question mark."""
    return any(sign in word for sign in "*?[") and ":" not in word and word[0] != "-" and not os.path.exists(word)


def _folder(path: Path, spec: Spec) -> Iterator[Item]:
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    kind = task_class(spec.task)
    files = [file for file in found if not (issubclass(kind, PictureTask) and kind.is_truth(file))]
    if not files:
        refusal = DataRefused(f"{path} holds no photos", expected=f"files ending in {', '.join(IMAGE_SUFFIXES)}")
        yield Item(str(path), raiser(refusal))
    for file in files:
        yield Item(str(file), lambda file=file: file, file.relative_to(path))  # type: ignore[misc]


def _matching(pattern: str, spec: Spec) -> Iterator[Item]:
    files = sorted(file for file in glob.glob(pattern, recursive=True) if os.path.isfile(file))
    if not files:
        yield Item(pattern, raiser(DataRefused(f"no file matches {pattern}", expected="photos or videos")))
    for file in files:
        yield from _photos(file, spec)


def _frames(source: FrameSource) -> Iterator[Item]:
    """Frames of a video; what makes it unreadable from some frame on is an item of its own."""
    with source:
        try:
            for frame in source:
                yield Item(f"{source.name} frame {frame.number}", lambda frame=frame: frame.picture)  # type: ignore[misc]
        except DataRefused as error:
            yield Item(source.name, raiser(error))


def _sentences(word: str, spec: Spec) -> Iterator[Item]:  # sentences are sentences
    path = Path(word)
    if path.suffix.lower() not in _TEXT_SUFFIXES:
        yield Item(word, lambda: word)
        return
    parse = {".txt": _plain, ".tsv": _first_column, ".jsonl": _json_text}[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    where = f"{path} line {number}"
                    yield Item(where, lambda line=line, where=where: parse(line.rstrip("\r\n"), where))  # type: ignore[misc]
    except (OSError, UnicodeDecodeError) as error:
        yield Item(word, raiser(DataRefused(f"{path} cannot be read: {error}", expected="UTF-8 text, one a line")))


def _plain(line: str, _: str) -> str:
    return line


def _first_column(line: str, _: str) -> str:
    return line.partition("\t")[0]


def _json_text(line: str, where: str) -> str | tuple[str, str]:
    row = json_object(line, where, "text", '{"text": …}')
    pair = row.get("text_pair")
    return (row["text"], pair) if isinstance(pair, str) else row["text"]


def _rows(word: str, spec: Spec) -> Iterator[Item]:
    path = Path(word)
    if path.suffix.lower() not in ROW_SUFFIXES:
        yield Item(word, lambda: word)
        return
    try:
        for row in read_rows(path, spec.table.names if spec.table else ()):
            yield Item(row.where, row.load)
    except DataRefused as error:
        yield Item(word, raiser(error))


def _questions(word: str, spec: Spec) -> Iterator[Item]:
    from edgekit_runtimes.inputs.questions import expand

    return expand(word, spec)


def _arrays(word: str, spec: Spec) -> Iterator[Item]:
    path = Path(word)
    try:
        arrays = _load_arrays(path, spec)
    except (DataRefused, OSError, ValueError, EOFError) as error:
        refusal = error if isinstance(error, DataRefused) else _unreadable(path, error)
        yield Item(word, raiser(refusal))
        return
    for sample in range(len(next(iter(arrays.values())))):
        parts = {name: array[sample] for name, array in arrays.items()}
        yield Item(f"{path} sample {sample}", lambda parts=parts: parts)  # type: ignore[misc]


def _load_arrays(path: Path, spec: Spec) -> dict[str, Array]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        arrays = {"": loaded}
    else:
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    return chosen_arrays(arrays, str(path), spec)


def chosen_arrays(arrays: dict[str, Array], path: str, spec: Spec) -> dict[str, Array]:
    """Return the arrays of a file that a spec names, samples first.

    Args:
        arrays: Name in the file -> array; the name of a lone array does not count for a spec with one input.
        path: For messages.
        spec: The spec.

    Raises:
        DataRefused: One is missing, or they do not have the same number of samples.
    """
    wanted = [tensor.name for tensor in spec.inputs]
    if len(wanted) == 1 and len(arrays) == 1:
        arrays = {wanted[0]: next(iter(arrays.values()))}
    if missing := [name for name in wanted if name not in arrays]:
        raise DataRefused(f"{path} has arrays {sorted(arrays)}", expected=f"one named {missing[0]!r}")
    chosen = {name: arrays[name] for name in wanted}
    if any(array.ndim == 0 for array in chosen.values()) or len({len(array) for array in chosen.values()}) != 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in chosen.items())
        raise DataRefused(f"{path} has arrays {shapes}", expected="the same number of samples on the first axis")
    return chosen


def _unreadable(path: Path, error: Exception) -> DataRefused:
    return DataRefused(f"{path} cannot be read: {error}", expected=".npz or .npy without pickles")


_EXPAND: dict[str, Callable[[str, Spec], Iterator[Item]]] = {
    "picture": _photos,
    "text": _sentences,
    "question": _questions,
    "row": _rows,
    "sound": sounds.expand,
    "arrays": _arrays,
}
"""What a task takes -> the items that a word of the command line stands for."""
