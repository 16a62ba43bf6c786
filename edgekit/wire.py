"""How parent and child speak: a JSON header and the bytes of arrays, over pipes.

A message is the header's length (4 bytes, big endian), the header (a JSON object whose ``arrays`` lists name,
dtype and shape) and the arrays' bytes in C order. Nothing is pickled: what a crashed or hijacked child sends can
be wrong, never code.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from edgekit.engine import Array

MAX_HEADER_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")
_NUMBERS = "biufc"


class WireError(Exception):
    """The other side is gone or speaks nonsense."""


def send(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Write one message to an unbuffered stream. Raises OSError when the other side is gone."""
    parts = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    described = [[name, part.dtype.str, list(part.shape)] for name, part in parts.items()]
    text = json.dumps({**header, "arrays": described}).encode()
    _pour(stream, memoryview(_LENGTH.pack(len(text)) + text))
    for part in parts.values():
        if part.size:
            _pour(stream, part.reshape(-1).view(np.uint8).data)


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read one message.

    Returns:
        Header and arrays by name.

    Raises:
        WireError: The stream ended, or what came is no message.
    """
    (size,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if size > MAX_HEADER_BYTES:
        raise WireError(f"a header of {size} bytes")
    try:
        header = json.loads(_exactly(stream, size))
        described = [(str(name), np.dtype(dtype), tuple(shape)) for name, dtype, shape in header.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WireError(f"a damaged header: {error}") from error
    return header, {name: _receive_array(stream, dtype, shape) for name, dtype, shape in described}


def _receive_array(stream: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if dtype.kind not in _NUMBERS or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise WireError(f"an array of {dtype} and shape {shape}")
    flat = np.empty(math.prod(shape), dtype)
    if flat.size:
        _fill(stream, flat.view(np.uint8).data)
    return flat.reshape(shape)


def _pour(stream: BinaryIO, view: memoryview) -> None:
    """Write all of it: a signal, or more than 2 GiB, leaves an unbuffered write half done."""
    at = 0
    while at < len(view):
        at += stream.write(view[at:])


def _exactly(stream: BinaryIO, size: int) -> bytes:
    buffer = bytearray(size)
    _fill(stream, memoryview(buffer))
    return bytes(buffer)


def _fill(stream: BinaryIO, view: memoryview) -> None:
    """Read straight into memory: an array is never held twice."""
    at = 0
    while at < len(view):
        count = stream.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            raise WireError("the stream ended")
        at += count
