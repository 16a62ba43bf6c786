"""The photo size of the model that a file was compressed from, kept inside of the file.

``.pt2`` and ``.keras`` are ZIP archives, whose loaders leave members alone that they do not know.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekit_converters.sources.base import InputHint

MEMBER = "edgekit-original-size"


def size_text(size: tuple[int, int]) -> str:
    """What the member holds."""
    return f"{size[0]}x{size[1]}"


def append_size(path: Path, size: tuple[int, int]) -> None:
    """Add the member to an archive."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, size_text(size))


def read_size(path: Path) -> tuple[int, int] | None:
    """Height and width, or ``None`` where the archive says nothing, or nothing that can be understood."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if name.rpartition("/")[2] == MEMBER]
            if not found or archive.getinfo(found[0]).file_size > len("100000x100000"):
                return None
            height, separator, width = archive.read(found[0]).decode("ascii", "replace").partition("x")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError):  # a member that the loaders never read
        return None
    if not (separator and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        return None
    return int(height), int(width)


def at_own_size(
    hints: Sequence[InputHint], shape: Sequence[int | None], original: tuple[int, int] | None
) -> tuple[InputHint, ...]:
    """Return what the user said of the only input; a photo of the original's size becomes one of the file's own.

    Args:
        hints: What the user said.
        shape: Of the input, batch first.
        original: Photo size of the original, if the file says it.
    """
    for place in (1, 2) if original is not None and len(hints) == 1 and len(shape) == 4 else ():
        (hint,), end = hints, place + 2
        if len(hint.shape) == 4 and hint.shape[place:end] == original:
            sized = (*hint.shape[:place], *shape[place:end], *hint.shape[end:])
            return (replace(hint, shape=sized),)
    return tuple(hints)
