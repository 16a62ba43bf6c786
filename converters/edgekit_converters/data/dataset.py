"""Samples of a data set, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.tasks import Task, context_of
from edgekit.tasks.base import Run
from edgekit_converters.store import Stored

REMEDY = "pass a folder, a .csv, .npz, .npy, .txt, .tsv, .jsonl or .json file as --help says, or module:function"


@dataclass(frozen=True)
class Item:
    """One sample before encoding.

    Attributes:
        name: For messages: a file, a line, an index.
        value: What the task encodes.
        label: What is right, as the task's `truth` made it: a class, boxes, a text; ``None`` where unknown.
    """

    name: str
    value: Any
    label: Any = None


class Dataset:
    """Samples that can be read again and again, one at a time.

    Args:
        items: Returns a new iterator over all items each time it is called.
        count: Number of items.
        origin: Where they come from, for messages and the manifest.
    """

    def __init__(self, items: Callable[[], Iterator[Item]], count: int, origin: str) -> None:
        self._items = items
        self._count = count
        self.origin = origin
        if count == 0:
            raise DataRefused(f"{origin} holds no samples", expected="at least one", remedy=REMEDY)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        return self._items()

    def split(self, every: int) -> tuple[Dataset, Dataset]:
        """Return two parts: all but each ``every``-th item, and each ``every``-th."""
        kept = sum(1 for i in range(self._count) if i % every)

        def part(held_out: bool) -> Iterator[Item]:
            return (item for i, item in enumerate(self._items()) if (i % every == 0) == held_out)

        return (
            Dataset(lambda: part(False), kept, self.origin),
            Dataset(lambda: part(True), self._count - kept, self.origin),
        )

    def encoded(self, task: Task, run: Run | None = None) -> Iterator[Stored]:
        """Encode item by item; the windows of an item follow each other.

        Args:
            task: Encodes.
            run: The original, for tasks whose model is fed with what it gave before.

        Raises:
            DataRefused: A bad item, by its name.
        """
        for item in self:
            try:
                feeds = task.encode(item.value) if run is None else task.samples(item.value, run)
            except DataRefused as error:
                name = item.name
                received = error.received if name in error.received else f"{name}: {error.received}"
                raise DataRefused(received, expected=error.expected, remedy=error.remedy) from error
            yield from _windows(item, feeds)


def _windows(item: Item, feeds: dict[str, Array]) -> Iterator[Stored]:
    """One sample of batch 1 for each window; the first says how many there are and carries truth and context."""
    count = len(next(iter(feeds.values())))
    for window in range(count):
        own = {name: array[window : window + 1] for name, array in feeds.items()}
        if window == 0:
            yield Stored(item.name, own, {}, item.label, context_of(feeds), count)
        else:
            yield Stored(f"{item.name}, window {window + 1}", own, {}, None, None, 0)
