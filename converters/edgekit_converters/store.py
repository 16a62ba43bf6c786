"""Encoded samples on disk: read as often as needed, one at a time, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array


@dataclass(frozen=True)
class Stored:
    """One encoded sample.

    Attributes:
        name: For messages.
        feeds: Spec input name -> array, batch of 1.
        outputs: Spec output name -> the original's array, batch of 1; empty before it was run.
        truth: What is right, as the task's `truth` made it; ``None`` where unknown.
        context: What decoding has to know of the input; ``None`` for made-up inputs.
        windows: Samples that the input became, of which this is the first; 0 for the others.
    """

    name: str
    feeds: dict[str, Array]
    outputs: dict[str, Array]
    truth: Any = None
    context: Any = None
    windows: int = 1


class SampleStore:
    """Samples in a folder, one file each; memory stays that of one sample.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._index: list[tuple[str, Any, Any, int]] = []

    def __len__(self) -> int:
        return len(self._index)

    def add(self, sample: Stored) -> None:
        """Append a sample."""
        arrays = {f"i{k}": array for k, array in enumerate(sample.feeds.values())}
        arrays.update({f"o{k}": array for k, array in enumerate(sample.outputs.values())})
        with (self._folder / f"{len(self._index)}.npz").open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        self._names = (tuple(sample.feeds), tuple(sample.outputs))
        self._index.append((sample.name, sample.truth, sample.context, sample.windows))

    def __getitem__(self, index: int) -> Stored:
        name, *known = self._index[index]
        inputs, outputs = self._names
        with np.load(self._folder / f"{index}.npz", allow_pickle=False) as stored:
            return Stored(
                name,
                {key: stored[f"i{k}"] for k, key in enumerate(inputs)},
                {key: stored[f"o{k}"] for k, key in enumerate(outputs)},
                *known,
            )

    def __iter__(self) -> Iterator[Stored]:
        return (self[index] for index in range(len(self)))

    def names(self) -> list[str]:
        """Names of the samples, for messages."""
        return [entry[0] for entry in self._index]

    def truths(self) -> list[Any]:
        """What is right for each sample."""
        return [entry[1] for entry in self._index]


def by_input(samples: Iterable[Stored]) -> Iterator[list[Stored]]:
    """Group the samples that came from one input: its windows."""
    group: list[Stored] = []
    for sample in samples:
        if group and sample.windows:
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def batches(samples: Iterable[Stored], size: int) -> Iterator[list[Stored]]:
    """Group samples of equal shapes into batches of at most ``size``."""
    group: list[Stored] = []
    for sample in samples:
        if group and (len(group) == size or _shapes(group[0].feeds) != _shapes(sample.feeds)):
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def stack(group: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Concatenate the arrays of several samples along the batch axis."""
    listed = list(group)
    return {name: np.concatenate([item[name] for item in listed]) for name in listed[0]}


def _shapes(feeds: Mapping[str, Array]) -> list[tuple[int, ...]]:
    return [array.shape for array in feeds.values()]
