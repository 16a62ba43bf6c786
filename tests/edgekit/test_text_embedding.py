"""Text embeddings: pooling, length, scoring and bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tokenizers import Tokenizer, models, pre_tokenizers

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Estimate, Proportion
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks.text_embedding import Embedding, TextEmbedding, TokenMask

TOKENS, SIZE = 6, 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def spec(*, states: bool = True, **options: Any) -> Spec:
    names = ("input_ids", "attention_mask")
    shape = (None, TOKENS, SIZE) if states else (None, SIZE)
    return Spec(
        "text-embedding",
        inputs=tuple(TensorSpec(name, (None, TOKENS), "int64") for name in names),
        outputs=(TensorSpec("other", (None, 1)), TensorSpec("vectors", shape)),
        text=TextEncoding("tokenizer.json"),
        options={"output": "vectors", **options},
    )


def masks(lengths: list[int]) -> list[TokenMask]:
    return [TokenMask((np.arange(TOKENS) < length).astype(np.float32)) for length in lengths]


def sentence_transformers_mean(states: Array, mask: Array) -> Array:
    """Mean pooling and normalization as sentence-transformers' model cards write them out, in torch."""
    embeddings, attention = torch.from_numpy(states), torch.from_numpy(mask)
    expanded = attention.unsqueeze(-1).expand(embeddings.size()).float()
    pooled = torch.sum(embeddings * expanded, 1) / torch.clamp(expanded.sum(1), min=1e-9)
    normal: Array = torch.nn.functional.normalize(pooled, p=2, dim=1).numpy()
    return normal


@given(
    states=arrays(np.float32, (3, TOKENS, SIZE), elements=st.floats(-9, 9, width=16)),
    lengths=st.lists(st.integers(1, TOKENS), min_size=3, max_size=3),
)
def test_mean_pooling_is_sentence_transformers_formula(root: Path, states: Array, lengths: list[int]) -> None:
    task = TextEmbedding(spec(pooling="mean", normalize=True), root)
    contexts = masks(lengths)
    found = task.decode({"vectors": states}, contexts)
    expected = sentence_transformers_mean(states, np.stack([one.mask for one in contexts]))
    assert np.allclose([one.vector for one in found], expected, atol=2e-5)


def test_padding_has_no_part_in_the_mean(root: Path) -> None:
    states = np.ones((1, TOKENS, SIZE), np.float32)
    states[:, 2:] = 1000
    (found,) = TextEmbedding(spec(pooling="mean"), root).decode({"vectors": states}, masks([2]))
    assert found.vector.tolist() == [1.0] * SIZE


def test_cls_takes_the_first_token_and_no_mask(root: Path) -> None:
    states = np.arange(2 * TOKENS * SIZE, dtype=np.float32).reshape(2, TOKENS, SIZE)
    task = TextEmbedding(spec(pooling="cls"), root)
    assert not task.needs_context
    assert [one.vector.tolist() for one in task.decode({"vectors": states})] == states[:, 0].tolist()


def test_a_model_that_pools_is_only_scaled(root: Path) -> None:
    vectors = np.array([[3, 0, 4, 0, 0], [0, 0, 0, 0, 0]], np.float32)
    first, zero = TextEmbedding(spec(states=False, normalize=True), root).decode({"vectors": vectors})
    assert np.allclose(first.vector, [0.6, 0, 0.8, 0, 0])
    assert zero.vector.tolist() == [0] * SIZE
    (plain, _) = TextEmbedding(spec(states=False), root).decode({"vectors": vectors})
    assert plain.vector.tolist() == [3, 0, 4, 0, 0]


def test_encode_carries_the_mask(root: Path) -> None:
    encoded = TextEmbedding(spec(pooling="mean"), root).encode("red green blue")
    assert encoded["input_ids"].tolist() == [[2, 3, 1, 0, 0, 0]]
    assert encoded["input_ids"].dtype == np.int64
    assert encoded.context.mask.tolist() == [1, 1, 1, 0, 0, 0]


def test_answer_hands_the_masks_to_decode(root: Path) -> None:
    task = TextEmbedding(spec(pooling="mean"), root)

    def run(feeds: Any) -> dict[str, Array]:
        ids = feeds["input_ids"].astype(np.float32)
        return {"vectors": np.repeat(ids[:, :, None] + 7 * (ids[:, :, None] == 0), SIZE, axis=2)}

    found = task.answer(run, [task.encode("red"), task.encode("red green")])
    assert [one.vector[0] for one in found] == [2.0, 2.5]


@pytest.mark.parametrize("item", ["", " \n ", "x" * 10_000_001, "\ud800", 7, ("a", "b", "c"), ("a", "")])
def test_what_is_no_text_is_refused(root: Path, item: Any) -> None:
    with pytest.raises(DataRefused, match="expected"):
        TextEmbedding(spec(pooling="mean"), root).encode(item)


def test_a_long_text_is_cut(root: Path) -> None:
    encoded = TextEmbedding(spec(pooling="mean"), root).encode("red " * 200_000)
    assert encoded["input_ids"].tolist() == [[2] * TOKENS]


def test_numbers_that_are_none_are_refused(root: Path) -> None:
    task = TextEmbedding(spec(states=False), root)
    with pytest.raises(DataRefused, match="'vectors' holds NaN or infinity"):
        task.decode({"vectors": np.array([[0, math.nan, 0, 0, 0]], np.float32)})


def test_mean_needs_a_mask_for_each(root: Path) -> None:
    task = TextEmbedding(spec(pooling="mean"), root)
    assert task.needs_context
    for contexts in (None, [None, None], masks([1])):
        with pytest.raises(DataRefused, match=r"attention masks for 2 texts"):
            task.decode({"vectors": np.zeros((2, TOKENS, SIZE), np.float32)}, contexts)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (spec(), "pooling 'none' for output 'vectors'"),
        (spec(states=False, pooling="mean"), "pooling 'mean' for output 'vectors'"),
        (spec(pooling="max"), "options.pooling = 'max'; expected none or mean or cls"),
        (spec(normalize="yes"), "options.normalize = 'yes'"),
        (spec(output="states"), "options.output = 'states'; expected other or vectors"),
        (spec(pooling="mean").replace(text=None), "no tokenizer"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(root: Path, made: Spec, message: str) -> None:
    with pytest.raises(SpecRefused, match=message):
        TextEmbedding(made, root)


def test_the_result_in_words_and_json() -> None:
    result = Embedding(np.array([0.6, 0.8, 0, 0, 0], np.float32))
    assert str(result) == "5 numbers, length 1: 0.6000 0.8000 0.0000 0.0000 …"
    assert json.loads(json.dumps(result.to_dict()))["vector"] == pytest.approx([0.6, 0.8, 0, 0, 0])
    assert result.cosine(Embedding(np.array([0, 2, 0, 0, 0], np.float32))) == pytest.approx(0.8)


def test_agreement_is_the_mean_cosine(root: Path) -> None:
    scorer = TextEmbedding(spec(states=False), root).scorer()
    want = np.array([[1, 0, 0, 0, 0], [0, 2, 0, 0, 0]], np.float32)
    got = np.array([[2, 0, 0, 0, 0], [0, 1, 1, 0, 0]], np.float32)
    scorer.update({"vectors": want}, {"vectors": got})
    agreement = scorer.agreement()
    assert isinstance(agreement, Estimate)
    assert agreement.name == "cosine"
    assert agreement.value == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert scorer.metrics() is None


def test_with_labels_the_nearest_other_text_is_compared(root: Path) -> None:
    scorer = TextEmbedding(spec(states=False), root).scorer()
    want = np.eye(SIZE, dtype=np.float32)[[0, 0, 1, 1]] + np.float32(0.01)
    got = want.copy()
    got[3] = want[0]  # the artifact takes the last for one of the others
    for row, label in enumerate("aabb"):
        scorer.update({"vectors": want[row : row + 1]}, {"vectors": got[row : row + 1]}, [label])
    original, artifact = scorer.metrics() or (None, None)
    assert original == Proportion(4, 4, "nearest-neighbour accuracy")
    assert artifact == Proportion(2, 4, "nearest-neighbour accuracy")


def test_an_artifact_without_numbers_agrees_by_nothing(root: Path) -> None:
    scorer = TextEmbedding(spec(states=False), root).scorer()
    want = np.ones((2, SIZE), np.float32)
    scorer.update({"vectors": want}, {"vectors": want * math.nan}, ["a", "a"])
    agreement = scorer.agreement()
    assert agreement is not None
    assert agreement.value == 0.0
    assert scorer.metrics() == (
        Proportion(2, 2, "nearest-neighbour accuracy"),
        Proportion(0, 2, "nearest-neighbour accuracy"),
    )


def test_labels_are_names_not_numbers() -> None:
    assert TextEmbedding.truth(spec(), "Sports", "line 1") == "Sports"
    assert TextEmbedding.truth(spec(), "", "line 1") is None
