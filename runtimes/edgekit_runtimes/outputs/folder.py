"""A folder of annotated pictures, one for each answer."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.errors import UsageError
from edgekit_runtimes.outputs.pictures import drawn, write_picture
from edgekit_runtimes.outputs.sink import Answer, Sink

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jfif"}
_MAX_NAME = 120


class PictureFolder(Sink):
    """Writes each picture with its result as JPEG, named after the input; folders below an input folder are kept.

    Two inputs of the same name become ``a.jpg`` and ``a-2.jpg``; live frames are numbered by their source.

    Args:
        folder: Made where it is missing; pictures of an earlier run are replaced.
    """

    wants_pictures = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: set[Path] = set()

    def answer(self, answer: Answer) -> None:
        """Write one picture.

        Raises:
            DataRefused: The input is no picture.
            EnvironmentFault: The disk is full or not writable.
            UsageError: It would replace the input itself.
        """
        picture = drawn(answer)
        inside = answer.inside.with_suffix(".jpg") if answer.inside else file_name(answer.name)
        path = self.folder / inside
        if answer.captured is None:
            path = self._unused(path)
            self._written.add(path)
        if path.resolve() == Path(answer.name).resolve():
            raise UsageError(f"{self.folder} as output would overwrite {answer.name}", expected="another folder")
        write_picture(path, picture)

    def _unused(self, path: Path) -> Path:
        first, number = path, 2
        while path in self._written:
            path = first.with_name(f"{first.stem}-{number}.jpg")
            number += 1
        return path


def file_name(name: str) -> str:
    """Return a file name for an input's name: its last part without what a path or URL would mean something by."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    plain = re.sub(r'[\x00-\x1f<>:"|?*]+', "_", last)
    stem = plain[: -len(Path(plain).suffix)] if Path(plain).suffix.lower() in _PICTURES else plain
    return f"{stem.lstrip('.')[:_MAX_NAME] or 'picture'}.jpg"
