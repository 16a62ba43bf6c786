"""Recordings: a folder, a CSV of files, one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.errors import DataRefused
from edgekit.sound.reading import SOUND_SUFFIXES
from edgekit.spec import Spec
from edgekit_converters.data.dataset import Dataset, Item
from edgekit_converters.data.files import class_index, read_list

_TRANSCRIPT = "speech-to-text"


def read_one(path: Path, spec: Spec) -> Dataset:
    """A single recording."""
    return Dataset(lambda: iter([Item(path.name, path, _beside(path, spec))]), 1, path.name)


def read_folder(folder: Path, spec: Spec) -> Dataset:
    """Recordings of a folder and everything below it.

    Subfolders are classes; for speech to text a ``.txt`` file of the recording's name holds what is said.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SOUND_SUFFIXES and p.is_file())
    if spec.task == _TRANSCRIPT:
        items = [Item(str(p.relative_to(folder)), p, _beside(p, spec)) for p in files]
        return Dataset(lambda: iter(items), len(items), str(folder))
    flat = any(p.parent == folder for p in files)  # flat or mixed: no classes can be read from it
    classes = [] if flat else sorted({p.relative_to(folder).parts[0] for p in files})
    index = class_index(classes, spec, str(folder))
    items = [Item(str(p.relative_to(folder)), p, index.get(p.relative_to(folder).parts[0])) for p in files]
    return Dataset(lambda: iter(items), len(items), str(folder))


def read_csv(path: Path, spec: Spec) -> Dataset:
    """A CSV with a column ``file``, relative to the CSV, and if known ``label``: a class, or what is said."""
    return read_list(path, spec, lambda label, _: label)


def _beside(path: Path, spec: Spec) -> str | None:
    said = path.with_suffix(".txt")
    if spec.task != _TRANSCRIPT or not said.is_file():
        return None
    try:
        return said.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataRefused(f"{said}: {error}", expected="UTF-8 text") from error


READERS: dict[str, Callable[[Path, Spec], Dataset]] = {
    "/": read_folder,
    ".csv": read_csv,
    **dict.fromkeys(SOUND_SUFFIXES, read_one),
}
