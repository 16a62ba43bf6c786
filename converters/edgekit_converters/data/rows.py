"""Rows: ``.csv``, ``.tsv`` and ``.jsonl`` files with named columns, one of them what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edgekit.errors import SpecRefused
from edgekit.rows import ROW_SUFFIXES, read_rows
from edgekit.spec import Spec
from edgekit.tasks import task_class
from edgekit_converters.data.dataset import Dataset, Item


def read(path: Path, spec: Spec) -> Dataset:
    """Rows of a file. Raises DataRefused for a row that is damaged: data to convert with has to be whole."""
    if spec.table is None:
        raise SpecRefused(f"task {spec.task} without a table", expected="[[table.columns]] in the spec")
    columns, target = spec.table.names, spec.table.target
    truth = task_class(spec.task).truth
    known = spec.table.known

    def items() -> Iterator[Item]:
        for row in read_rows(path, columns):
            values = row.load()
            raw = None if target is None else known(values.get(target))
            name = f"{path.name}{row.where.removeprefix(str(path))}"
            yield Item(name, values, truth(spec, raw, name))

    return Dataset(items, sum(1 for _ in read_rows(path, columns)), str(path))


READERS: dict[str, Callable[[Path, Spec], Dataset]] = dict.fromkeys(ROW_SUFFIXES, read)
