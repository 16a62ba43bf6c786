"""Real `edgekit serve` processes on loopback."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        process: Its process.
        host: Where it listens.
        port: The real port.
        said: Lines it printed until it was ready.
    """

    process: subprocess.Popen[str]
    host: str
    port: int
    said: tuple[str, ...]

    def connect(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """Value of a sample at /metrics; 0 where there is none yet."""
        text = self.ask("GET", "/metrics").body.decode()
        for line in text.splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) == labels:
                return float(found[2])
        return 0.0


Serving = Callable[..., AbstractContextManager[Server]]


@contextmanager
def serving(*words: str | Path, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `edgekit serve` on a free port; end it at the latest here."""
    command = [str(Path(sys.executable).parent / "edgekit"), "serve", *map(str, words), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    try:
        yield _ready(process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        process.communicate()


def _ready(process: subprocess.Popen[str]) -> Server:
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line.rstrip())
        if found := re.fullmatch(r"ready at http://(\S+):(\d+)", said[-1]):
            return Server(process, found[1], int(found[2]), tuple(said))
    assert process.stderr is not None
    pytest.fail(f"the server did not start: {said} {process.stderr.read()}")


class Gate:
    """Holds back every run of the engine `gated` until it is let through."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30)
        self.port = self._listener.getsockname()[1]
        self._held: list[socket.socket] = []

    def arrival(self) -> socket.socket:
        """Wait until the engine starts a run; closing the connection lets it through."""
        self._held.append(self._listener.accept()[0])
        return self._held[-1]

    def close(self) -> None:
        for connection in (self._listener, *self._held):
            connection.close()


INFER = "/v2/models/model/infer"


def body() -> bytes:
    """A request with a picture of zeros, in binary."""
    return b"".join(framed())


def framed() -> tuple[bytes, bytes]:
    data = np.zeros((1, 96, 96, 3), np.float32).tobytes()
    entry = {
        "name": "image",
        "shape": [1, 96, 96, 3],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    return json.dumps({"inputs": [entry]}).encode(), data


HEADERS = {"Inference-Header-Content-Length": str(len(framed()[0]))}


def ask(server: Server) -> Reply:
    """Have the server look at a picture of zeros."""
    return server.ask("POST", INFER, body(), HEADERS)
