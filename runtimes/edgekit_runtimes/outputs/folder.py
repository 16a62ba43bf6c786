"""Annotated pictures: a folder with one for each answer, or a file for the only one."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.errors import DataRefused, UsageError
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


class PictureFile(Sink):
    """Writes the only picture with its result as JPEG.

    Args:
        path: The file; an old one is replaced.
    """

    wants_pictures = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: str | None = None

    def answer(self, answer: Answer) -> None:
        """Write the picture.

        Raises:
            DataRefused: The input is no picture, or not the first one.
            EnvironmentFault: The disk is full or not writable.
            UsageError: It would replace the input itself.
        """
        if self._written is not None:
            raise DataRefused(
                f"{answer.name}: {self.path} holds {self._written}",
                expected="one photo for a picture as output",
                remedy=f"give a folder: -o {self.path.with_suffix('')}/",
            )
        if self.path.resolve() == Path(answer.name).resolve():
            raise UsageError(f"{self.path} as output would overwrite {answer.name}", expected="another file")
        write_picture(self.path, drawn(answer))
        self._written = answer.name


def file_name(name: str) -> str:
    """Return a file name for an input's name: its last part without what a path or URL would mean something by."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    plain = re.sub(r'[\x00-\x1f<>:"|?*]+', "_", last)
    stem = plain[: -len(Path(plain).suffix)] if Path(plain).suffix.lower() in _PICTURES else plain
    return f"{stem.lstrip('.')[:_MAX_NAME] or 'picture'}.jpg"
