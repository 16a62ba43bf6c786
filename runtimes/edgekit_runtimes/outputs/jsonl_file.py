"""A file of JSON lines that grows: a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edgekit.errors import DataRefused, EdgeKitError, EnvironmentFault
from edgekit_runtimes.outputs.records import answer_line, failure_line
from edgekit_runtimes.outputs.sink import Answer, Sink

_START = b'{"input"'


class JsonLinesFile(Sink):
    """Appends the lines of :class:`~edgekit_runtimes.outputs.records.JsonLines` to a file, each at once and whole.

    What a crash left of a last line is cut off first. One process writes to a file at a time. Lines survive the end
    of the process as they are written, and a power cut from `close` on.

    Args:
        path: The file; made, with its folder, where it is missing.

    Attributes:
        path: The file.
        answered: Inputs that have a line already, results and failures.
        failed: Those among them without a result: input -> error text.
        repaired: Bytes of a torn last line that were cut off.
        notice: What was repaired and what was found, in a line; empty for a new file.

    Raises:
        DataRefused: The file holds something else; it is left as it is.
        EnvironmentFault: It cannot be written, or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_locked(path)
        try:
            self.answered, self.failed, whole, end = _scan(path, self._file)
            self.repaired = max(0, end - whole)
            self._size = whole
            self._mend(whole, end)
        except BaseException:
            self._file.close()
            raise
        self.notice = self._found()

    def answer(self, answer: Answer) -> None:
        """Append one line.

        Raises:
            DataRefused: A number is not finite, which JSON cannot carry.
            EnvironmentFault: The disk is full; the file ends with its last whole line.
        """
        self._append(answer_line(answer))

    def failure(self, name: str, error: EdgeKitError) -> None:
        """Append one line. Raises EnvironmentFault as `answer` does."""
        self._append(failure_line(name, error))

    def close(self) -> None:
        """Force what was written to the disk, and let others write. Raises EnvironmentFault when that fails."""
        if self._file.closed:
            return
        try:
            _sync(self._file)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        finally:
            self._file.close()

    def _append(self, text: str) -> None:
        line = memoryview(text.encode() + b"\n")
        length = len(line)
        try:
            while line:
                line = line[os.write(self._file.fileno(), line) :]
        except OSError as error:
            with suppress(OSError):  # of a device there is nothing to take back
                os.ftruncate(self._file.fileno(), self._size)
            raise _unwritable(self.path, error) from error
        self._size += length

    def _mend(self, whole: int, end: int) -> None:
        try:
            if whole < end:
                os.ftruncate(self._file.fileno(), whole)
            elif whole > end:  # the last line lacks nothing but its end
                os.write(self._file.fileno(), b"\n")
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _found(self) -> str:
        parts = [f"{self.path}: goes on after {len(self.answered)} inputs"] if self.answered else []
        if self.repaired:
            parts.append(f"{self.path}: a torn last line ({self.repaired} bytes) was cut off")
        return "\n".join(parts)


def _sync(file: BinaryIO) -> None:
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS):  # a pipe or a device, which cannot be synchronised
            raise


def _open_locked(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)  # noqa: SIM115  closed by close()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise EnvironmentFault(
            f"{path} is being written by another process", remedy="wait for its end or choose another file"
        ) from None
    except OSError:  # a file system without locks; better unguarded than unusable
        pass
    return file


def _scan(path: Path, file: BinaryIO) -> tuple[frozenset[str], Mapping[str, str], int, int]:
    """Return inputs answered, those failed, and two sizes in bytes: of the whole lines, and of the file.

    The first is one more than the second where only the end of the last line is missing.
    """
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return frozenset(), {}, 0, 0
    answered: set[str] = set()
    failed: dict[str, str] = {}
    whole = end = 0
    with open(path, "rb") as reader:
        for number, line in enumerate(reader, start=1):
            end += len(line)
            record = _record(line)
            if record is None and not line.endswith(b"\n") and _torn(line):
                break
            if record is None:
                raise DataRefused(
                    f"{path} line {number} is not a result of a run",
                    expected="a file of JSON lines that a run has written",
                    remedy="choose another output; the file is unchanged",
                )
            name, error = record
            answered.add(name)
            if error is None:
                failed.pop(name, None)
            else:
                failed[name] = error
            whole = end if line.endswith(b"\n") else end + 1
    return frozenset(answered), failed, whole, end


def _record(line: bytes) -> tuple[str, str | None] | None:
    """Return input and error of a line; ``None`` when it is something else."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("input"), str):
        return None
    if "result" in record:
        return record["input"], None
    return (record["input"], str(record["error"])) if "error" in record else None


def _torn(line: bytes) -> bool:
    """Whether it can be the start of a record; after a power cut, zeros may stand for what was not written."""
    start = line.rstrip(b"\0")[: len(_START)]
    return _START.startswith(start)


def _unwritable(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"cannot write {path}: {error.strerror}",
        expected="a writable file with free space",
        remedy="free some space or choose another output; the lines written so far are whole, and a new run goes on",
    )
