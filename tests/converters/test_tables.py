"""What scikit-learn fitted becomes columns that give the same features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec
from edgekit.table import TableEncoding
from edgekit_converters.spec_file import write_spec
from edgekit_converters.tables import table_from_sklearn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.datasets import fair, modechoice

CANCER = load_breast_cancer()
NAMES = [str(name) for name in CANCER.feature_names]


def encoded(table: TableEncoding, rows: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([table.features(row)[None] for row in rows])


def as_rows(array: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in array.tolist()]


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler(),
        MinMaxScaler((-1, 1), clip=True),
        MaxAbsScaler(),
        RobustScaler(),
    ],
)
def test_scalers_of_real_measurements(scaler: Any) -> None:
    scaler.fit(CANCER.data[:400])
    table = table_from_sklearn(scaler, NAMES)
    assert table.names == tuple(NAMES)
    np.testing.assert_allclose(encoded(table, as_rows(CANCER.data, NAMES)), scaler.transform(CANCER.data), atol=1e-9)


def test_a_bare_pipeline_fills_what_is_missing() -> None:
    data = CANCER.data.copy()
    data[np.random.default_rng(0).random(data.shape) < 0.1] = np.nan
    pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(data)
    table = table_from_sklearn(pipeline, NAMES)
    np.testing.assert_allclose(encoded(table, as_rows(data, NAMES)), pipeline.transform(data), atol=1e-9)


@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
@pytest.mark.parametrize("encoder", ["one-hot", "ordinal"])
def test_columns_of_a_real_survey_from_text(encoder: str, drop: str | None) -> None:
    """Fair's survey: numbers are scaled, answers of a few steps encoded; rows come as a CSV has them."""
    frame = fair.load_pandas().data.head(800).astype({"occupation": str, "religious": int})
    categories = ["occupation", "religious"]
    kind = OneHotEncoder(drop=drop, handle_unknown="error", sparse_output=False) if encoder == "one-hot" else None
    columns = ColumnTransformer(
        [
            ("number", make_pipeline(SimpleImputer(), MinMaxScaler()), ["age", "yrs_married", "children"]),
            ("text", kind or OrdinalEncoder(), categories),
            ("as it is", "passthrough", ["educ"]),
        ]
    ).fit(frame)
    table = table_from_sklearn(columns, list(frame.columns), target="affairs")
    rows = [{name: str(value) for name, value in row.items()} for row in frame.to_dict("records")]
    np.testing.assert_allclose(encoded(table, rows), columns.transform(frame), atol=1e-9)
    assert table.names == ("age", "yrs_married", "children", *categories, "educ")


def test_unknown_categories_are_ignored_or_refused_as_in_training() -> None:
    data = modechoice.load_pandas().data[["mode", "psize"]].astype(int)
    known = data[data["mode"] != 4]
    ignoring = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(known)
    table = table_from_sklearn(ignoring, ["mode", "psize"])
    np.testing.assert_array_equal(encoded(table, data.to_dict("records")), ignoring.transform(data))
    numbering = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-2).fit(known)
    table = table_from_sklearn(numbering, ["mode", "psize"])
    np.testing.assert_array_equal(encoded(table, data.to_dict("records")), numbering.transform(data))
    strict = table_from_sklearn(OneHotEncoder().fit(known), ["mode", "psize"])
    with pytest.raises(DataRefused, match=r"4 in column 'mode'; expected one of '1', '2', '3'"):
        strict.features({"mode": 4, "psize": 1})


def test_a_missing_text_is_filled_with_the_most_frequent() -> None:
    rows = np.array([["a"], ["b"], ["b"]], object)
    pipeline = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False)).fit(rows)
    table = table_from_sklearn(pipeline, ["letter"])
    assert table.features({"letter": ""})[None] == pipeline.transform(np.array([[np.nan]], object))[0].tolist()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (PolynomialFeatures(2), "a PolynomialFeatures; expected StandardScaler"),
        (StandardScaler(), "a StandardScaler that was not fitted"),
        (make_pipeline(StandardScaler(), MinMaxScaler()), "is scaled after another step"),
        (make_pipeline(StandardScaler(), SimpleImputer()), "is filled after another step"),
        (SimpleImputer(add_indicator=True), "add_indicator = True"),
        (OneHotEncoder(max_categories=2), "max_categories = 2"),
    ],
)
def test_what_a_table_cannot_say_is_refused(step: Any, message: str) -> None:
    wine = load_wine()
    fitted = step if "not fitted" in message else step.fit(wine.data[:, :2])
    with pytest.raises(SpecRefused, match=message):
        table_from_sklearn(fitted, ["alcohol", "malic_acid"])


def test_other_columns_than_those_fitted_are_refused() -> None:
    with pytest.raises(SpecRefused, match="a StandardScaler of 30 columns; expected 2"):
        table_from_sklearn(StandardScaler().fit(CANCER.data), ["a", "b"])


def test_a_written_spec_reads_back(tmp_path: Path) -> None:
    scaler = MinMaxScaler((-1, 1), clip=True).fit(CANCER.data)
    spec = Spec(
        task="tabular-classification",
        table=table_from_sklearn(scaler, NAMES, target='di\u007fagno"sis\n'),
        options={"threshold": 0.3},
        labels=("malignant", "benign ä"),
    )
    write_spec(tmp_path / "spec.toml", spec)
    assert Spec.from_toml(tmp_path / "spec.toml") == spec
