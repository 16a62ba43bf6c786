"""Rankings: what was seen is left out, and NDCG is scikit-learn's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding
from edgekit.tasks.ranking import Ranking, ndcg, recall

ITEMS = tuple(f"film {number}" for number in range(12))
USER = Column("user", "categorical", vocabulary=("7", "8", "9"), encoding="index")
SPEC = Spec(
    "ranking",
    (TensorSpec("user", (None, 1), "int32"),),
    (TensorSpec("scores", (None, 12)),),
    table=TableEncoding((USER,), target="film"),
    options={"seen_file": "seen.json", "top_n": 3},
    labels=ITEMS,
)
SCORES = np.arange(12, dtype=np.float32)[None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "seen.json").write_text(json.dumps({"7": [ITEMS[11], ITEMS[9]], "9": list(ITEMS)}))
    return tmp_path


def named(task: Ranking, user: Any, scores: Any = SCORES) -> list[str]:
    (result,) = task.decode({"scores": scores}, [user])
    return [item.name for item in result.items]


def test_the_best_unseen_items_come_first(root: Path) -> None:
    task = Ranking(SPEC, root)
    assert named(task, "7") == ["film 10", "film 8", "film 7"]
    assert named(task, "8") == ["film 11", "film 10", "film 9"]
    assert named(task, None) == ["film 11", "film 10", "film 9"]


def test_who_has_seen_everything_gets_nothing(root: Path) -> None:
    (result,) = Ranking(SPEC, root).decode({"scores": SCORES}, ["9"])
    assert (result.items, result.to_dict(), str(result)) == ((), {"items": []}, "nothing that was not seen")


def test_of_equal_scores_the_first_items_are_taken(root: Path) -> None:
    assert named(Ranking(SPEC, root), "8", np.ones((1, 12), np.float32)) == list(ITEMS[:3])


def test_the_models_outputs_are_not_changed(root: Path) -> None:
    outputs = {"scores": SCORES.copy()}
    Ranking(SPEC, root).decode(outputs, ["7"])
    np.testing.assert_array_equal(outputs["scores"], SCORES)


@given(st.integers(0, 2**32 - 1), st.integers(1, 15))
def test_the_order_is_that_of_a_full_sort(seed: int, count: int) -> None:
    task = Ranking(SPEC.replace(options={"top_n": count}))
    scores = np.random.default_rng(seed).integers(0, 6, (1, 12)).astype(np.float32)
    expected = sorted(range(12), key=lambda i: (-scores[0, i], i))[:count]
    assert named(task, "8", scores) == [ITEMS[i] for i in expected]


def test_items_are_users_rows_or_words(root: Path) -> None:
    task = Ranking(SPEC, root)
    for item in (8, "8", np.int64(8), "user=8", {"user": 8, "film": "x"}, {"user": 8.0}):
        feeds = task.encode(item)
        assert (feeds["user"].tolist(), getattr(feeds, "context", None)) == ([[1]], "8")
    with pytest.raises(DataRefused, match="'nobody' in column 'user'; expected one of '7', '8', '9'"):
        task.encode("nobody")


def test_a_user_may_be_told_beside_the_columns_that_the_model_takes(root: Path) -> None:
    spec = SPEC.replace(inputs=(TensorSpec("x", (None, 1)),), table=TableEncoding((Column("age"),)))
    feeds = Ranking(spec, root).encode({"user": "7", "age": 3})
    assert (feeds["x"].tolist(), getattr(feeds, "context", None)) == ([[3.0]], "7")
    with pytest.raises(DataRefused, match="a row that says no user; expected a value in column 'user'"):
        Ranking(spec, root).encode({"age": 3})


def test_embeddings_are_multiplied_with_the_items(root: Path) -> None:
    table = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.save(root / "items.npy", table)
    spec = SPEC.replace(outputs=(TensorSpec("taste", (None, 4)),), options={"items_file": "items.npy", "top_n": 12})
    taste = np.array([[1.0, -2.0, 0.5, 3.0]], np.float32)
    (result,) = Ranking(spec, root).decode({"taste": taste}, ["7"])
    expected = (table @ taste[0]).tolist()
    assert [item.index for item in result.items] == sorted(range(12), key=lambda i: -expected[i])
    assert result.items[0].score == pytest.approx(max(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_n": 0}, "options.top_n = 0; expected 1 or more"),
        ({"user": 3}, "options.user = 3; expected text"),
        ({"items_file": "items.npy"}, "holds .* numbers; expected .12, size"),
        ({"items_file": "none.npy"}, "none.npy cannot be read"),
        ({"items_file": "small.npy"}, r"output 'scores' of shape \[None, 12\] for 12 items; expected \(batch, 4\)"),
    ],
)
def test_wrong_options_are_refused(root: Path, options: dict[str, Any], message: str) -> None:
    np.save(root / "items.npy", np.zeros((3, 12), np.float32))
    np.save(root / "small.npy", np.zeros((12, 4), np.float32))
    with pytest.raises(SpecRefused, match=message):
        Ranking(SPEC.replace(options=options), root)


def test_a_model_of_other_items_is_refused(root: Path) -> None:
    with pytest.raises(SpecRefused, match="ranking without labels"):
        Ranking(SPEC.replace(labels=None), root)
    with pytest.raises(SpecRefused, match="for 2 items; expected"):
        Ranking(SPEC.replace(labels=("a", "b")), root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot be read"),
        ("[1]", "is no table of users"),
        ('{"7": 3}', "is no table of users"),
        ('{"7": ["film 99"]}', "names the item 'film 99'; expected items of the labels"),
    ],
)
def test_a_wrong_file_of_seen_items_is_refused(root: Path, text: str, message: str) -> None:
    (root / "seen.json").write_text(text)
    with pytest.raises(SpecRefused, match=message):
        Ranking(SPEC, root).decode({"scores": SCORES}, ["7"])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(root: Path, wrong: float) -> None:
    with pytest.raises(DataRefused, match="holds NaN or infinity"):
        Ranking(SPEC, root).decode({"scores": np.full((1, 12), wrong, np.float32)}, ["7"])


@given(st.sets(st.integers(0, 29), min_size=1), st.integers(0, 2**32 - 1))
def test_ndcg_is_scikit_learns(relevant: set[int], seed: int) -> None:
    scores = np.random.default_rng(seed).permutation(30).astype(float)
    truth = np.isin(np.arange(30), list(relevant)).astype(float)
    ranked = np.argsort(-scores).tolist()
    assert ndcg(ranked, frozenset(relevant)) == pytest.approx(ndcg_score([truth], [scores], k=10))


def test_recall_counts_the_right_ones_among_the_first() -> None:
    assert recall([4, 1, 7, 2], frozenset({1, 2, 9}), 3) == pytest.approx(1 / 3)


def test_truths_are_items_by_name() -> None:
    for raw in ("film 3|film 5", ["film 5", "film 3"]):
        assert Ranking.truth(SPEC, raw, "row 1") == frozenset({3, 5})
    assert Ranking.truth(SPEC, "", "row 1") is None
    assert Ranking.truth(SPEC.replace(labels=("318", "50")), 50.0, "row 1") == frozenset({1})
    with pytest.raises(DataRefused, match="row 1: item 'film 77'; expected the name of an item"):
        Ranking.truth(SPEC, "film 77", "row 1")


def test_the_scorer_compares_and_measures_the_first_ten(root: Path) -> None:
    scorer = Ranking(SPEC.replace(options={}), root).scorer()
    other = SCORES.copy()
    other[0, 0] = 100.0  # pushes the tenth, film 2, out
    scorer.update({"scores": SCORES}, {"scores": other}, [frozenset({11})], ["7"])
    scorer.update({"scores": SCORES}, {"scores": np.full((1, 12), np.nan)}, [frozenset({11})], ["7"])
    original, artifact = scorer.metrics() or (None, None)
    agreement = scorer.agreement()
    assert original
    assert artifact
    assert agreement
    assert (original.name, original.value) == ("NDCG@10", 1.0)
    assert artifact.value == pytest.approx((1 / math.log2(3) + 0) / 2)
    assert agreement.value == pytest.approx((0.9 + 0.0) / 2)
    assert Ranking(SPEC, root).scorer().metrics() is None
