"""The Open Inference Protocol v2 (KServe, Triton): tensors in JSON and in the binary tensor data extension.

A binary request is the JSON, whose length the header ``Inference-Header-Content-Length`` gives, followed by the
tensors' bytes in the order of the inputs, little endian, C order. Nothing is allocated for what a request merely
claims: sizes are compared with the bytes that came before an array is made.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec

HEADER_LENGTH = "Inference-Header-Content-Length"
VERSION = "1"
MAX_JSON_BYTES = 32 << 20
"""Longest JSON parsed: nested empty lists take 32 times their text in memory, binary data only their own size."""
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
_JSON_KINDS: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
_NOT_SERVED = ("sequence_id", "sequence_start", "sequence_end")
_NOT_SERVED_FOR_TENSORS = ("shared_memory_region", "classification")


@dataclass(frozen=True)
class RequestedOutput:
    """An output that a request wants.

    Attributes:
        tensor: The output.
        binary: As binary data, not as JSON.
    """

    tensor: TensorSpec
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """A request that fits the spec.

    Attributes:
        id: Echoed in the response; ``None`` without one.
        feeds: Spec input name -> array, batch first.
        outputs: What to return, in this order.
    """

    id: str | None
    feeds: dict[str, Array]
    outputs: tuple[RequestedOutput, ...]


def datatype(tensor: TensorSpec) -> str:
    """Return the protocol's name of a tensor's dtype. Raises SpecRefused where it has none."""
    if tensor.dtype not in DATATYPES:
        raise SpecRefused(f"tensor {tensor.name!r} has dtype {tensor.dtype}", expected=", ".join(DATATYPES))
    return DATATYPES[tensor.dtype]


def describe(tensors: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """Return the metadata of tensors; -1 marks a dynamic dimension."""
    return [
        {
            "name": tensor.name,
            "datatype": datatype(tensor),
            "shape": [-1 if size is None else size for size in tensor.shape],
        }
        for tensor in tensors
    ]


def strict_json(raw: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Parse a JSON object. Raises DataRefused for anything else, and for NaN and infinity, which JSON has not."""
    if len(raw) > MAX_JSON_BYTES:
        raise DataRefused(f"{len(raw)} bytes of JSON", expected=f"at most {MAX_JSON_BYTES}; send tensors in binary")
    try:
        parsed = json.loads(bytes(raw), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataRefused(f"the request is not JSON: {error}"[:300], expected="a JSON object") from error
    return _mapping(parsed, "the request")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def parse_request(body: bytes | bytearray, header_length: str | None, spec: Spec) -> InferRequest:
    """Read an inference request.

    Args:
        body: The whole body.
        header_length: Value of `HEADER_LENGTH`, if sent.
        spec: Inputs and outputs of the model.

    Raises:
        DataRefused: It does not follow the protocol or does not fit the spec.
    """
    text, binary = _split(body, header_length)
    request = strict_json(text)
    parameters = _mapping(request.get("parameters", {}), "parameters")
    _refuse_parameters(parameters, _NOT_SERVED, "the request")
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise DataRefused(f"id {_brief(request_id)}", expected="a string")
    feeds = _feeds(request.get("inputs"), spec, binary)
    outputs = _outputs(request.get("outputs"), spec, _flag(parameters, "binary_data_output", False))
    return InferRequest(request_id, feeds, outputs)


def _split(body: bytes | bytearray, header_length: str | None) -> tuple[memoryview, memoryview | None]:
    """Return the JSON and the binary data; ``None`` for the latter when the request is JSON alone."""
    view = memoryview(body)
    if header_length is None:
        return view, None
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 20):
        raise DataRefused(f"{HEADER_LENGTH} {_brief(header_length)}", expected="a number of bytes")
    length = int(header_length)
    if not 0 < length <= len(view):
        raise DataRefused(f"{HEADER_LENGTH} {length} in a body of {len(view)} bytes", expected="the length of the JSON")
    return view[:length], view[length:]


def _feeds(inputs: object, spec: Spec, binary: memoryview | None) -> dict[str, Array]:
    known = {tensor.name: tensor for tensor in spec.inputs}
    feeds: dict[str, Array] = {}
    at = 0
    for raw in _listed(inputs, "inputs"):
        tensor = _known(raw, known, "input", feeds)
        shape = _shape(raw, tensor)
        parameters = _mapping(raw.get("parameters", {}), f"parameters of input {tensor.name!r}")
        _refuse_parameters(parameters, _NOT_SERVED_FOR_TENSORS, f"input {tensor.name!r}")
        size = parameters.get("binary_data_size")
        if (size is None) == (raw.get("data") is None):
            raise DataRefused(f"input {tensor.name!r}", expected="either data or binary_data_size")
        if size is None:
            feeds[tensor.name] = _from_json(tensor, shape, raw["data"])
        else:
            feeds[tensor.name] = _from_binary(tensor, shape, size, binary, at)
            at += size
    if missing := [name for name in known if name not in feeds]:
        raise DataRefused(f"the request has no input {missing[0]!r}", expected=f"inputs {list(known)}")
    if binary is not None and at != len(binary):
        raise DataRefused(f"{len(binary)} bytes of binary data", expected=f"{at}, the sum of binary_data_size")
    _same_batch(feeds)
    return feeds


def _known(raw: object, known: Mapping[str, TensorSpec], what: str, taken: Mapping[str, object]) -> TensorSpec:
    name = _mapping(raw, what).get("name")
    if not isinstance(name, str) or name not in known:
        raise DataRefused(f"{what} {_brief(name)}", expected=f"one of {list(known)}")
    if name in taken:
        raise DataRefused(f"{what} {name!r} twice", expected="each once")
    return known[name]


def _shape(raw: Mapping[str, Any], tensor: TensorSpec) -> tuple[int, ...]:
    """Return the shape, which fits the spec; the batch may be of any size."""
    wanted = datatype(tensor)
    if raw.get("datatype") != wanted:
        raise DataRefused(f"input {tensor.name!r} has datatype {_brief(raw.get('datatype'))}", expected=wanted)
    shape = raw.get("shape")
    free = (None, *tensor.shape[1:]) if tensor.shape else ()
    fits = (
        isinstance(shape, list)
        and len(shape) == len(free)
        and all(type(size) is int and 0 < size < 1 << 31 for size in shape)
        and all(want is None or want == size for want, size in zip(free, shape, strict=True))
    )
    if not fits or not isinstance(shape, list):
        raise DataRefused(
            f"input {tensor.name!r} has shape {_brief(shape)}", expected=f"{[-1 if n is None else n for n in free]}"
        )
    return tuple(shape)


def _from_binary(tensor: TensorSpec, shape: tuple[int, ...], size: object, binary: memoryview | None, at: int) -> Array:
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    needed = math.prod(shape) * dtype.itemsize
    if type(size) is not int or size != needed:
        raise DataRefused(
            f"input {tensor.name!r} has binary_data_size {_brief(size)}",
            expected=f"{needed} for its shape and datatype",
        )
    if binary is None:
        raise DataRefused(f"input {tensor.name!r} has binary_data_size", expected=f"the header {HEADER_LENGTH}")
    part = binary[at : at + needed]
    if len(part) != needed:
        raise DataRefused(f"{len(part)} bytes are left for input {tensor.name!r}", expected=f"{needed}")
    if dtype.kind == "b":
        flags: Array = (np.frombuffer(part, np.uint8) != 0).reshape(shape)
        return flags
    # The length of the JSON moves the data to any address; engines expect an aligned one.
    return np.require(np.frombuffer(part, dtype), tensor.dtype, ["A"]).reshape(shape)


def _from_json(tensor: TensorSpec, shape: tuple[int, ...], data: object) -> Array:
    dtype = np.dtype(tensor.dtype)
    flat = _flat(tensor, shape, data)
    if not set(map(type, flat)) <= _JSON_KINDS[dtype.kind]:
        raise DataRefused(f"input {tensor.name!r} has data of another kind", expected=f"numbers of {datatype(tensor)}")
    refusal = DataRefused(f"input {tensor.name!r} has values outside {datatype(tensor)}", expected="values that fit")
    if dtype.kind in "iu" and (min(flat) < np.iinfo(dtype).min or max(flat) > np.iinfo(dtype).max):
        raise refusal
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, np.float64).astype(dtype) if dtype.kind == "f" else np.array(flat, dtype)
    except OverflowError as error:  # an integer beyond float64
        raise refusal from error
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise refusal
    return array.reshape(shape)


def _flat(tensor: TensorSpec, shape: tuple[int, ...], data: object) -> list[Any]:
    """Return the elements of a flat or nested list whose lengths are those of the shape."""
    level = _listed(data, f"data of input {tensor.name!r}")
    fits = True
    if level and type(level[0]) is list:
        fits = len(level) == shape[0]
        for size in shape[1:]:
            fits = fits and set(map(type, level)) == {list} and set(map(len, level)) == {size}
            if not fits:
                break
            level = list(chain.from_iterable(level))
    if not fits or len(level) != math.prod(shape):
        raise DataRefused(
            f"input {tensor.name!r} has data that do not make up its shape {list(shape)}",
            expected=f"{math.prod(shape)} values, flat or nested",
        )
    return level


def _same_batch(feeds: Mapping[str, Array]) -> None:
    batches = {name: len(array) for name, array in feeds.items() if array.ndim}
    if len(set(batches.values())) > 1:
        raise DataRefused(f"batches of {batches}", expected="the same size in every input")


def _outputs(raw: object, spec: Spec, binary: bool) -> tuple[RequestedOutput, ...]:
    if raw is None or raw == []:
        return tuple(RequestedOutput(tensor, binary) for tensor in spec.outputs)
    known = {tensor.name: tensor for tensor in spec.outputs}
    wanted: dict[str, RequestedOutput] = {}
    for item in _listed(raw, "outputs"):
        tensor = _known(item, known, "output", wanted)
        parameters = _mapping(item.get("parameters", {}), f"parameters of output {tensor.name!r}")
        _refuse_parameters(parameters, _NOT_SERVED_FOR_TENSORS, f"output {tensor.name!r}")
        wanted[tensor.name] = RequestedOutput(tensor, _flag(parameters, "binary_data", binary))
    return tuple(wanted.values())


def build_response(model: str, request: InferRequest, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """Write an inference response.

    Args:
        model: Name of the model.
        request: What was asked for.
        outputs: Spec output name -> array.

    Returns:
        The body, and the length of its JSON when binary data follow it.

    Raises:
        DataRefused: NaN or infinity was to be sent as JSON.
    """
    described, blocks = [], []
    for wanted in request.outputs:
        array = np.asarray(outputs[wanted.tensor.name]).astype(wanted.tensor.dtype, copy=False)
        entry: dict[str, Any] = {
            "name": wanted.tensor.name,
            "datatype": datatype(wanted.tensor),
            "shape": list(array.shape),
        }
        if wanted.binary:
            blocks.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
            entry["parameters"] = {"binary_data_size": len(blocks[-1])}
        else:
            entry["data"] = _json_data(wanted.tensor, array)
        described.append(entry)
    head: dict[str, Any] = {"model_name": model, "model_version": VERSION, "outputs": described}
    if request.id is not None:
        head = {"id": request.id, **head}
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join((text, *blocks)), len(text) if blocks else None


def _json_data(tensor: TensorSpec, array: Array) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataRefused(
            f"output {tensor.name!r} holds NaN or infinity, which JSON cannot carry", expected="binary_data: true"
        )
    values: list[Any] = array.ravel().tolist()
    return values


def _brief(value: object) -> str:
    """Show a value of any size in a message."""
    return reprlib.repr(value)


def _mapping(raw: object, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise DataRefused(f"{what} is {_brief(raw)}", expected="a JSON object")
    return raw


def _listed(raw: object, what: str) -> list[Any]:
    if not isinstance(raw, list):
        raise DataRefused(f"{what}: {_brief(raw)}", expected="a JSON array")
    return raw


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise DataRefused(f"{name} {_brief(value)}", expected="true or false")
    return value


def _refuse_parameters(parameters: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    """Refuse what would change the answer if it were heeded; other parameters are for other servers."""
    for name in names:
        if name in parameters:
            raise DataRefused(f"{where} has the parameter {name!r}", expected="a request without it: not supported")
