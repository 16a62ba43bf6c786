"""Tokens back to text, piece by piece."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.tasks.text_stream import Detokenizer, StopStrings
from tests.fixtures import tiny_causal_lm


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_causal_lm.tokenizer()


TOKENIZER = tiny_causal_lm.tokenizer()


def pieces_of(tokenizer: Any, prompt: list[int], ids: list[int]) -> list[str]:
    stream = Detokenizer(tokenizer, prompt)
    return [*(stream.add(token) for token in ids), stream.end()]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_pieces_are_the_text_and_never_half_a_character(text: str) -> None:
    pieces = pieces_of(TOKENIZER, TOKENIZER.encode("Well: ").ids, TOKENIZER.encode(text).ids)
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(1, 299), max_size=30))
def test_any_tokens_at_all_are_text_in_bounded_pieces(ids: list[int]) -> None:
    stream, waiting = Detokenizer(TOKENIZER, []), 0
    for token in ids:
        waiting = 0 if stream.add(token) else waiting + 1
        assert waiting <= 4
    stream.end()


def test_a_character_of_several_tokens_comes_whole(tokenizer: Any) -> None:
    ids = tokenizer.encode("a🤖b").ids
    assert len(ids) > 3
    assert [piece for piece in pieces_of(tokenizer, [], ids) if piece] == ["a", "🤖", "b"]


def test_a_character_that_never_ends_is_given_at_the_end(tokenizer: Any) -> None:
    assert pieces_of(tokenizer, [], tokenizer.encode("🤖").ids[:2])[-1] == "\ufffd"


def test_special_tokens_are_no_text(tokenizer: Any) -> None:
    end = tokenizer.token_to_id(tiny_causal_lm.END)
    assert "".join(pieces_of(tokenizer, [], [*tokenizer.encode("a").ids, end, *tokenizer.encode("b").ids])) == "ab"


def test_spaces_before_words_are_kept_by_sentencepiece_like_decoders() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"▁the": 0, "▁cat": 1, "▁sat": 2}, unk_token="▁the"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    assert pieces_of(made, [0], [1, 2]) == [" cat", " sat", ""]


@given(
    st.lists(st.text("abc", max_size=3), max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_text_ends_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    whole, shown, holder = "", "", StopStrings(stops)
    for piece in pieces:
        whole += piece
        shown += holder.add(piece)
        places = [whole.find(stop) for stop in stops if stop in whole]
        if places:
            assert holder.found
            assert shown == whole[: min(places)]
            return
        assert not holder.found
        assert whole.startswith(shown)
    assert shown + holder.end() == whole


def test_only_what_may_be_a_stop_string_is_held_back() -> None:
    holder = StopStrings(["\n\n", "END"])
    assert holder.add("one\n") == "one"
    assert holder.add("two E") == "\ntwo "
    assert holder.add("gal") == "Egal"
