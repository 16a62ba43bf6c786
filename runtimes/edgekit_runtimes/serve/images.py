"""What `/v1/models/NAME/predict` takes: a picture or a WAV file, as the body or a form's file; other inputs as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.images import decode_image
from edgekit.tasks import Task
from edgekit.tasks.base import Streams
from edgekit_runtimes.serve.answers import Refusal
from edgekit_runtimes.serve.inference_protocol import strict_json

_FORM = "multipart/form-data"
_JSON = "application/json"


def encode_body(task: Task, body: bytes | bytearray, content_type: str, max_pixels: int) -> dict[str, Array]:
    """Turn a request's body into input tensors.

    Args:
        task: Of the bundle.
        body: The whole body.
        content_type: The header; empty without one.
        max_pixels: Largest picture decoded.

    Returns:
        Spec input name -> array with a batch of 1.

    Raises:
        DataRefused: The picture cannot be decoded or is too large, or the JSON is not what the task takes.
        Refusal: 415 when the body is of a kind that the task does not take.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if task.takes in _FROM_JSON:
        shown, item = _FROM_JSON[task.takes]
        if kind != _JSON:
            raise Refusal(415, f"a body of type {kind or 'unknown'}; expected {_JSON}: {shown}")
        content = strict_json(body)
        return task.encode(content if isinstance(task, Streams) else item(content))
    if task.takes == "sound":
        if kind == _JSON:
            raise Refusal(415, f"a body of type {_JSON}; expected a WAV file, or {_FORM} with one")
        return task.encode(bytes(_form_file(body, content_type) if kind == _FORM else body))
    if task.takes != "picture":
        raise DataRefused("a bundle that takes tensors", expected="a request to /v2/models/NAME/infer")
    if kind == _JSON:
        raise Refusal(415, f"a body of type {_JSON}; expected a picture, or {_FORM} with one")
    # Whatever the client calls it: the picture's own signature says what it is.
    picture = _form_file(body, content_type) if kind == _FORM else body
    return task.encode(decode_image(bytes(picture), "the picture", max_pixels=max_pixels))


def _sentence(content: dict[str, Any]) -> str | tuple[str, str]:
    text, pair = content.get("text"), content.get("text_pair")
    if not isinstance(text, str) or not isinstance(pair, str | None) or set(content) - {"text", "text_pair"}:
        raise DataRefused(f"JSON with {sorted(content)[:8]}", expected='{"text": …}, and "text_pair" for a second one')
    return text if pair is None else (text, pair)


def _question(content: dict[str, Any]) -> dict[str, Any]:
    if set(content) != {"question", "context"}:
        raise DataRefused(f"JSON with {sorted(content)[:8]}", expected='{"question": …, "context": …}')
    return content


_FROM_JSON: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "text": ('{"text": …}', _sentence),
    "question": ('{"question": …, "context": …}', _question),
    "row": ('{"COLUMN": VALUE, …}', dict),
}
"""What a task takes -> the body it expects, and the item that is made of it."""


def _form_file(body: bytes | bytearray, content_type: str) -> bytes:
    """Return the content of a form's only part."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise DataRefused(f"{_FORM} without a boundary", expected="a form with one file")
    parts: list[list[bytes]] = []
    ended: list[bool] = []
    callbacks: Any = {
        "on_part_begin": lambda: parts.append([]),
        "on_part_data": lambda data, start, end: parts[-1].append(data[start:end]),
        "on_end": lambda: ended.append(True),
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(bytes(body))
        parser.finalize()
    except FormParserError as error:
        raise DataRefused(f"a damaged form: {error}", expected="a form with one file") from error
    if len(parts) != 1 or not ended:
        raise DataRefused(f"a form with {len(parts)} parts", expected="a whole form with one file")
    return b"".join(parts[0])
