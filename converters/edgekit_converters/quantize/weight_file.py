"""Constants of a model in a temporary file: in memory only while somebody looks at them."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgekit.engine import Array

# ONNX Runtime maps constants only from the start of a page; TFLite wants 16 bytes.
ALIGNMENT = max(4096, mmap.ALLOCATIONGRANULARITY)
LARGE = 1024
"""Bytes from which on a constant is worth a block."""


_M_MMAP_THRESHOLD = -3  # malloc.h
_OWN_BLOCK = 2**20


@cache
def keep_blocks_apart() -> None:
    """Let every block of 1 MiB or more have pages of its own, where the C library can be told to (glibc).

    Left alone, glibc raises that limit to 32 MiB as such blocks are freed, and what one engine took stays resident,
    in pieces into which the next one's activations seldom fit (MobileNetV2, ONNX: 164 MB instead of 139).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _OWN_BLOCK)


def give_back_memory() -> None:
    """Return what an engine that is gone has freed to the system, where the C library can be asked to (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


class WeightFile:
    """Blocks of bytes under keys, each at an aligned offset of one file in a folder of its own.

    Attributes:
        folder: Temporary folder, for other files that belong to the weights too; removed by :meth:`close` or when
            nothing refers to this object any more.
        path: The file.
    """

    def __init__(self) -> None:
        keep_blocks_apart()
        self.folder = Path(tempfile.mkdtemp(prefix="edgekit-"))
        # Not TemporaryDirectory, which warns of graphs that nobody closed.
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.path = self.folder / "weights.bin"
        self.path.touch()
        self._places: dict[int | str, tuple[int, int]] = {}
        self._mapped: mmap.mmap | None = None

    def put(self, key: int | str, values: Array) -> None:
        """Write a block, over the one of this key if there is one of the same size."""
        data = np.ascontiguousarray(values)
        offset, size = self._places.get(key, (0, -1))
        with self.path.open("r+b") as file:
            if size != data.nbytes:
                end = file.seek(0, os.SEEK_END)
                offset = -(-end // ALIGNMENT) * ALIGNMENT
            file.seek(offset)
            file.write(data.data)
        self._places[key] = offset, data.nbytes

    def adopt(self, key: int | str, offset: int, size: int) -> None:
        """Take a block that somebody else wrote to the file under a key."""
        self._places[key] = offset, size

    def place(self, key: int | str) -> tuple[int, int]:
        """Offset and size of a block in bytes. Raises KeyError."""
        return self._places[key]

    def __contains__(self, key: int | str) -> bool:
        return key in self._places

    def get(self, key: int | str, dtype: np.dtype[Any]) -> Array:
        """Read a block into memory, one-dimensional. Raises KeyError."""
        offset, size = self._places[key]
        return np.fromfile(self.path, dtype, size // dtype.itemsize, offset=offset)

    def view(self, key: int | str) -> Array:
        """Map a block, uint8, read-only: later :meth:`put` of the same size shows through. Raises KeyError."""
        offset, size = self._places[key]
        if self._mapped is None or len(self._mapped) < offset + size:
            with self.path.open("rb") as file:  # all of it at once: every mapping holds a file open
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._mapped, np.uint8, size, offset)

    def append_to(self, file: IO[bytes]) -> None:
        """Copy all blocks, with the gaps between them, to the end of another file."""
        with self.path.open("rb") as weights:
            shutil.copyfileobj(weights, file, 2**20)

    def close(self) -> None:
        """Remove the files. Blocks that are mapped stay readable on POSIX."""
        self._remove()
