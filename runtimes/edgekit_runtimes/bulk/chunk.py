"""Entries and chunks: what is to be answered, as plain values that travel to another process or machine.

Inputs are cut into chunks, the unit of work and of the ledger. Where one ends is decided by a checksum of its inputs'
names, as rsync and deduplicating stores do: a file that was added to a folder changes the chunk it falls into and no
other, so that the ledger of a growing folder stays good.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

Kind = Literal["file", "value", "arrays", "rows", "refused"]


@dataclass(frozen=True)
class Entry:
    """One input, or several that lie together in a file.

    Attributes:
        kind: How ``value`` is to be understood.
        name: What to call it in results.
        value: A JSON value. ``file``: path or URI; ``value``: what the task takes; ``arrays``: ``[path, start, stop]``,
            samples of an ``.npz`` or ``.npy`` file; ``rows``: ``[path, row group, start, stop, first, columns]``, rows
            of a Parquet file, ``first`` being the number of the row group's first row; ``refused``: why it cannot be
            had.
        stamp: Size and time of change of the file, where there is one.
        weight: How many inputs it is, as far as is known.
    """

    kind: Kind
    name: str
    value: Any = None
    stamp: str = ""
    weight: int = 1


@dataclass(frozen=True)
class Chunk:
    """Entries that are answered together.

    Attributes:
        entries: The entries, in order.
    """

    entries: tuple[Entry, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the entries, 128 bits of it: names, values and stamps, not the files' contents."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    @property
    def weight(self) -> int:
        """How many inputs it is."""
        return sum(entry.weight for entry in self.entries)

    def to_bytes(self) -> bytes:
        """Return the JSON form, ASCII alone: names of files need not be Unicode."""
        return json.dumps([(e.kind, e.name, e.value, e.stamp, e.weight) for e in self.entries]).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Chunk:
        """Read the JSON form."""
        return cls(tuple(Entry(*fields) for fields in json.loads(data)))

    def singles(self) -> Iterator[Entry]:
        """Yield each input alone, as far as can be told without opening its file."""
        for entry in self.entries:
            if entry.kind == "rows":
                path, group, start, stop, first, columns = entry.value
                for row in range(start, stop):
                    name = f"{entry.name} row {first + row}"
                    yield replace(entry, name=name, value=[path, group, row, row + 1, first, columns], weight=1)
            elif entry.kind == "arrays" and entry.value[2] is not None:
                path, start, stop = entry.value
                for sample in range(start, stop):
                    name = f"{entry.name} sample {sample}"
                    yield replace(entry, name=name, value=[path, sample, sample + 1], weight=1)
            else:
                yield entry


def chunks(entries: Iterable[Entry], size: int) -> Iterator[Chunk]:
    """Cut entries into chunks of about ``size`` inputs, at least half and at most twice as many.

    Args:
        entries: Taken as chunks are wanted.
        size: Inputs.

    Yields:
        Chunks, none empty.
    """
    half = max(1, size // 2)
    held: list[Entry] = []
    weight = 0
    for entry in entries:
        held.append(entry)
        weight += entry.weight
        marked = zlib.crc32(os.fsencode(entry.name)) % half == 0
        if (weight >= half and (marked or entry.weight >= half)) or weight >= 2 * size:
            yield Chunk(tuple(held))
            held, weight = [], 0
    if held:
        yield Chunk(tuple(held))
