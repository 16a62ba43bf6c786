"""What all tasks on rows share: the columns of a row, scaled and numbered as in training."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.rows import row_of_words
from edgekit.spec import Spec, TensorSpec
from edgekit.table import TableEncoding, feeds_of
from edgekit.tasks.base import Encoded, Takes, Task


class RowTask(Task):
    """Takes a mapping of column to value, the values in the order of the columns, or ``name=value,name=value``.

    Attributes:
        table: How a row becomes tensors.
    """

    takes: ClassVar[Takes] = "row"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        if spec.table is None:
            raise SpecRefused(
                f"{self.name} without a table",
                expected="[[table.columns]] in the spec, one for each column",
                remedy="write them, or derive them with edgekit_converters.tables.table_from_sklearn",
            )
        self.table: TableEncoding = spec.table
        self._check_inputs()

    def _check_inputs(self) -> None:
        """Columns name inputs that exist, and each input gets as many features as it takes."""
        inputs = self.spec.inputs
        known = [tensor.name for tensor in inputs]
        for column in self.table.columns:
            if column.input not in known and not (column.input is None and len(inputs) == 1):
                raise SpecRefused(
                    f"column {column.name!r} goes to input {column.input!r}", expected=f"input = one of {known}"
                )
        for tensor in inputs:
            given, taken = self.table.width(tensor.name, only=len(inputs) == 1), _width(tensor)
            if given == 0 or taken not in (None, given):
                raise SpecRefused(
                    f"{given} features for input {tensor.name!r} of shape {list(tensor.shape)}",
                    expected=f"{'some' if taken is None else taken}: one a number, one a category of one-hot columns",
                    remedy="give the columns that the model was trained with, in the order of its features",
                )

    def encode(self, item: Any) -> dict[str, Array]:
        """Turn a row into input tensors with a batch of 1. Raises DataRefused naming the column that is wrong."""
        row = self.row(item)
        return Encoded(feeds_of(self.table, row, self.spec.inputs), self.context(row))

    def row(self, item: Any) -> Mapping[str, Any]:
        """Return an item as column -> value. Raises DataRefused when it is no row."""
        if isinstance(item, str):
            return row_of_words(item)
        if isinstance(item, Mapping):
            return item
        if isinstance(item, (list, tuple, np.ndarray)):
            if len(item) != len(self.table.columns):
                raise DataRefused(f"{len(item)} values", expected=f"{len(self.table.columns)}, one a column")
            return dict(zip(self.table.names, item, strict=True))
        raise DataRefused(f"{item!r:.80}", expected="a mapping of column to value")

    def context(self, row: Mapping[str, Any]) -> Any:  # most models say it all
        """What decoding has to know of a row."""
        return None


def _width(tensor: TensorSpec) -> int | None:
    """Features that an input takes; ``None`` where that is dynamic."""
    if len(tensor.shape) > 2:
        raise SpecRefused(
            f"input {tensor.name!r} of shape {list(tensor.shape)}", expected="(batch, features) for a table"
        )
    sizes = tensor.shape[1:]
    return None if None in sizes else prod(size for size in sizes if size is not None)
