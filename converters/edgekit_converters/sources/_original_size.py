"""The photo size of the model that a file was compressed from, kept inside of the file.

``.pt2`` and ``.keras`` are ZIP archives, whose loaders leave members alone that they do not know.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

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
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.rpartition("/")[2] == MEMBER]
        if not found or archive.getinfo(found[0]).file_size > len("100000x100000"):
            return None
        height, separator, width = archive.read(found[0]).decode("ascii", "replace").partition("x")
    if not (separator and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        return None
    return int(height), int(width)
