"""Files of this machine and of object stores, by path or URI.

``s3://``, ``gs://``, ``abfs://``, ``hdfs://`` and ``file://`` are opened by Arrow's own clients, any other scheme by
``fsspec`` and the client that it names. Credentials, regions and endpoints are those of the clients: environment
variables and their own configuration files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgekit.errors import DataRefused, EnvironmentFault, reason
from edgekit.images import MAX_FILE_BYTES
from edgekit_runtimes.inputs.uri import redacted

_URI = re.compile(r"(?P<root>[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)(?P<path>[^?]*|.*?)(?P<query>\?\w+=[^/]*)?", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """A file.

    Attributes:
        path: Path or URI.
        stamp: Its size and time of change.
    """

    path: str
    stamp: str


def is_uri(word: str) -> bool:
    """Whether a word is a URI; a path with ``://`` in it that exists is none."""
    return "://" in word and _URI.fullmatch(word) is not None and not os.path.exists(word)


def read_bytes(path: str) -> bytes:
    """Read a file.

    Raises:
        DataRefused: It cannot be read, or has more than a gibibyte.
    """
    try:
        with open_binary(path) as stream:
            data: bytes = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataRefused(f"{redacted(path)} cannot be read: {said(error)}", expected="a readable file") from error
    if len(data) > MAX_FILE_BYTES:
        raise DataRefused(f"{redacted(path)} has more than {MAX_FILE_BYTES} bytes", expected="a smaller file")
    return data


def open_binary(path: str) -> Any:
    """Open a file for reading. Raises OSError."""
    if not is_uri(path):
        return open(path, "rb")
    filesystem, inside = located(path)
    return filesystem.open_input_file(inside)


def located(uri: str) -> tuple[Any, str]:
    """Return the ``pyarrow.fs`` file system of a URI, and the path in there."""
    match = _URI.fullmatch(uri)
    assert match is not None  # noqa: S101  is_uri
    query = match["query"] or ""
    filesystem, base, ours = _filesystem(match["root"], query)
    return filesystem, base.rstrip("/") + match["path"] + ("" if ours else query)


@lru_cache(maxsize=64)
def _filesystem(root: str, query: str) -> tuple[Any, str, bool]:
    """Client, path and whether the query was options of the client; it takes longer to make than most files to read."""
    from pyarrow import ArrowInvalid, fs

    local = root.lower() == "file://"
    try:
        filesystem, base = fs.FileSystem.from_uri(root + "/" * local + query)
    except ArrowInvalid:
        return *_by_fsspec(root), False
    except OSError as error:
        raise EnvironmentFault(
            f"{redacted(root)} cannot be reached: {said(error)}", remedy="check the client's credentials and region"
        ) from error
    return filesystem, "" if local else base, True


def _by_fsspec(root: str) -> tuple[Any, str]:
    from pyarrow import fs

    shown = redacted(root)
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # of Ray's dependencies

        filesystem, base = url_to_fs(root)
    except (ImportError, ValueError) as error:
        raise EnvironmentFault(
            f"nothing here reads {shown}: {said(error)}",
            expected="s3://, gs://, abfs://, hdfs://, file://, or a scheme of fsspec",
            remedy="pip install fsspec and the client that it names",
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), str(base)


def stamp(path: str) -> str:
    """Size and time of change of a file; empty where it cannot be had."""
    try:
        if not is_uri(path):
            return _stamp(os.stat(path))
        filesystem, inside = located(path)
        return _remote_stamp(filesystem.get_file_info(inside))
    except OSError:
        return ""


def kind_of(path: str) -> str:
    """``file``, ``folder`` or ``missing``."""
    if not is_uri(path):
        return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else "missing"
    from pyarrow.fs import FileType

    filesystem, inside = located(path)
    try:
        kind = filesystem.get_file_info(inside).type
    except OSError as error:
        raise EnvironmentFault(
            f"{redacted(path)} cannot be looked up: {said(error)}", remedy="check the client's credentials and region"
        ) from error
    return {FileType.File: "file", FileType.Directory: "folder"}.get(kind, "missing")


def walk(folder: str, suffixes: tuple[str, ...]) -> Iterator[Found | DataRefused]:
    """Yield the files below a folder whose names end in one of the suffixes, in the order of their paths' parts.

    One folder's names are held at a time, with those of the folders above it; links to folders are not followed.

    Args:
        folder: Path or URI.
        suffixes: Lower case, with their dots.

    Yields:
        Files, and for a folder that cannot be listed why not.
    """
    if is_uri(folder):
        filesystem, inside = located(folder)
        match = _URI.fullmatch(folder)
        assert match is not None  # noqa: S101  is_uri
        base = inside[: len(inside) - len(match["path"])]
        for found in _walk_remote(filesystem, inside, suffixes):
            if isinstance(found, Found):
                yield Found(f"{match['root']}{found.path[len(base) :]}{match['query'] or ''}", found.stamp)
            else:
                yield found
    else:
        yield from _walk_local(folder, suffixes)


def _walk_local(folder: str, suffixes: tuple[str, ...]) -> Iterator[Found | DataRefused]:
    try:
        with os.scandir(folder) as entries:
            # A name and a flag an entry: `os.DirEntry` objects of a large folder would be ten times as much.
            names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        yield DataRefused(f"{folder} cannot be listed: {error.strerror}", expected="a readable folder")
        return
    for name, is_folder in names:
        path = os.path.join(folder, name)
        if is_folder:
            yield from _walk_local(path, suffixes)
        elif os.path.splitext(name)[1].lower() in suffixes:
            try:
                status = os.stat(path)
            except OSError:  # gone meanwhile, or a link to nothing: reading it will say so
                yield Found(path, "")
                continue
            if not os.path.isdir(path):
                yield Found(path, _stamp(status))


def _walk_remote(filesystem: Any, folder: str, suffixes: tuple[str, ...]) -> Iterator[Found | DataRefused]:
    from pyarrow.fs import FileSelector, FileType

    try:
        found = sorted(filesystem.get_file_info(FileSelector(folder)), key=lambda info: str(info.base_name))
    except OSError as error:
        yield DataRefused(f"{redacted(folder)} cannot be listed: {said(error)}", expected="a readable folder")
        return
    for info in found:
        if info.type == FileType.Directory:
            yield from _walk_remote(filesystem, info.path, suffixes)
        elif os.path.splitext(info.base_name)[1].lower() in suffixes:
            yield Found(info.path, _remote_stamp(info))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}"


def _remote_stamp(info: Any) -> str:
    return f"{info.size}:{info.mtime_ns}"


def said(error: Exception) -> str:
    """What a library said, in one line, without the passwords of the URIs that it may name."""
    return redacted(getattr(error, "strerror", None) or reason(error))


def suffix_of(path: str) -> str:
    """Ending of a file's name in lower case, with its dot."""
    match = _URI.fullmatch(path) if is_uri(path) else None
    return Path(match["path"] if match else path).suffix.lower()
