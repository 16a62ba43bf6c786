"""Messages between parent and child."""

from __future__ import annotations

import io
import json
import os
import struct
import threading
from typing import Any

import numpy as np
import pytest

from edgekit.engine import Array
from edgekit.wire import MAX_HEADER_BYTES, WireError, receive, send


def through_a_pipe(header: dict[str, Any], arrays: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Array]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "wb", buffering=0) as sink:
        sender = threading.Thread(target=send, args=(sink, header, arrays))
        sender.start()
        received = receive(source)
        sender.join()
    return received


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3_000_000, dtype=np.float32).reshape(3, 1000, 1000),
        np.float64(1.5) * np.ones(()),
        np.zeros((0, 4), np.int64),
        np.array([True, False]),
        np.ones((2, 3), np.float16),
        np.arange(12).reshape(3, 4).T,
        np.arange(4, dtype=">i4"),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_arrays_arrive_as_they_were(array: Array) -> None:
    header, arrays = through_a_pipe({"operation": "run"}, {"x": array, "name with été": array})
    assert header == {"operation": "run"}
    for got in arrays.values():
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got, array)
        assert got.flags.writeable


def message(header: bytes) -> io.BytesIO:
    return io.BytesIO(struct.pack(">I", len(header)) + header)


@pytest.mark.parametrize(
    "described",
    [
        [["x", "|O", [1]]],
        [["x", "<U4", [1]]],
        [["x", "nonsense", [1]]],
        [["x", "<f4", [-1]]],
        [["x", "<f4", ["1"]]],
        [["x", "<f4"]],
        "x",
        None,
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(described: object) -> None:
    with pytest.raises(WireError):
        receive(message(json.dumps({"arrays": described}).encode()))


@pytest.mark.parametrize("header", [b"not json", b"[]", b"{}", b"\xff"])
def test_damaged_headers_are_refused(header: bytes) -> None:
    with pytest.raises(WireError, match="damaged header"):
        receive(message(header))


def test_a_header_of_absurd_length_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="a header of"):
        receive(io.BytesIO(struct.pack(">I", MAX_HEADER_BYTES + 1)))


@pytest.mark.parametrize("kept", [0, 2, 10, -1])
def test_a_stream_that_ends_early_is_told(kept: int) -> None:
    whole = io.BytesIO()
    send(whole, {"operation": "run"}, {"x": np.zeros(8)})
    with pytest.raises(WireError, match="ended"):
        receive(io.BytesIO(whole.getvalue()[:kept]))
