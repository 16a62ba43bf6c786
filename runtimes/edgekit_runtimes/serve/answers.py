"""What goes back over HTTP, and how a request's body is read within its limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import DataRefused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CLIENT_GONE = 499
"""What metrics call a request whose client hung up; nobody receives it."""
_LINGER_BYTES = 8 << 20
_LINGER_SECONDS = 1.0


class Refusal(Exception):
    """A request that gets an error.

    Args:
        status: HTTP status.
        message: For the client.
        reason: What metrics call it, for requests that were turned away because of a limit.
        headers: To be sent along.
    """

    def __init__(
        self, status: int, message: str, *, reason: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.message = message
        self.reason = reason
        self.headers = dict(headers or {})
        super().__init__(message)


@dataclass(frozen=True)
class Answer:
    """A response; an ASGI application.

    Attributes:
        status: HTTP status.
        body: The whole body.
        media_type: Its type.
        headers: More headers.
        hang_up: Close the connection, for a request whose body is not wanted.
    """

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    hang_up: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [("content-type", self.media_type), ("content-length", str(len(self.body))), *self.headers]
        if self.hang_up:
            headers.append(("connection", "close"))
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": self.body, "more_body": self.hang_up})
        if self.hang_up:
            # Closing at once would reset the connection of a client that still sends, before it reads the answer.
            await _linger(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_answer(
    content: object, status: int = 200, *, headers: tuple[tuple[str, str], ...] = (), hang_up: bool = False
) -> Answer:
    """Return an answer in JSON. Raises ValueError for NaN and infinity, which JSON cannot carry."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Answer(status, body, headers=headers, hang_up=hang_up)


def error_answer(error: Exception) -> Answer:
    """Return ``{"error": …}``: 400 for data that are refused, 500 without details for what is not the client's."""
    if isinstance(error, Refusal):
        return json_answer(
            {"error": error.message},
            error.status,
            headers=tuple(error.headers.items()),
            hang_up=error.status in (408, 413),
        )
    if isinstance(error, DataRefused):
        return json_answer({"error": _one_line(error)}, 400)
    return json_answer({"error": "internal error"}, 500)


def _one_line(error: DataRefused) -> str:
    expected = f"; expected {error.expected}" if error.expected else ""
    return f"{error.received}{expected}"


async def read_body(receive: Receive, content_length: str | None, limit: int) -> bytes | bytearray:
    """Read a request's body.

    Args:
        receive: Of the request.
        content_length: The header, if there is one.
        limit: Bytes; a longer body is refused without being read to its end.

    Raises:
        Refusal: 413 for a longer body, `CLIENT_GONE` when the client hung up.
    """
    if content_length is not None and (len(content_length) > 19 or int(content_length) > limit):
        raise _too_large(limit)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(CLIENT_GONE, "the client hung up")
        chunk: bytes = message.get("body", b"")
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return body + chunk if body else chunk
        body += chunk


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the request is larger than {limit} bytes", reason="too large")


async def hung_up(receive: Receive) -> None:
    """Wait until the client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _linger(receive: Receive) -> None:
    """Throw away what a client still sends, for a short while."""

    async def discard() -> None:
        left = _LINGER_BYTES
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    try:
        await asyncio.wait_for(discard(), _LINGER_SECONDS)
    except asyncio.TimeoutError:
        return
