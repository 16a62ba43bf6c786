"""Rows of CSV and JSON-lines files, as people and spreadsheets write them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataRefused
from edgekit.rows import json_object, read_rows, row_of_words


def values(path: Path, *columns: str) -> list[dict[str, str]]:
    return [row.load() for row in read_rows(path, columns)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_marks_and_quoted_line_breaks(tmp_path: Path, delimiter: str, mark: str) -> None:
    text = f'{mark}name{delimiter} age\r\n"a{delimiter} b\nc"{delimiter}3\r\n\r\n"say ""x"""{delimiter}\r\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    rows = list(read_rows(tmp_path / "a.csv", ["name", "age"]))
    assert [row.load() for row in rows] == [{"name": f"a{delimiter} b\nc", "age": "3"}, {"name": 'say "x"', "age": ""}]
    assert [row.where.rpartition("a.csv ")[2] for row in rows] == ["line 2", "line 5"]


def test_a_row_of_another_length_is_damaged_and_the_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n4,5,6\n7,8\n")
    rows = list(read_rows(tmp_path / "a.csv", ["a"]))
    assert [row.damage is None for row in rows] == [True, False, False, True]
    with pytest.raises(DataRefused, match=r"a\.csv line 3 has 1 values; expected 2, as the header"):
        rows[1].load()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; expected a header with a, b"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (b"a,c\n1,2\n", "has the columns a, c; expected also b"),
        (b"a;c\n1;2\n", "has the columns a, c; expected also b"),
        (b"a,b,b\n1,2,3\n", "names the column 'b' twice"),
        (b"a,b\n\xff,2\n", "cannot be read: .*utf-8"),
        (b'a,b\n"1,2\n', "is no CSV: unexpected end of data"),
        (b'a,b\n"1"2,3\n', "is no CSV"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(DataRefused, match=message):
        values(tmp_path / "a.csv", "a", "b")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"none\.csv cannot be read"):
        values(tmp_path / "none.csv", "a")


def test_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\ufeff{"a": 1, "b": null}\n\n[1]\n{"a"\n{"a": "x"}\n', encoding="utf-8")
    rows = list(read_rows(tmp_path / "a.jsonl", ["a", "b"]))
    assert [row.load() for row in (rows[0], rows[3])] == [{"a": 1, "b": None}, {"a": "x"}]
    for row, line in ((rows[1], 3), (rows[2], 4)):
        with pytest.raises(DataRefused, match=rf"line {line}: .*expected a JSON object a line"):
            row.load()


@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])), min_size=2,
       max_size=2), min_size=1))  # fmt: skip
def test_what_the_csv_module_writes_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["a", "b"], *rows])
    assert values(path, "a", "b") == [dict(zip("ab", row, strict=True)) for row in rows]


def test_a_row_as_a_person_types_it() -> None:
    assert row_of_words("age=3, height = 1.8") == {"age": "3", "height": " 1.8"}
    assert row_of_words('purpose=car,"job=cook, baker",when=... >= 7 years') == {
        "purpose": "car",
        "job": "cook, baker",
        "when": "... >= 7 years",
    }


@pytest.mark.parametrize("text", ["", "hello", "a=1,b", "=3", "a=1,a=2", '"a=1', "a=1\nb=2"])
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(DataRefused, match="or one row as name=value"):
        row_of_words(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "x.jsonl line 3: .*expected a JSON object a line"),
        ("[1]", r"x.jsonl line 3: \[1\]; expected an example"),
        ('{"text": 1}', "expected an example"),
        ('{"file": "a"}', "expected an example"),
    ],
)
def test_a_line_without_the_text_that_is_wanted_is_refused(line: str, said: str) -> None:
    with pytest.raises(DataRefused, match=said):
        json_object(line, "x.jsonl line 3", "text", "an example")


def test_a_line_with_the_text_is_read() -> None:
    assert json_object('{"text": "a", "label": 1}', "x", "text", "an example") == {"text": "a", "label": 1}
