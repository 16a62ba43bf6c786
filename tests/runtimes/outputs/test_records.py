"""Tables, JSON lines and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgekit.errors import DataRefused
from edgekit.tasks.tensors import Arrays
from edgekit_runtimes.outputs.records import FORMATS, Csv, JsonLines, Table, records_for
from edgekit_runtimes.outputs.sink import Answer

AnswerMaker = Callable[..., Answer]


def rows(stream: io.StringIO) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_a_table_has_live_columns_for_live_answers_alone(make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    table = Table(stream, 12)
    table.answer(make_answer())
    table.answer(make_answer("camera:0", age=0.0342, rate=29.96))
    assert stream.getvalue().splitlines() == [
        "a.jpg         cat 75.0 %, dog 25.0 %",
        "camera:0         34 ms   30.0/s  cat 75.0 %, dog 25.0 %",
    ]


def test_json_lines_carry_what_live_answers_have(make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.answer(make_answer("a.jpg"))
    lines.answer(make_answer("camera:0", captured=1000.5, age=0.03, rate=30.0, dropped=4))
    lines.failure("b.jpg", DataRefused("b.jpg is empty"))
    still, live, failed = map(json.loads, stream.getvalue().splitlines())
    assert set(still) == {"input", "result"}
    assert {key: live[key] for key in ("captured", "age", "rate", "dropped")} == {
        "captured": 1000.5,
        "age": 0.03,
        "rate": 30.0,
        "dropped": 4,
    }
    assert failed == {"input": "b.jpg", "error": "b.jpg is empty"}


def test_csv_of_classes_is_quoted_and_has_one_header(make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    with Csv(stream) as records:
        records.failure("first.jpg", DataRefused("first.jpg is empty"))
        records.answer(make_answer('a, "b".jpg', 'cat,\n"wild"'))
        records.answer(make_answer("c.jpg", score=0.5))
        records.failure("bad.jpg", DataRefused("no picture"))
    assert stream.getvalue().splitlines()[0] == "input,label_1,score_1,label_2,score_2,error"
    failed, first, second, bad = rows(stream)
    assert (first["input"], first["label_1"], first["score_1"]) == ('a, "b".jpg', 'cat,\n"wild"', "0.75")
    assert (second["label_1"], second["score_2"], second["error"]) == ("cat", "0.5", "")
    assert (failed["input"], failed["error"]) == ("first.jpg", "first.jpg is empty")
    assert (bad["label_1"], bad["error"]) == ("", "no picture")


def test_csv_of_live_answers_has_their_columns(make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    Csv(stream).answer(make_answer(captured=5.0, age=0.5, rate=2.0, dropped=1))
    (row,) = rows(stream)
    assert (row["captured"], row["age"], row["rate"], row["dropped"]) == ("5.0", "0.5", "2.0", "1")


def test_csv_of_other_results_is_flat() -> None:
    class Boxes:
        def to_dict(self) -> dict[str, object]:
            return {"boxes": [[1, 2]], "image": {"width": 5, "name": "x"}}

    stream = io.StringIO()
    records = Csv(stream)
    records.answer(Answer("a", Boxes()))
    assert rows(stream) == [{"input": "a", "boxes": "[[1, 2]]", "image.width": "5", "image.name": "x", "error": ""}]


def test_csv_refuses_a_result_with_columns_of_its_own(make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    records = Csv(stream)
    records.answer(make_answer())
    with pytest.raises(DataRefused, match=r"z\.npz: the result has x, which the first result had not"):
        records.answer(Answer("z.npz", Arrays({"x": np.zeros(1)})))
    assert len(rows(stream)) == 1


@pytest.mark.parametrize("kind", [name for name in FORMATS if name != "table"])
def test_no_form_hides_a_number_that_is_none(kind: str, make_answer: AnswerMaker) -> None:
    stream = io.StringIO()
    records = records_for(kind, stream, 0)
    answer = make_answer(score=float("nan"))
    for bad in (answer, replace(answer, result=Arrays({"x": np.array([np.inf])}))):
        with pytest.raises(DataRefused, match="NaN or infinity"):
            records.answer(bad)


def test_failures_alone_are_written_at_the_end() -> None:
    stream = io.StringIO()
    with Csv(stream) as records:
        records.failure("a", DataRefused("broken"))
    assert rows(stream) == [{"input": "a", "error": "broken"}]
