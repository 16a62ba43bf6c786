"""A few calibration samples, the same ones in whatever order they come."""

from __future__ import annotations

import math
import os
import tempfile
import weakref
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit_converters.quantize.calibration import Samples


def chosen_samples(samples: Samples, count: int) -> Sequence[Feeds]:
    """A few samples, picked by their contents: the same whatever their order. They are kept on disk."""
    keys = sorted((contents_code(sample), number) for number, sample in enumerate(samples))[:count]
    places = {number: place for place, (_, number) in enumerate(keys)}
    chosen = _OnDisk(len(keys))
    for number, sample in enumerate(samples):
        if number in places:
            chosen.put(places[number], sample)
    return chosen


class _OnDisk(Sequence[Feeds]):
    """Samples in a temporary file, which goes with this object: 32 photos are more than a network's activations."""

    def __init__(self, count: int) -> None:
        self._file = tempfile.TemporaryFile(prefix="edgekit-")  # noqa: SIM115  closed below
        weakref.finalize(self, self._file.close)
        self._index: list[dict[str, tuple[int, Any, tuple[int, ...]]]] = [{} for _ in range(count)]

    def put(self, place: int, sample: Feeds) -> None:
        """Write a sample."""
        for name, array in sample.items():
            self._index[place][name] = self._file.seek(0, os.SEEK_END), array.dtype, array.shape
            self._file.write(np.ascontiguousarray(array).tobytes())

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, place: int) -> Feeds: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Feeds]: ...
    def __getitem__(self, place: int | slice) -> Feeds | Sequence[Feeds]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        return {name: self._read(*where) for name, where in self._index[place].items()}

    def _read(self, offset: int, dtype: Any, shape: tuple[int, ...]) -> Array:
        self._file.seek(offset)
        values: Array = np.frombuffer(self._file.read(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        return values


def divided(samples: Samples, count: int) -> tuple[Sequence[Feeds], Iterable[Feeds] | None]:
    """A few samples, as :func:`chosen_samples` gives them, and the others; ``None`` if those are not twice as many."""
    chosen = chosen_samples(samples, count)
    codes = {contents_code(sample) for sample in chosen}
    others = _Others(samples, codes)
    return chosen, others if sum(1 for _ in others) >= 2 * len(chosen) else None


class _Others:
    """The samples whose contents have none of these numbers."""

    def __init__(self, samples: Samples, codes: Collection[int]) -> None:
        self._samples, self._codes = samples, codes

    def __iter__(self) -> Iterator[Feeds]:
        return (sample for sample in self._samples if contents_code(sample) not in self._codes)


def contents_code(sample: Feeds) -> int:
    """A number from a sample's contents."""
    return zlib.crc32(b"".join(np.ascontiguousarray(array).tobytes() for array in sample.values()))
