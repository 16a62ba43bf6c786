"""The ledger of a run: what it answers with, and which chunks are done.

A chunk is done when its part lies in the folder and then its line stands in ``ledger.jsonl``. Parts are written to a
temporary sibling, forced to the disk and renamed; lines carry the part's SHA-256 and are forced to the disk too. A kill
or a power cut at any moment therefore leaves whole parts and, at most, a torn last line, which is cut off: the chunks
in flight are answered again, no other.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from edgekit.atomic import atomic_file
from edgekit.errors import DataRefused, EnvironmentFault, UsageError
from edgekit_runtimes.bulk.answer import Part

JOB = "job.json"
LINES = "ledger.jsonl"
_SHOWN = 12
_TRIES = 10


@dataclass(frozen=True)
class Done:
    """A line of the ledger.

    Attributes:
        chunk: Digest of the chunk.
        rows: Number of its inputs.
        failed: Number of those without a result.
        sha256: Of its part.
        about: What answered it.
    """

    chunk: str
    rows: int
    failed: int
    sha256: str
    about: str


class Ledger:
    """Opens the ledger of a run, or begins one. Use as a context manager; one process has it at a time.

    Args:
        folder: For ``job.json`` and ``ledger.jsonl``.
        parts: For the parts.
        job: What results depend on, as JSON; an earlier run that has finished a chunk must have had the same.
        output: What the user calls it, for messages.
        restart: Forget what an earlier run has finished.

    Attributes:
        done: Digest -> line, of this run and those before.

    Raises:
        UsageError: An earlier run had another bundle or other options.
        DataRefused: The ledger is damaged.
        EnvironmentFault: It cannot be written, or another run has it.
    """

    def __init__(
        self, folder: Path, parts: Path, job: Mapping[str, Any], output: str, *, restart: bool = False
    ) -> None:
        self.folder, self.parts, self._output = folder, parts, output
        self.done: dict[str, Done] = {}
        self._file = self._locked()
        try:
            self._read(restart=restart)
            self._begin(job)
            for left in parts.glob(".*.tmp*"):
                left.unlink(missing_ok=True)
            if restart:
                self.forget_others(frozenset())
        except BaseException:
            self._file.close()
            raise

    @property
    def rows(self) -> int:
        """Number of inputs that are done."""
        return sum(line.rows for line in self.done.values())

    @property
    def about(self) -> str | None:
        """What gave the results so far; ``None`` before the first."""
        return next((line.about for line in self.done.values()), None)

    def part(self, chunk: str) -> Path:
        """Where the part of a chunk is, or will be."""
        return self.parts / f"part-{chunk}.parquet"

    def has(self, chunk: str) -> bool:
        """Whether a chunk is done and its part is there."""
        return chunk in self.done and self.part(chunk).is_file()

    def intact(self, chunk: str) -> bool:
        """Whether a part is what was written; otherwise its chunk is no longer done."""
        line = self.done.get(chunk)
        with suppress(OSError):
            if line and hashlib.sha256(self.part(chunk).read_bytes()).hexdigest() == line.sha256:
                return True
        self.done.pop(chunk, None)
        return False

    def commit(self, part: Part) -> None:
        """Make a chunk's results last.

        Raises:
            EnvironmentFault: The disk is full, or the results come from another engine or version than those before.
        """
        if self.about not in (None, part.about):
            raise EnvironmentFault(
                f"{part.about} answers where {self.about} did so far",
                expected="one artifact, engine and version for all results",
                remedy="install the same versions everywhere, name --engine and --recipe, or begin with --restart",
            )
        with atomic_file(self.part(part.digest)) as temporary:
            temporary.write_bytes(part.data)
        line = Done(part.digest, part.rows, part.failed, hashlib.sha256(part.data).hexdigest(), part.about)
        self._append(json.dumps(asdict(line)).encode() + b"\n")
        self.done[part.digest] = line

    def forget_others(self, chunks: frozenset[str]) -> None:
        """Remove parts of chunks that are no longer among the inputs."""
        for chunk in set(self.done) - chunks:
            self.part(chunk).unlink(missing_ok=True)
            del self.done[chunk]
        for path in self.parts.glob("part-*.parquet"):
            if path.stem.removeprefix("part-") not in self.done:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove ledger and parts, once their results lie elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let others open it. Nothing is left of a run that finished no chunk, so that it can be called otherwise."""
        if not self.done and not any(self.parts.glob("part-*.parquet")):
            for name in (JOB, LINES):
                (self.folder / name).unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _locked(self) -> IO[bytes]:
        """Open the file of lines as the only one; a file that another run has removed meanwhile is not it."""
        for _ in range(_TRIES):
            file = self._opened()
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                break
            except OSError:  # a file system without locks; better unguarded than unusable
                return file
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self.folder / LINES)):
                    return file
            file.close()
        raise EnvironmentFault(
            f"{self._output} is being written by another run", remedy="wait for its end or choose another output"
        )

    def _opened(self) -> IO[bytes]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return open(self.folder / LINES, "a+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def _append(self, line: bytes) -> None:
        try:
            if os.write(self._file.fileno(), line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the next run cuts the torn line off
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _begin(self, job: Mapping[str, Any]) -> None:
        path = self.folder / JOB
        if not self.done:
            with atomic_file(path) as temporary:
                temporary.write_text(json.dumps(job, indent=1) + "\n", encoding="utf-8")
            return
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError) as error:
            raise DataRefused(f"{path} is damaged: {error}", remedy="begin again with --restart") from error
        refuse_another(self._output, earlier, job)

    def _read(self, *, restart: bool) -> None:
        self._file.seek(0)
        whole = 0
        for line in [] if restart else self._file.read().splitlines(keepends=True):
            try:
                found = Done(**json.loads(line)) if line.endswith(b"\n") else None
            except (ValueError, TypeError):
                found = None
            if found is None:  # torn; what may follow belongs to chunks that are answered again
                break
            self.done[found.chunk] = found
            whole += len(line)
        try:
            os.ftruncate(self._file.fileno(), whole)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> EnvironmentFault:
        return EnvironmentFault(
            f"cannot write {self.folder}: {error.strerror}",
            expected="a writable folder with free space",
            remedy="free some space or choose another output; finished chunks stay, and a new run goes on",
        )


def refuse_another(output: str, earlier: Any, job: Mapping[str, Any]) -> None:
    """Raise UsageError when an output was begun with another bundle or other options, naming what differs."""
    if earlier == job:
        return
    before = earlier if isinstance(earlier, Mapping) else {}
    differs = [key for key in {**before, **job} if before.get(key) != job.get(key)]
    changes = ", ".join(f"{key} was {_short(before.get(key))}, is {_short(job.get(key))}" for key in differs)
    raise UsageError(
        f"{output} was begun with another bundle or other options: {changes}",
        expected="the same, so that all results come from one set-up",
        remedy="choose another output, or begin again with --restart",
    )


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:_SHOWN]}…" if len(text) == 64 else text
