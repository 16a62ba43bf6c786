"""Evaluation data of text tasks with offsets: tagged tokens, entities, questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.errors import DataRefused
from edgekit.spec import Spec
from edgekit_converters.data import open_dataset

TAGGER = Spec("token-classification", labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
ASKED = Spec("question-answering")


def test_tagged_tokens_become_text_and_entities(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("-DOCSTART- O\n\nAnna\tB-PER\nB.\tI-PER\nsaw\tO\nRome\tB-LOC\n\n\nRome NNP B-LOC\nParis NNP B-LOC")
    first, second = open_dataset(file, TAGGER)
    assert (first.value, first.label) == ("Anna B. saw Rome", {(0, 7, "PER"), (12, 16, "LOC")})
    assert (second.value, second.label) == ("Rome Paris", {(0, 4, "LOC"), (5, 10, "LOC")})
    assert (first.name, second.name) == ("a.conll line 3", "a.conll line 9")
    assert len(open_dataset(file, TAGGER)) == 2


@pytest.mark.parametrize(
    ("text", "message"), [("Anna\n", "line 1: Anna"), ("Anna\tB-ORG\n", "line 1: entities"), ("", "no samples")]
)
def test_wrong_tags_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.conll"
    file.write_text(text)
    with pytest.raises(DataRefused, match=message):
        list(open_dataset(file, TAGGER))


def test_entities_by_offsets(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"text": "Anna.", "entities": [{"start": 0, "end": 4, "label": "PER"}]}, {"text": "Hm."}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [item.label for item in open_dataset(file, TAGGER)] == [{(0, 4, "PER")}, None]


def test_questions_with_answers(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"question": "Who?", "context": "Rex.", "answers": ["Rex"]}, {"question": "Where?", "context": "Rex."}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(open_dataset(file, ASKED))
    assert [item.label for item in found] == [("Rex",), None]
    assert found[0].value == {"question": "Who?", "context": "Rex."}
    file.write_text('{"question": "Who?"}\n')
    with pytest.raises(DataRefused, match=r"a\.jsonl line 1"):
        list(open_dataset(file, ASKED))


def test_squad_is_read(tmp_path: Path) -> None:
    qas = [{"id": "q1", "question": "Who?", "answers": [{"text": "Rex", "answer_start": 0}]}]
    file = tmp_path / "dev.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [{"context": "Rex.", "qas": qas}]}]}))
    (item,) = open_dataset(file, ASKED)
    assert item.label == ("Rex",)
    assert item.name.endswith("dev.json question q1")
