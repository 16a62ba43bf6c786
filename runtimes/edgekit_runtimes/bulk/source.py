"""What a person names as SOURCE, as entries in a fixed order, found while they are wanted.

==================================  ====================================================================================
word                                entries
==================================  ====================================================================================
``folder/``, ``s3://bucket/fold``   each file below it that the task takes, and each ``.parquet``, sorted by path
``'photos/*.jpg'``                  the files that match, sorted
``list.txt``                        for photos and sound: a path or URI a line
``table.parquet``                   each row: paths, URIs or encoded files (``--column``); texts; rows; arrays
anything else                       as for any other output, see `edgekit_runtimes.inputs.items`
==================================  ====================================================================================
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.engine import Array
from edgekit.errors import DataRefused, InputRefused, UsageError
from edgekit.images import IMAGE_SUFFIXES
from edgekit.rows import ROW_SUFFIXES
from edgekit.sound.reading import SOUND_SUFFIXES
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit.tasks.base import Takes
from edgekit.tasks.picture import PictureTask
from edgekit.tasks.question_files import SUFFIXES as QUESTION_SUFFIXES
from edgekit_runtimes.bulk import files
from edgekit_runtimes.bulk.chunk import Entry
from edgekit_runtimes.inputs.items import items_for
from edgekit_runtimes.inputs.uri import parse, redacted
from edgekit_runtimes.inputs.video import VIDEO_SUFFIXES

PARQUET = ".parquet"
_WHOLE_BYTES = 1 << 20
_ENDINGS: dict[Takes, tuple[str, ...]] = {
    "picture": IMAGE_SUFFIXES,
    "sound": SOUND_SUFFIXES,
    "text": (".jsonl", ".tsv", ".txt"),
    "row": ROW_SUFFIXES,
    "question": QUESTION_SUFFIXES,
    "arrays": (".npy", ".npz"),
}


@dataclass(frozen=True)
class Source:
    """All inputs of a run.

    Attributes:
        spec: Its task says what inputs are.
        words: From the command line.
        column: Of Parquet files, the one to take.
        size: Rows of a Parquet file, or samples of an array file, that make an entry.
    """

    spec: Spec
    words: tuple[str, ...]
    column: str | None = None
    size: int = 512

    @property
    def takes(self) -> Takes:
        """What an input is."""
        return task_class(self.spec.task).takes

    def check_column(self) -> None:
        """Refuse a column where nothing has columns. Raises UsageError."""
        if self.column is not None and not any(self._may_hold_parquet(word) for word in self.words):
            raise UsageError(
                f"--column {self.column} for {' '.join(redacted(word) for word in self.words)}",
                expected="an INPUT that ends in .parquet, or a folder or pattern with such files",
            )

    def _may_hold_parquet(self, word: str) -> bool:
        """What lies in a folder of an object store is seen when it is listed."""
        if self._is_pattern(word):
            return any(path.lower().endswith(PARQUET) for path in glob.iglob(word, recursive=True))
        if files.is_uri(word):
            return files.suffix_of(word) == PARQUET or files.kind_of(word) == "folder"
        if os.path.isdir(word):
            return any(name.lower().endswith(PARQUET) for _, _, names in os.walk(word) for name in names)
        return files.suffix_of(word) == PARQUET

    def entries(self) -> Iterator[Entry]:
        """Yield the entries; what cannot be read is one of the kind ``refused``.

        Raises:
            UsageError: A camera, a stream or a video; a Parquet file without the column.
            DataRefused: A word names nothing.
        """
        for word in self.words:
            yield from self._word(word)

    def count(self) -> int | None:
        """Number of inputs, where listing tells it: of folders of photos or sound; ``None`` elsewhere.

        Counting walks as `entries` does, without looking at the files.
        """
        if self.takes not in ("picture", "sound") or not all(os.path.isdir(word) for word in self.words):
            return None
        total = 0
        for word in self.words:
            for _, _, names in os.walk(word):
                endings = [os.path.splitext(name)[1].lower() for name in names]
                if PARQUET in endings:
                    return None
                total += sum(ending in _ENDINGS[self.takes] for ending in endings)
        return total

    def _word(self, word: str) -> Iterator[Entry]:
        self._refuse_live(word)
        if self._is_pattern(word):
            yield from self._matching(word)
            return
        kind = files.kind_of(word) if files.is_uri(word) or self._names_file(word) else "none"
        if kind == "folder":
            yield from self._folder(word)
        elif kind == "file":
            yield from self._file(word, files.stamp(word))
        elif kind == "missing":
            raise DataRefused(f"{redacted(word)} does not exist", expected="a file, a folder or a pattern")
        else:  # a sentence, a row
            yield from self._read_here(word, word)

    def _names_file(self, word: str) -> bool:
        return (
            self.takes in ("picture", "sound", "arrays")
            or os.path.exists(word)
            or Path(word).suffix.lower() in (*_ENDINGS[self.takes], PARQUET)
        )

    def _is_pattern(self, word: str) -> bool:
        return any(sign in word for sign in "*?[") and not files.is_uri(word) and self._names_file(word) and (
            not os.path.exists(word)
        )  # fmt: skip

    def _refuse_live(self, word: str) -> None:
        """What has no end has no ledger."""
        live = self.takes in ("picture", "sound") and not os.path.exists(word)
        if live and (word.lower().startswith(("rtsp://", "rtsps://")) if files.is_uri(word) else parse(word)):
            raise UsageError(
                f"{redacted(word)} into a Parquet file", expected="files", remedy="write results.jsonl instead"
            )
        if self.takes == "picture" and files.suffix_of(word) in VIDEO_SUFFIXES and not os.path.isdir(word):
            raise UsageError(
                f"the video {redacted(word)} into a Parquet file",
                expected="photos",
                remedy="write results.jsonl instead, which takes every frame",
            )

    def _folder(self, word: str) -> Iterator[Entry]:
        kind = task_class(self.spec.task)
        any_found = False
        for found in files.walk(word, (*_ENDINGS[self.takes], PARQUET)):
            any_found = True
            if isinstance(found, DataRefused):
                yield Entry("refused", redacted(word), found.received)
            elif not (issubclass(kind, PictureTask) and kind.is_truth(Path(found.path))):
                yield from self._file(found.path, found.stamp)
        if not any_found:
            raise DataRefused(
                f"{redacted(word)} holds no input", expected=f"files ending in {', '.join(_ENDINGS[self.takes])}"
            )

    def _matching(self, pattern: str) -> Iterator[Entry]:
        found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        if not found:
            raise DataRefused(f"no file matches {pattern}", expected="files")
        for path in found:
            yield from self._file(path, files.stamp(path))

    def _file(self, path: str, stamp: str) -> Iterator[Entry]:
        try:
            yield from self._expanded(path, stamp)
        except OSError as error:
            yield Entry("refused", redacted(path), f"{redacted(path)} cannot be read: {files.said(error)}", stamp)

    def _expanded(self, path: str, stamp: str) -> Iterator[Entry]:
        suffix = files.suffix_of(path)
        if suffix == PARQUET:
            yield from self._parquet(path, stamp)
        elif self.takes in ("picture", "sound"):
            yield from self._listed(path) if suffix == ".txt" else [Entry("file", redacted(path), path, stamp)]
        elif self.takes == "arrays":
            yield from self._arrays(path, stamp)
        elif files.is_uri(path):
            yield from self._fetched(path)
        else:
            yield from self._read_here(path, path)

    def _listed(self, path: str) -> Iterator[Entry]:
        """A file of paths and URIs, one a line."""
        with files.open_binary(path) as stream:
            for line in stream:
                if word := os.fsdecode(line).strip():
                    yield Entry("file", redacted(word), word, files.stamp(word))

    def _fetched(self, uri: str) -> Iterator[Entry]:
        """Texts, rows and questions are read here, line by line; those of an object store from a copy."""
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            copy = os.path.join(folder, f"source{files.suffix_of(uri)}")
            with files.open_binary(uri) as stream, open(copy, "wb") as target:
                while block := stream.read(1 << 20):
                    target.write(block)
            yield from self._read_here(copy, redacted(uri))

    def _read_here(self, path: str, name: str) -> Iterator[Entry]:
        for item in items_for(self.spec, [path]):
            called = item.name.replace(path, name, 1)
            try:
                value = item.load()
            except InputRefused as error:
                yield Entry("refused", called, error.received.replace(path, name))
            else:
                yield Entry("value", called, value)

    def _arrays(self, path: str, stamp: str) -> Iterator[Entry]:
        """Large files are taken apart; how many samples a small one or an archive holds is seen when it is opened."""
        import numpy as np

        samples = None
        large = int(stamp.partition(":")[0] or 0) > _WHOLE_BYTES
        if large and files.suffix_of(path) == ".npy" and not files.is_uri(path):
            try:
                mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
                samples = len(mapped)
            except (OSError, ValueError, EOFError, TypeError):
                pass  # opened where it is answered, it is refused there
        if samples is None:
            yield Entry("arrays", redacted(path), [path, 0, None], stamp)
            return
        for start in range(0, samples, self.size):
            stop = min(samples, start + self.size)
            yield Entry("arrays", redacted(path), [path, start, stop], stamp, stop - start)

    def _parquet(self, path: str, stamp: str) -> Iterator[Entry]:
        """Rows stay where they are: what answers them reads them."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        name, first = redacted(path), 0
        try:
            with files.open_binary(path) as stream, ParquetFile(stream) as table:
                columns = self._columns(table.schema_arrow, name)
                sizes = [table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)]
        except (OSError, ArrowException) as error:
            yield Entry("refused", name, f"{name} cannot be read: {files.said(error)}", stamp)
            return
        for group, rows in enumerate(sizes):
            for start in range(0, rows, self.size):
                stop = min(rows, start + self.size)
                yield Entry("rows", name, [path, group, start, stop, first, columns], stamp, stop - start)
            first += rows

    def _columns(self, schema: Any, name: str) -> list[str]:
        if self.takes == "row":
            wanted = list(self.spec.table.names) if self.spec.table else []
        elif self.takes == "question":
            wanted = ["question", "context"]
        elif self.takes == "arrays" and len(self.spec.inputs) > 1:
            wanted = [tensor.name for tensor in self.spec.inputs]
        elif self.column is not None or len(schema.names) == 1:
            wanted = [self.column or schema.names[0]]
        else:
            raise UsageError(
                f"{name} has the columns {', '.join(schema.names[:30])}",
                expected="the one with the inputs",
                remedy=f"--column {schema.names[0]}",
            )
        if self.column not in (None, *wanted):
            raise UsageError(
                f"--column {self.column} for {name}", expected=f"none: the bundle names {', '.join(wanted)}"
            )
        if missing := [column for column in wanted if column not in schema.names]:
            raise UsageError(f"{name} has no column {missing[0]!r}", expected=f"one of {', '.join(schema.names[:30])}")
        return wanted
