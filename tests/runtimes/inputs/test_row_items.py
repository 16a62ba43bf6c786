"""Rows named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import DataRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding
from edgekit.tasks import task_for
from edgekit_runtimes.inputs.items import Item, items_for

SPEC = Spec(
    "tabular-regression",
    (TensorSpec("x", (None, 2)),),
    (TensorSpec("y", (None, 1)),),
    table=TableEncoding((Column("a"), Column("b"))),
)


def listed(*words: str | Path) -> list[Item]:
    return list(items_for(SPEC, [str(word) for word in words]))


def test_files_give_one_item_a_row_and_words_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('b,a,note\n1,2,"two\nlines"\n3,4,\n')
    (tmp_path / "a.jsonl").write_text('{"a": 5, "b": 6}\n')
    items = listed(tmp_path / "a.csv", "a=7,b=8", tmp_path / "a.jsonl")
    assert [item.name.removeprefix(str(tmp_path)) for item in items] == [
        "/a.csv line 2", "/a.csv line 4", "a=7,b=8", "/a.jsonl line 1",
    ]  # fmt: skip
    task = task_for(SPEC)
    assert [task.encode(item.load())["x"].tolist() for item in items] == [[[2, 1]], [[4, 3]], [[7, 8]], [[5, 6]]]


def test_a_damaged_row_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n5,6\n")
    first, second, third = listed(tmp_path / "a.csv")
    assert (first.load()["a"], third.load()["a"]) == ("1", "5")
    with pytest.raises(DataRefused, match="line 3 has 1 values"):
        second.load()


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"a,c\n1,2\n", "expected also b"), (b"a,b\n\xff,1\n", "cannot be read")],
)
def test_a_file_that_cannot_be_read_is_one_item_that_says_so(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    (item,) = listed(tmp_path / "a.csv")
    with pytest.raises(DataRefused, match=message):
        item.load()
