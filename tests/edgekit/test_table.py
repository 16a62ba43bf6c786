"""Columns to features; scikit-learn's own transforms are compared in tests/converters/test_tables.py."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding, feeds_of

COLORS = ("red", "green", "blue")
TABLE = TableEncoding(
    (
        Column("age", mean=40.0, std=10.0),
        Column("height", min=100.0, max=200.0, clip=(0.0, 1.0), fill=150.0),
        Column("color", "categorical", vocabulary=COLORS),
        Column("size", "categorical", vocabulary=("1", "2", "3"), encoding="index", unknown="ignore", fill="2"),
    ),
    target="price",
    missing=("", "NA"),
)
ROW = {"age": 50, "height": "175", "color": " green ", "size": 3.0}


def features(**changes: Any) -> list[float]:
    return TABLE.features({**ROW, **changes})[None]


def test_numbers_are_scaled_and_texts_are_numbered() -> None:
    assert features() == [1.0, 0.75, 0.0, 1.0, 0.0, 2.0]


@pytest.mark.parametrize("missing", [None, "", " NA ", math.nan, np.float32("nan"), "NaN"])
def test_what_is_missing_is_filled_or_refused(missing: Any) -> None:
    assert features(height=missing)[1] == 0.5
    assert features(size=missing)[-1] == 1.0
    with pytest.raises(DataRefused, match="no value in column 'age'; expected a number"):
        features(age=missing)
    with pytest.raises(DataRefused, match="no value in column 'color'; expected one of 'red', 'green', 'blue'"):
        features(color=missing)


@pytest.mark.parametrize("wrong", ["old", "1,5", "inf", math.inf, True, [1], {}, 10**400])
def test_no_number_is_refused(wrong: Any) -> None:
    with pytest.raises(DataRefused, match=r"in column 'age'; expected a finite number"):
        features(age=wrong)


def test_a_decimal_comma_gets_its_remedy() -> None:
    with pytest.raises(DataRefused, match="write a decimal point"):
        features(age="1,5")


def test_unknown_texts_are_refused_or_ignored_as_the_column_says() -> None:
    with pytest.raises(DataRefused, match="'pink' in column 'color'; expected one of 'red'"):
        features(color="pink")
    assert features(size="17")[-1] == -1.0
    ignoring = Column("color", "categorical", vocabulary=COLORS, unknown="ignore")
    assert list(ignoring.features("pink")) == [0.0, 0.0, 0.0]
    assert list(Column("color", "categorical", vocabulary=COLORS, drop="green").features("green")) == [0.0, 0.0]


def test_absent_columns_are_named_and_so_are_strangers() -> None:
    row = {"height": 1, "color": "red", "Age": 3, "price": 4, "size": 1}
    with pytest.raises(DataRefused, match="a row without 'age', but with 'Age'; expected the columns age, height"):
        TABLE.features(row)


def test_columns_that_nobody_asked_for_are_ignored() -> None:
    assert features(price=3, remark="hello") == features()


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_scaling_is_undone_by_its_inverse(value: float, mean: float, std: float) -> None:
    (scaled,) = Column("x", mean=mean, std=std).features(value)
    assert scaled * std + mean == pytest.approx(value, abs=1e-6)


@given(st.lists(st.text(), min_size=1, max_size=20, unique=True), st.data())
def test_every_text_has_one_feature_of_its_own(words: list[str], data: st.DataObject) -> None:
    column = Column("x", "categorical", vocabulary=tuple(words))
    word = data.draw(st.sampled_from(words))
    found = list(column.features(word))
    assert (sum(found), found[words.index(word)]) == (1.0, 1.0)


def test_features_go_to_the_inputs_that_columns_name() -> None:
    table = TableEncoding(
        (Column("a", input="x"), Column("c", "categorical", vocabulary=COLORS, encoding="index", input="y"),
         Column("b", input="x"))
    )  # fmt: skip
    inputs = (TensorSpec("x", (None, 2)), TensorSpec("y", (None,), "int64"))
    feeds = feeds_of(table, {"a": 1, "b": 2, "c": "blue"}, inputs)
    assert {name: (array.tolist(), array.dtype.name) for name, array in feeds.items()} == {
        "x": ([[1.0, 2.0]], "float32"),
        "y": ([2], "int64"),
    }
    with pytest.raises(DataRefused, match="fractions for input 'x' of dtype int32"):
        feeds_of(table, {"a": 1.5, "b": 2, "c": "red"}, (TensorSpec("x", (None, 2), "int32"),))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"name": "x", "kind": "word"}, "column 'x' has kind = 'word'; expected numeric or categorical"),
        ({"name": "x", "std": 0}, "std = 0, or min = max"),
        ({"name": "x", "min": 1}, "one of min and max; expected both"),
        ({"name": "x", "min": 1, "max": 2, "mean": 3}, "min, max and mean, std; expected one pair"),
        ({"name": "x", "mean": math.nan}, "expected finite numbers"),
        ({"name": "x", "mean": "3"}, "expected finite numbers"),
        ({"name": "x", "clip": [2, 1]}, r"clip = \[2, 1\]"),
        ({"name": "x", "vocabulary": ["a"]}, 'one only for kind = "categorical"'),
        ({"name": "x", "kind": "categorical"}, "expected different texts, at least one"),
        ({"name": "x", "kind": "categorical", "vocabulary": ["a", "a"]}, "expected different texts"),
        ({"name": "x", "kind": "categorical", "vocabulary": ["a"], "fill": "b"}, "fill = 'b'; expected a text of"),
        ({"name": "x", "kind": "categorical", "vocabulary": ["a"], "drop": "b"}, "drop = 'b'"),
        ({"name": "x", "kind": "categorical", "vocabulary": ["a"], "std": 2}, "has a scaling"),
        ({"name": "x", "kind": "categorical", "vocabulary": ["a"], "unknown": "guess"}, "unknown = 'guess'"),
        ({"name": "x", "colour": 1}, "column 1 has an unknown key 'colour'"),
        ({}, "missing 1 required positional argument: 'name'"),
    ],
)
def test_wrong_columns_are_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        Spec.from_dict({"table": {"columns": [raw]}})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "has no columns; expected"),
        (3, "is 3; expected a table"),
        ({"columns": []}, "expected columns of different names, at least one"),
        ({"columns": [{"name": "x"}, {"name": "x"}]}, "expected columns of different names"),
        ({"columns": [{"name": "x"}], "target": "x"}, "target 'x' among its columns"),
    ],
)
def test_wrong_tables_are_refused(raw: Any, message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        Spec.from_dict({"table": raw})


def test_the_json_form_round_trips() -> None:
    spec = Spec(task="tabular-regression", table=TABLE, options={"unit": "m", "seen_file": "seen.json"})
    again = Spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert again.files == ["seen.json"]
