"""What an artifact depends on, as a hash: the same content gives the same name, so finished work is found again."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused
from edgekit_converters.convert import tool_versions
from edgekit_converters.plan.variants import Piece
from edgekit_converters.request import Request

_LISTS = (".csv", ".json", ".jsonl")
_LONGEST_NAME = 255


class Fingerprints:
    """Hashes of what a plan converts; everything is read once.

    Args:
        request: The conversion.

    Attributes:
        common: What all artifacts depend on: name -> value, or hash of the content.

    Raises:
        DataRefused: A file cannot be read.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        said = request.spec
        options = {} if said is None else said.options
        named = [request.folder / str(value) for key, value in options.items() if key.endswith("_file") and value]
        self.common: dict[str, Any] = {
            "model": _content(request.model),
            "weights": _content(request.source.weights),
            "inputs": repr(request.source.inputs),
            "max_length": request.source.max_length,
            "spec": None if said is None else said.to_dict(),
            "files": [_content(path) for path in named],
            "labels": request.labels,
            "tokenizer": _content(request.tokenizer),
            "calibration": _content(request.calibration),
            "evaluation": _content(request.evaluation),
            "name": request.name,
            "tools": tool_versions(),
            "edgekit": version("edgekit-ai"),
        }

    def of_data(self, resolution: object) -> str:
        """Of the model and the data at a resolution."""
        return _digest({**self.common, "resolution": resolution})

    def of_piece(self, piece: Piece) -> str:
        """Of an artifact."""
        own: dict[str, Any] = {"format": piece.format, "recipe": piece.recipe, "resolution": piece.resolution}
        if piece.recipe != "fp32":
            own["effort"] = self._request.effort
        if piece.recipe == "mixed":  # the layers that stay in float are chosen by it
            own["max_drop"] = self._request.max_drop
        return _digest({**self.common, **own})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _content(word: Any) -> str | None:
    """Hash of a file, a folder, a list with the files that it names, or the Python file of ``module:function``.

    Of a model on a hub, which has no file here, only the name counts.
    """
    if word is None:
        return None
    try:
        digest = hashlib.sha256(Path(os.path.abspath(str(word))).name.encode())
        for path in _files(str(word)):
            digest.update(f"\0{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise DataRefused(f"{word}: {error}", expected="files that can be read") from error
    return digest.hexdigest()


def _files(word: str) -> Iterator[Path]:
    path = Path(word)
    if path.is_dir():
        yield from (item for item in sorted(path.rglob("*")) if item.is_file())
    elif path.is_file():
        yield path
        if path.suffix.lower() in _LISTS:
            yield from sorted({found for name in _texts(path) for found in _named(path.parent, name)})
    else:
        yield from _python_file(word)


def _texts(path: Path) -> Iterator[str]:
    """Every text in a list of data: cells, or strings of JSON."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix.lower() == ".csv":
        yield from (cell for row in csv.reader(text.splitlines()) for cell in row)
        return
    for line in [text] if path.suffix.lower() == ".json" else text.splitlines():
        with suppress(ValueError):  # whoever reads the data says what is wrong with it
            yield from _strings(json.loads(line))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _named(folder: Path, name: str) -> Iterator[Path]:
    if 0 < len(name) <= _LONGEST_NAME and "\0" not in name:
        yield from (path for path in (folder / name, folder / "images" / name) if path.is_file())


def _python_file(word: str) -> Iterator[Path]:
    """The file of ``package.module:name`` or ``path/file.py:name``; what it imports in turn is not looked at."""
    place = word.rpartition(":")[0]
    if place.endswith(".py"):
        yield from (path for path in (Path(place),) if path.is_file())
    elif place and all(part.isidentifier() for part in place.split(".")):
        try:
            found = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            return
        if found is not None and found.origin is not None and Path(found.origin).is_file():
            yield Path(found.origin)
