"""What `/v1/models/NAME/predict` takes for a bundle on rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgekit.errors import DataRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.table import Column, TableEncoding
from edgekit.tasks import task_for
from edgekit_runtimes.serve.answers import Refusal
from edgekit_runtimes.serve.images import encode_body

TASK = task_for(
    Spec(
        "tabular-regression",
        (TensorSpec("x", (None, 2)),),
        (TensorSpec("y", (None, 1)),),
        table=TableEncoding((Column("a"), Column("b", fill=3.0))),
    )
)


def encoded(body: bytes, kind: str = "application/json") -> list[Any]:
    found: list[Any] = encode_body(TASK, body, kind, 10**6)["x"].tolist()
    return found


def test_an_object_is_a_row() -> None:
    assert encoded(json.dumps({"b": None, "a": 1.5}).encode(), "application/json; charset=utf-8") == [[1.5, 3.0]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[1, 2]", "expected a JSON object|expected an object"),
        (b'{"a": NaN, "b": 1}', "NaN is no JSON number"),
        (b'{"a": 1}', "a row without 'b'"),
        (b'{"a": "x", "b": 1}', "'x' in column 'a'; expected a finite number"),
        (b'{"a": null, "b": 1}', "no value in column 'a'"),
        (b'{"a": [1], "b": 1}', r"\[1\] in column 'a'"),
    ],
)
def test_what_is_no_row_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        encoded(body)


def test_another_kind_of_body_gets_415() -> None:
    with pytest.raises(Refusal, match="expected application/json") as caught:
        encoded(b"a=1", "text/csv")
    assert caught.value.status == 415
