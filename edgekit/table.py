"""Rows of a table to input tensors: each column scaled or numbered as it was when the model was trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused

if TYPE_CHECKING:
    from edgekit.spec import TensorSpec

Kind = Literal["numeric", "categorical"]
Encoding = Literal["one-hot", "index"]
Unknown = Literal["refuse", "ignore"]


@dataclass(frozen=True)
class Column:
    """One column of a row.

    Attributes:
        name: As in the header of the CSV or the keys of the JSON object.
        kind: ``numeric``, or ``categorical`` for one of a list of texts.
        mean: Numeric: subtracted. The scaling is ``(x - mean) / std``.
        std: Numeric: divides after the mean is subtracted.
        min: Numeric: with ``max`` instead of mean and std, the value that becomes 0.
        max: Numeric: the value that becomes 1.
        clip: Numeric: smallest and largest value after scaling; ``None`` for no limits.
        fill: Stands for a missing value, before scaling; ``None`` refuses a row that lacks it.
        vocabulary: Categorical: the texts known in training, in the order of their numbers.
        encoding: Categorical: ``one-hot``, one feature a text, or ``index``, its number.
        drop: Categorical and ``one-hot``: the text that has no feature of its own, all zeros; ``None`` for none.
        unknown: Categorical: ``refuse`` a text that is not in the vocabulary, or ``ignore`` it, which is all zeros or
            the number ``unknown_index``.
        unknown_index: Number of an unknown text with ``index``.
        input: The spec's input that the features go to; ``None`` for a model with one.
    """

    name: str
    kind: Kind = "numeric"
    mean: float = 0.0
    std: float = 1.0
    min: float | None = None
    max: float | None = None
    clip: tuple[float, float] | None = None
    fill: float | str | None = None
    vocabulary: tuple[str, ...] = ()
    encoding: Encoding = "one-hot"
    drop: str | None = None
    unknown: Unknown = "refuse"
    unknown_index: int = -1
    input: str | None = None

    def __post_init__(self) -> None:
        for name, kind in (("kind", Kind), ("encoding", Encoding), ("unknown", Unknown)):
            if getattr(self, name) not in get_args(kind):
                raise self._wrong(f"{name} = {getattr(self, name)!r}", " or ".join(get_args(kind)))
        if self.kind == "numeric":
            self._check_numeric()
        else:
            self._check_categorical()

    def _check_numeric(self) -> None:
        if (self.min is None) != (self.max is None):
            raise self._wrong("one of min and max", "both, or mean and std")
        if self.min is not None and (self.mean, self.std) != (0.0, 1.0):
            raise self._wrong("min, max and mean, std", "one pair")
        numbers = (*self.scaling, *(self.clip or ()), 0.0 if self.fill is None else self.fill)
        if not all(_is_number(number) for number in numbers):
            raise self._wrong(f"the numbers {numbers}", "finite numbers")
        if self.scaling[1] == 0:
            raise self._wrong("std = 0, or min = max", "a value that can divide")
        if self.clip is not None and (len(self.clip) != 2 or self.clip[0] > self.clip[1]):
            raise self._wrong(f"clip = {list(self.clip)}", "the smallest and the largest value")
        if self.vocabulary:
            raise self._wrong("a vocabulary", 'one only for kind = "categorical"')

    def _check_categorical(self) -> None:
        words = self.vocabulary
        if not words or not all(isinstance(word, str) for word in words) or len(set(words)) != len(words):
            raise self._wrong(f"vocabulary = {list(words)!r:.80}", "different texts, at least one")
        if self.fill is not None and self.fill not in words:
            raise self._wrong(f"fill = {self.fill!r}", "a text of the vocabulary")
        if self.drop is not None and (self.drop not in words or self.encoding != "one-hot"):
            raise self._wrong(f"drop = {self.drop!r}", 'a text of the vocabulary and encoding = "one-hot"')
        if self.min is not None or self.clip is not None or (self.mean, self.std) != (0.0, 1.0):
            raise self._wrong("a scaling", 'one only for kind = "numeric"')

    def _wrong(self, received: str, expected: str) -> SpecRefused:
        return SpecRefused(f"column {self.name!r} has {received}", expected=expected)

    @property
    def scaling(self) -> tuple[float, float]:
        """What is subtracted, and what divides."""
        if self.min is None or self.max is None:
            return self.mean, self.std
        return self.min, self.max - self.min

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Texts that have a feature of their own with ``one-hot``."""
        return tuple(word for word in self.vocabulary if word != self.drop)

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.categories) if self.kind == "categorical" and self.encoding == "one-hot" else 1

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary)}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.categories)}

    def features(self, value: Any) -> Sequence[float]:
        """Return the features of a value.

        Args:
            value: A number or text; ``None`` where it is missing.

        Returns:
            ``width`` numbers.

        Raises:
            DataRefused: Missing without a fill, no number, or a text that training did not know.
        """
        if value is None:
            if self.fill is None:
                raise DataRefused(f"no value in column {self.name!r}", expected=self._expected)
            value = self.fill
        return (self._scaled(value),) if self.kind == "numeric" else self._coded(value)

    @property
    def _expected(self) -> str:
        if self.kind == "numeric":
            return "a number"
        shown = ", ".join(repr(word) for word in self.vocabulary[:8])
        return f"one of {shown}" + (f" … ({len(self.vocabulary)} in all)" if len(self.vocabulary) > 8 else "")

    def _scaled(self, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            comma = isinstance(value, str) and "," in value
            remedy = "write a decimal point, and no separators of thousands" if comma else None
            raise DataRefused(f"{value!r:.80} in column {self.name!r}", expected="a finite number", remedy=remedy)
        subtract, divide = self.scaling
        scaled = (number - subtract) / divide
        return scaled if self.clip is None else min(max(scaled, self.clip[0]), self.clip[1])

    def _coded(self, value: Any) -> Sequence[float]:
        word = self._word(value)
        if word is None and self.unknown == "refuse":
            raise DataRefused(f"{value!r:.80} in column {self.name!r}", expected=self._expected)
        if self.encoding == "index":
            return (float(self.unknown_index if word is None else self._numbers[word]),)
        features = [0.0] * self.width
        if word is not None and word != self.drop:
            features[self._places[word]] = 1.0
        return features

    def _word(self, value: Any) -> str | None:
        """The text of the vocabulary that a value stands for: ``1``, ``1.0`` and ``"1"`` are the same."""
        text = value if isinstance(value, str) else word_of(value)
        if text in self._numbers:
            return text
        try:
            text = word_of(float(text))
        except (ValueError, OverflowError):
            return None
        return text if text in self._numbers else None


def word_of(value: Any) -> str:
    """Write a category as text; whole numbers without a decimal point."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


@dataclass(frozen=True)
class TableEncoding:
    """How a row becomes input tensors: the features of its columns, in order.

    Attributes:
        columns: Columns that the model takes, in the order of its features.
        target: Column that holds what is right, in calibration and evaluation data.
        missing: Texts that stand for a missing value. NaN and JSON's ``null`` always do.
    """

    columns: tuple[Column, ...]
    target: str | None = None
    missing: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) != len(names):
            raise SpecRefused(f"table with columns {names}", expected="columns of different names, at least one")
        if self.target in names:
            raise SpecRefused(f"table with target {self.target!r} among its columns", expected="a column of its own")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def width(self, tensor: str, *, only: bool) -> int:
        """Number of features that go to an input.

        Args:
            tensor: Its name.
            only: Whether it is the model's only input, which columns need not name.
        """
        return sum(column.width for column in self.columns if column.input == tensor or (only and column.input is None))

    def known(self, value: Any) -> Any:
        """Return a value, or ``None`` where it stands for a missing one."""
        if value is None or (isinstance(value, str) and value.strip() in self.missing):
            return None
        if isinstance(value, str):
            text = value.strip()
            return None if text.lower() == "nan" else text
        return None if isinstance(value, (float, np.floating)) and math.isnan(value) else value

    def features(self, row: Mapping[str, Any]) -> dict[str | None, list[float]]:
        """Return the features of a row for each input that columns name.

        Raises:
            DataRefused: A column is not there, or a value cannot be used; names the column.
        """
        if absent := [name for name in self.names if name not in row]:
            others = sorted(str(name) for name in row if name not in self.names and name != self.target)
            raise DataRefused(
                f"a row without {', '.join(map(repr, absent[:8]))}"
                + (f", but with {', '.join(map(repr, others[:8]))}" if others else ""),
                expected=f"the columns {', '.join(self.names[:30])}",
                remedy="leave a value empty (null in JSON) where it is not known",
            )
        found: dict[str | None, list[float]] = {}
        for column in self.columns:
            found.setdefault(column.input, []).extend(column.features(self.known(row[column.name])))
        return found


def table_from_dict(raw: object, where: str) -> TableEncoding:
    """Build a table encoding from the JSON form. Raises SpecRefused for what it cannot be."""
    from edgekit.spec import build

    if not isinstance(raw, Mapping):
        raise SpecRefused(f"{where} is {raw!r:.80}", expected="a table of keys and values")
    columns = raw.get("columns")
    if not isinstance(columns, (list, tuple)):
        raise SpecRefused(f"{where} has no columns", expected="[[table.columns]], one for each column")
    built = tuple(build(Column, item, f"{where}: column {number}") for number, item in enumerate(columns, 1))
    table: TableEncoding = build(TableEncoding, {**raw, "columns": built}, where)
    return table


def table_to_dict(table: TableEncoding) -> dict[str, Any]:
    """Return the JSON form, without what is as it is by default."""
    columns = [
        {
            field.name: getattr(column, field.name)
            for field in dataclasses.fields(column)
            if getattr(column, field.name) != field.default
        }
        for column in table.columns
    ]
    raw: dict[str, Any] = {"columns": columns}
    if table.target is not None:
        raw["target"] = table.target
    if table.missing != ("",):
        raw["missing"] = table.missing
    return raw


def feeds_of(table: TableEncoding, row: Mapping[str, Any], inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return the input tensors of a row: input name -> ``(1, features)``.

    Raises:
        DataRefused: A column is not there, or a value cannot be used; names the column.
    """
    features = table.features(row)
    return {tensor.name: _feed(features[tensor.name if tensor.name in features else None], tensor) for tensor in inputs}


def _feed(features: Sequence[float], tensor: TensorSpec) -> Array:
    array = np.asarray(features, np.float64)
    if np.dtype(tensor.dtype).kind in "iu" and (array != np.floor(array)).any():
        raise DataRefused(f"fractions for input {tensor.name!r} of dtype {tensor.dtype}", expected="whole numbers")
    return array.astype(tensor.dtype).reshape((1,) if len(tensor.shape) == 1 else (1, -1))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
