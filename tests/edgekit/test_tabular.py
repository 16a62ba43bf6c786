"""Decisions and values of rows; the metrics are scikit-learn's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score, root_mean_squared_error

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding
from edgekit.tasks import task_for
from edgekit.tasks.tabular import TabularClassification, TabularRegression
from edgekit.tasks.tabular_scores import auc

ROWS = TableEncoding((Column("a"), Column("b", mean=1.0)), target="t")


def spec(task: str, width: int = 1, *, options: Mapping[str, Any] | None = None, labels: Any = None) -> Spec:
    outputs = (TensorSpec("scores", (None, width)),)
    return Spec(task, (TensorSpec("x", (None, 2)),), outputs, table=ROWS, options=options or {}, labels=labels)


def classifier(width: int = 1, **said: Any) -> TabularClassification:
    return TabularClassification(spec("tabular-classification", width, **said))


def scores(*values: Any) -> dict[str, Any]:
    return {"scores": np.array(values, np.float32).reshape(len(values), -1)}


def test_rows_are_mappings_values_in_order_or_words() -> None:
    task = task_for(spec("tabular-classification"))
    item: Any
    for item in ({"a": 1, "b": "3", "t": 9}, [1, 3], np.array([1.0, 3.0]), "b=3,a=1"):
        assert task.encode(item)["x"].tolist() == [[1.0, 2.0]]
    for item, message in (([1], "1 values; expected 2"), (3, "3; expected a mapping"), ("a=1", "a row without 'b'")):
        with pytest.raises(DataRefused, match=message):
            task.encode(item)


def test_one_probability_decides_between_two_classes_at_the_threshold() -> None:
    task = classifier(labels=("good", "bad"), options={"threshold": 0.25})
    low, high = task.decode(scores(0.2, 0.3))
    assert [label.name for label in (*low.labels, *high.labels)] == ["good", "bad", "bad", "good"]
    assert [label.score for label in (*low.labels, *high.labels)] == pytest.approx([0.8, 0.2, 0.3, 0.7])


def test_logits_become_probabilities() -> None:
    task = classifier(options={"logits": True})
    best = task.decode(scores(-2.0, 2.0, 800.0))
    expected = [1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(-2.0)), 1.0]
    assert [result.best.index for result in best] == [0, 1, 1]
    assert [result.best.score for result in best] == pytest.approx(expected)


def test_more_classes_are_ordered_by_probability() -> None:
    (result,) = classifier(3, labels=("x", "y", "z")).decode(scores([0.2, 0.7, 0.1]))
    assert [label.name for label in result.labels] == ["y", "x", "z"]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("task", ["tabular-classification", "tabular-regression"])
def test_outputs_that_are_not_finite_are_refused(task: str, wrong: float) -> None:
    with pytest.raises(DataRefused, match="output 'scores' holds NaN or infinity"):
        task_for(spec(task)).decode(scores(0.1, wrong))


def test_a_logit_taken_for_a_probability_is_refused() -> None:
    with pytest.raises(DataRefused, match="logits = true"):
        classifier().decode(scores(3.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"threshold": 1.0}}, "options.threshold = 1.0; expected between 0 and 1"),
        ({"options": {"logits": 1}}, "options.logits = 1; expected true or false"),
        ({"options": {"cut": 1}}, "unknown key 'cut'"),
        ({"width": 3, "options": {"threshold": 0.3}}, "options.threshold for 3 classes"),
        ({"width": 3, "labels": ("a", "b")}, "2 labels for output 'scores'"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        classifier(**changes)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"table": None}, "tabular-regression without a table"),
        ({"inputs": (TensorSpec("x", (None, 3)),)}, r"2 features for input 'x' of shape \[None, 3\]; expected 3"),
        ({"inputs": (TensorSpec("x", (None, 1, 2)),)}, r"expected \(batch, features\)"),
        ({"inputs": (TensorSpec("x", (None, 2)), TensorSpec("y", (None, 2)))}, "column 'a' goes to input None"),
        ({"outputs": (TensorSpec("y", (None, 2)),)}, "expected one value a row"),
        ({"options": {"std": 0}}, "options.std = 0"),
        ({"options": {"mean": "x"}}, "options.mean = 'x'; expected a finite number"),
        ({"options": {"unit": 3}}, "options.unit = 3; expected text"),
    ],
)
def test_wrong_specs_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        task_for(spec("tabular-regression").replace(**said))


def test_values_have_the_scaling_of_the_target_undone() -> None:
    task = TabularRegression(spec("tabular-regression", options={"mean": 100.0, "std": 20.0, "unit": "km/h"}))
    (value,) = task.decode(scores(-0.5))
    assert (value.to_dict(), str(value)) == ({"value": 90.0, "unit": "km/h"}, "90 km/h")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_is_scikit_learns_with_ties(pairs: list[tuple[bool, int]]) -> None:
    truths, given = np.array(pairs, int).T
    if len(set(truths.tolist())) == 1:
        assert math.isnan(auc(truths, given))
    else:
        assert auc(truths, given) == pytest.approx(roc_auc_score(truths, given))


def test_auc_of_a_real_model_with_its_interval() -> None:
    data = load_breast_cancer()
    inputs = data.data[:, :3]
    good = LogisticRegression(max_iter=2000).fit(inputs[:300], data.target[:300]).predict_proba(inputs[300:])[:, 1]
    coarse = np.round(good * 6) / 6
    scorer = classifier().scorer()
    assert scorer is not None
    truths = data.target[300:].tolist()
    for start in range(0, len(good), 50):
        part = slice(start, start + 50)
        scorer.update(scores(*good[part]), scores(*coarse[part]), truths[part])
    original, artifact = scorer.metrics() or (None, None)
    agreement = scorer.agreement()
    assert original
    assert artifact
    assert agreement
    assert (original.name, original.total) == ("AUC", len(good))
    assert original.value == pytest.approx(roc_auc_score(truths, good))
    assert artifact.value == pytest.approx(roc_auc_score(truths, coarse))
    assert agreement.value == pytest.approx(np.mean((good >= 0.5) == (coarse >= 0.5)))
    low, high = original.interval()
    # DeLong's standard error of an AUC near this one is about 0.012 on 269 rows.
    assert low < original.value < high
    assert 0.01 < high - low < 0.1


def test_accuracy_for_more_classes_and_for_what_has_no_answer() -> None:
    scorer = classifier(3).scorer()
    assert scorer is not None
    want = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    truths = [0, 1, 2, 0]
    scorer.update({"scores": want}, {"scores": want[::-1]}, truths)
    scorer.update({"scores": want[:1]}, {"scores": np.full((1, 3), np.nan, np.float32)}, [0])
    original, artifact = scorer.metrics() or (None, None)
    agreement = scorer.agreement()
    assert original
    assert artifact
    assert agreement
    assert original.value == accuracy_score([*truths, 0], [0, 1, 2, 2, 0])
    assert artifact.value == accuracy_score([*truths, 0], [2, 2, 1, 0, -1])
    assert agreement.value == 0.0


def test_root_mean_square_error_and_r2_of_a_real_model() -> None:
    data = load_diabetes()
    want = Ridge().fit(data.data[:300], data.target[:300]).predict(data.data[300:]).astype(np.float32)
    got = want + np.random.default_rng(0).normal(0, 10, len(want)).astype(np.float32)
    scorer = TabularRegression(spec("tabular-regression")).scorer()
    scorer.update(scores(*want), scores(*got), data.target[300:].tolist())
    original, artifact = scorer.metrics() or (None, None)
    agreement = scorer.agreement()
    assert original
    assert artifact
    assert agreement
    assert (original.share, original.higher_is_better) == (False, False)
    assert original.value == pytest.approx(root_mean_squared_error(data.target[300:], want))
    assert artifact.value == pytest.approx(root_mean_squared_error(data.target[300:], got))
    assert agreement.value == pytest.approx(r2_score(want, got), abs=1e-6)
    assert original.interval()[0] < original.value < original.interval()[1]


def test_without_truths_there_is_no_metric_and_without_spread_no_agreement() -> None:
    scorer = TabularRegression(spec("tabular-regression")).scorer()
    scorer.update(scores(1.0, 1.0), scores(1.0, 2.0))
    assert (scorer.metrics(), scorer.agreement()) == (None, None)


@pytest.mark.parametrize(("raw", "expected"), [("bad", 1), ("0", 0), (1, 1), (None, None), ("", None)])
def test_truths_are_classes_by_name_or_number(raw: Any, expected: int | None) -> None:
    said = spec("tabular-classification", labels=("good", "bad"))
    assert TabularClassification.truth(said, raw, "row 1") == expected


def test_truths_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataRefused, match="row 1: class '2'; expected 0 or 1"):
        TabularClassification.truth(spec("tabular-classification"), "2", "row 1")
    for raw in ("much", "nan", True):
        with pytest.raises(DataRefused, match=r"row 1: target .*expected a finite number"):
            TabularRegression.truth(spec("tabular-regression"), raw, "row 1")
    assert TabularRegression.truth(spec("tabular-regression"), "1.5", "row 1") == 1.5
