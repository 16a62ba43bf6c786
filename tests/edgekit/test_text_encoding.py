"""Token tensors are those of transformers' own tokenizers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit.tasks.text_embedding import TextEmbedding
from edgekit_converters.sources._hf_texts import _tokenizer_json
from tests.fixtures import hub

LENGTH = 16
TEXTS: list[str | tuple[str, str]] = [
    "the quick brown fox",
    "a",
    "A CAFÉ in São Paulo?!  doesn't\tit\nserve naïve tourists",
    "日本語のテキスト, русский текст",
    "emoji 👩‍👩‍👧 and \u200bzero width, combining e\u0301",
    "long " * 40,
    "the [SEP] <s> </s> [MASK] markers",
    ("where is the fox?", "the lazy dog"),
    ("short", "a second text that is far too long " * 4),
    ("a first text that is far too long " * 4, "short"),
    ("both are far too long " * 4, "both are far too long " * 3),
]


def folder_of(kind: str, folder: Path) -> Path:
    if kind == "unigram":
        hub.unigrams(folder)
    else:
        {"wordpiece": hub.word_pieces, "bpe": hub.byte_pairs}[kind]().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = folder_of(request.param, tmp_path_factory.mktemp("tokenizers") / request.param)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def task_of(tmp_path: Path) -> Callable[[Any], TextEmbedding]:
    """The task of a bundle whose tokenizer.json the source made."""

    def make(tokenizer: Any) -> TextEmbedding:
        content = _tokenizer_json(tokenizer)
        assert content is not None
        (tmp_path / "tokenizer.json").write_bytes(content)
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in tokenizer("a")]
        inputs = tuple(TensorSpec(name, (None, LENGTH), "int64") for name in names)
        outputs = (TensorSpec("vector", (None, 4)),)
        spec = Spec("text-embedding", inputs, outputs, text=TextEncoding("tokenizer.json", LENGTH))
        return TextEmbedding(spec, tmp_path)

    return make


def assert_equal(task: TextEmbedding, tokenizer: Any) -> None:
    for text in TEXTS:
        texts = (text,) if isinstance(text, str) else text
        expected = tokenizer(*texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="np")
        found = task.encode(text)
        assert list(found) == [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in expected]
        for name, array in found.items():
            assert np.array_equal(array, expected[name]), (text, name)


def test_tokens_are_those_of_transformers(task_of: Callable[[Any], TextEmbedding], tokenizer: Any) -> None:
    assert_equal(task_of(tokenizer), tokenizer)


@pytest.mark.parametrize("side", ["padding_side", "truncation_side"])
def test_the_sides_are_kept(task_of: Callable[[Any], TextEmbedding], tokenizer: Any, side: str) -> None:
    before = getattr(tokenizer, side)
    setattr(tokenizer, side, "left")
    try:
        task = task_of(tokenizer)
        assert_equal(task, tokenizer)
    finally:
        setattr(tokenizer, side, before)
    if side == "padding_side":
        assert task.encode("a")["attention_mask"][0, 0] == 0
