"""What a workstation and the agent on a board say to each other, over the standard streams of an SSH connection.

Each message is a line of JSON; after ``put`` come as many raw bytes as it says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

VERSION = 1
CHUNK = 1 << 16
_LONGEST_LINE = 1 << 22


class ConnectionCut(Exception):
    """The other side is gone, in the middle of a message or between two."""


def send(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write a message. Raises ConnectionCut."""
    try:
        stream.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        stream.flush()
    except (OSError, ValueError) as error:
        raise ConnectionCut(str(error)) from error


def receive(stream: IO[bytes]) -> dict[str, Any]:
    """Read a message. Raises ConnectionCut where there is none, or it is none."""
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ConnectionCut("the connection ended")
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ConnectionCut(f"not a message: {line[:80]!r}") from error
    return message
