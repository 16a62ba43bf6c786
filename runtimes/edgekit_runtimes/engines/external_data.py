"""Which files an ``.onnx`` model would open, found without the onnx package.

ONNX keeps large weights in files beside the model (``TensorProto.external_data``, onnx.proto3). A model from
elsewhere may name any file of the machine there, so the names are checked before a runtime follows them. The
model is a protocol buffer; only the length-delimited fields on the way to the tensors are walked, on the mapped
file, and weights inside the model are stepped over.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from edgekit.errors import ModelRefused
from edgekit_runtimes.engines.common import artifact_size
from edgekit_runtimes.engines.protobuf import BYTES, Damaged, extents

_Window = tuple[int, int]

# Message type -> field number -> message type of that field, for every way to a tensor (onnx.proto3, IR version 13).
_WAYS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_TENSOR_NAME, _ENTRY_KEY, _ENTRY_VALUE = 8, 1, 2
_MAX_DEPTH = 64


def check_external_data(path: Path) -> None:
    """Refuse a model whose external data lies outside its folder, is a link, is missing or too short.

    Raises:
        ModelRefused: Naming the tensor and the file it asks for.
    """
    artifact_size(path)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"location") < 0:  # the key that every external tensor carries: nearly all models end here
            return
        try:
            for name, entries in _external_tensors(data, "model", (0, len(data)), 0):
                _check_entry(path, name, entries)
        except Damaged as error:
            raise ModelRefused(
                f"{path} ({len(data)} bytes) is damaged: {error}",
                expected="a whole .onnx file",
                remedy="copy or convert it again",
            ) from error


def external_files(path: Path) -> list[Path]:
    """Return the files that a model's external data lies in, each once. The model has been checked."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"location") < 0:
            return []
        found = {entries.get("location", "") for _, entries in _external_tensors(data, "model", (0, len(data)), 0)}
    return [path.parent / location for location in sorted(found)]


def _external_tensors(data: mmap.mmap, kind: str, window: _Window, depth: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and external data entries of every tensor that has any."""
    if depth > _MAX_DEPTH:
        raise Damaged("graphs nested too deeply")
    name, entries = "", {}
    for field, inner in _fields(data, window):
        way = _WAYS[kind].get(field)
        if way == "entry":
            key, value = _entry(data, inner)
            entries[key] = value
        elif way is not None:
            yield from _external_tensors(data, way, inner, depth + 1)
        elif kind == "tensor" and field == _TENSOR_NAME:
            name = _text(data, inner)
    if entries:
        yield name, entries


def _entry(data: mmap.mmap, window: _Window) -> tuple[str, str]:
    parts = {field: _text(data, inner) for field, inner in _fields(data, window)}
    return parts.get(_ENTRY_KEY, ""), parts.get(_ENTRY_VALUE, "")


def _text(data: mmap.mmap, window: _Window) -> str:
    return data[slice(*window)].decode("utf-8", "replace")


def _fields(data: mmap.mmap, window: _Window) -> Iterator[tuple[int, _Window]]:
    """Yield number and extent of each length-delimited field of a message."""
    return ((number, (start, end)) for number, wire, start, end in extents(data, *window) if wire == BYTES)


def _check_entry(path: Path, name: str, entries: dict[str, str]) -> None:
    location = entries.get("location", "")
    inside = PurePosixPath(location)
    if inside.is_absolute() or PureWindowsPath(location).is_absolute() or ".." in inside.parts or not inside.parts:
        raise _refused(path, name, location, "outside the model's folder")
    target = path.parent
    for part in inside.parts:
        target = target / part
        if target.is_symlink():
            raise _refused(path, name, location, "a symbolic link")
    if not target.is_file():
        raise _refused(path, name, location, "missing")
    needed = _number(path, name, entries, "offset") + _number(path, name, entries, "length")
    if target.stat().st_size < needed:
        raise _refused(path, name, location, f"too short: {target.stat().st_size} of {needed} bytes")


def _number(path: Path, name: str, entries: dict[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not text.isdecimal():
        raise _refused(path, name, entries.get("location", ""), f"given with {key} {text!r}")
    return int(text)


def _refused(path: Path, name: str, location: str, what: str) -> ModelRefused:
    return ModelRefused(
        f"{path}: the external data {location!r} of tensor {name!r} is {what}",
        expected="a plain file in the model's own folder, as long as the model says",
        remedy="copy the model together with its data files, or save it with its weights inside",
    )
