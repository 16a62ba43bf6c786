"""Say which columns made a score what it is, here or on the board: needs no framework.

Each column is left out in turn: a number becomes the mean of training, a text one that training did not know. What the
probability falls by without it is what it added (Robnik-Sikonja and Kononenko 2008, IEEE TKDE 20:589, the simplest
case: one column at a time, so what two columns only do together is not seen).

python explain.py BUNDLE CUSTOMERS.CSV [--row 1] [--top 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import edgekit
from edgekit.errors import DataRefused, EdgeKitError
from edgekit.rows import read_rows
from edgekit.table import TableEncoding
from edgekit.tasks.classification import Classification
from edgekit_runtimes.predictor import Predictor

_LEFT_OUT = "(left out)"


def left_out(table: TableEncoding, row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return, for each column that can be left out, the row without it."""
    return {
        column.name: {**row, column.name: column.scaling[0] if column.kind == "numeric" else _LEFT_OUT}
        for column in table.columns
        if column.kind == "numeric" or column.unknown == "ignore"
    }


def explain(predictor: Predictor, row: Mapping[str, Any]) -> tuple[Classification, dict[str, float]]:
    """Return the result, and what each column added to the probability of class 1; the largest first."""
    table = predictor.bundle.spec.table
    if table is None:
        raise DataRefused(f"a bundle for {predictor.task.name}", expected="one that takes rows")
    others = left_out(table, row)
    result, *without = predictor.predict_batch([row, *others.values()])
    assert isinstance(result, Classification)  # noqa: S101  for the type checker
    whole = probability(result)
    added = {name: whole - probability(other) for name, other in zip(others, without, strict=True)}
    return result, dict(sorted(added.items(), key=lambda pair: -abs(pair[1])))


def probability(result: Any) -> float:
    """Probability of class 1."""
    return float(next(label.score for label in result.labels if label.index == 1))


def main(bundle: Path, customers: Path, number: int, top: int) -> None:
    """Print the decision on one customer, and the columns that mattered most."""
    with edgekit.load(bundle) as predictor:
        table = predictor.bundle.spec.table
        rows = list(islice(read_rows(customers, table.names if table else ()), number))
        if number < 1 or len(rows) < number:
            raise DataRefused(f"row {number}", expected=f"1 to {len(rows)}")
        row = rows[-1].load()
        result, added = explain(predictor, row)
    print(f"{result.best.name}: probability of a bad credit {100 * probability(result):.1f} %")
    for name, change in islice(added.items(), top):
        print(f"  {100 * change:+6.1f}  {name} = {row[name]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Say which columns made a score what it is.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("customers", type=Path)
    parser.add_argument("--row", type=int, default=1)
    parser.add_argument("--top", type=int, default=5)
    given = parser.parse_args()
    try:
        main(given.bundle, given.customers, given.row, given.top)
    except EdgeKitError as error:
        raise SystemExit(f"error: {error}") from error
