"""A folder with copies of the photos, the result written in."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.errors import UsageError
from edgekit_runtimes.outputs.sink import Answer, Sink


class DrawnPhotos(Sink):
    """Writes ``NAME.jpg`` for each photo or frame; folders below an input folder are kept.

    Args:
        folder: Where; made when the first picture is written.
    """

    wants_pictures = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[Path] = set()

    def answer(self, answer: Answer) -> None:
        """Write a copy.

        Raises:
            UsageError: It would take the place of the photo itself.
            DataRefused: It cannot be encoded.
            EnvironmentFault: The disk is full or not writable.
        """
        from edgekit_runtimes.outputs.pictures import annotate, result_lines, write_picture

        if answer.picture is None:
            return
        path = self._free(self._folder / (answer.inside or _file_name(answer.name)).with_suffix(".jpg"))
        if path.resolve() == Path(answer.name).resolve():
            raise UsageError(f"pictures into {self._folder} would overwrite {answer.name}", expected="another folder")
        self._written.add(path)
        write_picture(path, annotate(answer.picture, result_lines(answer.result)))

    def _free(self, path: Path) -> Path:
        number, stem = 2, path.stem
        while path in self._written:
            path = path.with_name(f"{stem}-{number}.jpg")
            number += 1
        return path


def _file_name(name: str) -> Path:
    """A file name for a frame: what is no letter, digit, dot or dash becomes a dash."""
    return Path(re.sub(r"[^\w.-]+", "-", name).strip("-") + ".jpg")
