"""A table encoding from what scikit-learn fitted, so that the scaling of training goes into the bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.errors import MissingExtra, SpecRefused
from edgekit.table import Column, TableEncoding, Unknown, word_of

_STEPS = "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, OneHotEncoder, OrdinalEncoder, SimpleImputer"


def table_from_sklearn(
    fitted: Any, columns: Sequence[str], *, target: str | None = None, input: str | None = None
) -> TableEncoding:
    """Read how a fitted scikit-learn transformer turns rows into features.

    Args:
        fitted: A ``ColumnTransformer``, a ``Pipeline`` or one of the transformers named above, fitted, whose output is
            what the model takes. Where each column has to be a feature of its own, ``"passthrough"`` does it.
        columns: Names of the columns that it was fitted on, in order.
        target: Name of the column that holds what is right.
        input: Name of the model's input, where it has several.

    Returns:
        An encoding that gives the same features, in the same order.

    Raises:
        SpecRefused: A step, or an option of one, that the encoding cannot say.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        import sklearn
    except ImportError as error:
        raise MissingExtra("scikit-learn is not installed", remedy="pip install scikit-learn") from error
    del sklearn
    start = [Column(name, input=input) for name in columns]
    done = _applied(fitted, start)
    if texts := [column.name for column in done if isinstance(column, _Filled)]:
        raise SpecRefused(f"column {texts[0]!r} of texts is not encoded", expected="OneHotEncoder or OrdinalEncoder")
    return TableEncoding(tuple(done), target)


def _applied(step: Any, columns: list[Column]) -> list[Column]:
    """The columns after a step, in the order of its output."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    if isinstance(step, Pipeline):
        for _, part in step.steps:
            columns = _applied(part, columns)
        return columns
    if isinstance(step, ColumnTransformer):
        return list(_branches(step, columns))
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return columns
    kind = type(step).__name__
    if kind == "FunctionTransformer" and step.func is None:  # how a fitted ColumnTransformer has "passthrough"
        return columns
    if kind not in _READ:
        raise SpecRefused(f"a {kind}", expected=_STEPS, remedy="put that step into the model, or write the columns")
    if not hasattr(step, "n_features_in_"):
        raise SpecRefused(f"a {kind} that was not fitted", expected="a fitted transformer")
    if step.n_features_in_ != len(columns):
        raise SpecRefused(f"a {kind} of {step.n_features_in_} columns", expected=f"{len(columns)}, as names were given")
    return _READ[kind](step, columns)


def _branches(step: Any, columns: list[Column]) -> Iterator[Column]:
    names = [column.name for column in columns]
    used: set[str] = set()
    for _, part, chosen in step.transformers_:
        picked = [columns[place] for place in _places(chosen, names)]
        if not picked or (isinstance(part, str) and part == "drop"):
            continue
        if again := used & {column.name for column in picked}:
            raise SpecRefused(f"column {min(again)!r} goes to two transformers", expected="each column to one")
        used |= {column.name for column in picked}
        yield from _applied(part, picked)


def _places(chosen: Any, names: list[str]) -> list[int]:
    if isinstance(chosen, slice):
        return list(range(*chosen.indices(len(names))))
    listed = [chosen] if isinstance(chosen, (str, int, np.integer)) else list(chosen)
    if listed and isinstance(listed[0], (bool, np.bool_)):
        return [place for place, taken in enumerate(listed) if taken]
    unknown = [word for word in listed if isinstance(word, str) and word not in names]
    if unknown:
        raise SpecRefused(f"a transformer of column {unknown[0]!r}", expected=f"columns among {', '.join(names)}")
    return [names.index(word) if isinstance(word, str) else int(word) for word in listed]


def _scaled(columns: list[Column], subtract: Any, divide: Any, clip: tuple[float, float] | None = None) -> list[Column]:
    """Columns after ``(x - subtract) / divide``."""
    shifts = np.zeros(len(columns)) if subtract is None else np.asarray(subtract, np.float64)
    factors = np.ones(len(columns)) if divide is None else np.asarray(divide, np.float64)
    done = []
    for column, shift, factor in zip(columns, shifts.tolist(), factors.tolist(), strict=True):
        if column.kind != "numeric" or column.scaling != (0.0, 1.0) or column.clip is not None:
            raise SpecRefused(f"column {column.name!r} is scaled after another step", expected="one scaling a number")
        done.append(replace(column, mean=shift, std=factor, clip=clip))
    return done


def _standard(step: Any, columns: list[Column]) -> list[Column]:
    return _scaled(columns, step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None)


def _min_max(step: Any, columns: list[Column]) -> list[Column]:
    """``x * scale_ + min_``, written as a mean and a standard deviation."""
    low, high = map(float, step.feature_range)
    return _scaled(columns, -step.min_ / step.scale_, 1 / step.scale_, (low, high) if step.clip else None)


def _max_abs(step: Any, columns: list[Column]) -> list[Column]:
    clip = (-1.0, 1.0) if getattr(step, "clip", False) else None
    return _scaled(columns, None, step.scale_, clip)


def _robust(step: Any, columns: list[Column]) -> list[Column]:
    return _scaled(columns, step.center_ if step.with_centering else None, step.scale_ if step.with_scaling else None)


def _imputed(step: Any, columns: list[Column]) -> list[Column]:
    missing_is_nan = isinstance(step.missing_values, float) and np.isnan(step.missing_values)
    if step.add_indicator or not (missing_is_nan or step.missing_values is None):
        raise SpecRefused(
            f"a SimpleImputer with add_indicator = {step.add_indicator}, missing_values = {step.missing_values!r}",
            expected="False and NaN",
        )
    done: list[Column] = []
    for column, fill in zip(columns, step.statistics_, strict=True):
        if column.scaling != (0.0, 1.0) or column.kind != "numeric":
            raise SpecRefused(f"column {column.name!r} is filled after another step", expected="the imputer first")
        if fill is None or (isinstance(fill, float) and np.isnan(fill)):
            raise SpecRefused(f"column {column.name!r} had no value in training", expected="a column with values")
        if isinstance(fill, str):
            done.append(_Filled(column.name, "categorical", vocabulary=(fill,), fill=fill, input=column.input))
        else:
            done.append(replace(column, fill=float(fill)))
    return done


class _Filled(Column):
    """A column of texts between the imputer and the encoder that will know them all."""


def _vocabulary(column: Column, categories: Any) -> tuple[tuple[str, ...], str | None]:
    """The texts of a categorical column, and what a missing one is filled with."""
    if any(value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)) for value in categories):
        raise SpecRefused(
            f"column {column.name!r} has a missing value among its categories",
            expected="texts or numbers",
            remedy="put a SimpleImputer before the encoder",
        )
    if column.scaling != (0.0, 1.0):
        raise SpecRefused(f"column {column.name!r} is encoded after it was scaled", expected="one or the other")
    words = tuple(word_of(value) for value in categories)
    return words, None if column.fill is None else word_of(column.fill)


def _one_hot(step: Any, columns: list[Column]) -> list[Column]:
    if step.handle_unknown not in ("error", "ignore") or step.max_categories or step.min_frequency:
        raise SpecRefused(
            f"a OneHotEncoder with handle_unknown = {step.handle_unknown!r}, max_categories = {step.max_categories}, "
            f"min_frequency = {step.min_frequency}",
            expected="error or ignore, without infrequent categories",
        )
    unknown: Unknown = "refuse" if step.handle_unknown == "error" else "ignore"
    done = []
    for number, (column, categories) in enumerate(zip(columns, step.categories_, strict=True)):
        words, fill = _vocabulary(column, categories)
        dropped = None if step.drop_idx_ is None else step.drop_idx_[number]
        drop = None if dropped is None else words[int(dropped)]
        done.append(
            Column(
                column.name, "categorical", vocabulary=words, fill=fill, drop=drop, unknown=unknown, input=column.input
            )
        )
    return done


def _ordinal(step: Any, columns: list[Column]) -> list[Column]:
    if step.max_categories or step.min_frequency or step.handle_unknown not in ("error", "use_encoded_value"):
        raise SpecRefused("an OrdinalEncoder with infrequent categories", expected="one without")
    ignore = step.handle_unknown == "use_encoded_value"
    if ignore and not float(step.unknown_value).is_integer():
        raise SpecRefused(f"an OrdinalEncoder with unknown_value = {step.unknown_value}", expected="a whole number")
    done = []
    for column, categories in zip(columns, step.categories_, strict=True):
        words, fill = _vocabulary(column, categories)
        done.append(
            Column(
                column.name, "categorical", vocabulary=words, fill=fill, encoding="index", input=column.input,
                unknown="ignore" if ignore else "refuse", unknown_index=int(step.unknown_value) if ignore else -1,
            )
        )  # fmt: skip
    return done


_READ = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "SimpleImputer": _imputed,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
}
