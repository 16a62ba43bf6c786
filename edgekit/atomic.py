"""Write to a temporary sibling, fsync, rename: an old good file survives every failure."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgekit.errors import EnvironmentFault

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RANDOM_LETTERS = 8
"""In the name of a temporary file, by `tempfile`."""
_NO_FOLDER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EEXIST})
"""A parent that cannot be made: where a file stands in its place, or in a file system of the kernel's."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on failure it is removed.

    Raises:
        EnvironmentFault: The disk is full or not writable; ``path`` is as it was.
    """
    with _disk_errors(path, _NO_FOLDER):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with _disk_errors(path):
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_leftovers(path: Path) -> None:
    """Remove what a killed process left of `atomic_file` for ``path``; no other may be writing it."""
    pattern = f".{glob.escape(path.stem)}.{'?' * _RANDOM_LETTERS}.tmp{glob.escape(path.suffix)}"
    for left in path.parent.glob(pattern):
        left.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it replaces ``path``, on failure it is removed.

    An existing folder at ``path`` is exchanged in one step where the kernel can (Linux ``renameat2``), otherwise
    by two renames with roll-back.

    Raises:
        EnvironmentFault: The disk is full or not writable; ``path`` is as it was.
    """
    path = path.absolute()
    with _disk_errors(path, _NO_FOLDER):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        with _disk_errors(path):
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            for item in sorted(temporary.rglob("*")):
                if not item.is_symlink():
                    sync(item)
            sync(temporary)
            _put_in_place(temporary, path)
            sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.rename(temporary, path)
        return
    if _exchange(temporary, path):
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent)) / path.name
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(aside, path)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step; False where the system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return bool(call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _disk_errors(path: Path, also: frozenset[int] = frozenset()) -> Iterator[None]:
    """Turn the operating system's disk errors, and some more, into one EnvironmentFault."""
    known = also | {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EIO, errno.ENAMETOOLONG}
    try:
        yield
    except OSError as error:
        if error.errno not in known:
            raise
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror}",
            expected="a writable folder with free space",
            remedy="free some space or choose another output; what was there before is unchanged",
        ) from error
