"""Servers that the tests of this folder share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from tests.fixtures.third_party import installed_engine
from tests.runtimes.serve.servers import Gate, Server, Serving, serving

GATED = """
import os
import socket
from edgekit_runtimes.engines.litert import LiteRTEngine

class GatedEngine(LiteRTEngine):
    name = "gated"

    def _run(self, feeds):
        with socket.create_connection(("127.0.0.1", int(os.environ["GATE_PORT"]))) as gate:
            if gate.recv(1) == b"!":
                raise RuntimeError("secret of the engine")
        return super()._run(feeds)
"""


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


@pytest.fixture(scope="session")
def gated_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a third party's engine, as pip would have installed it."""
    return installed_engine(tmp_path_factory.mktemp("gated"), "gated", "GatedEngine", GATED)


@pytest.fixture
def gated_server(gate: Gate, gated_engine: Path, person_bundle: Bundle) -> Serving:
    """Start a server whose engine waits at the gate."""
    path = os.pathsep.join(part for part in (str(gated_engine), os.environ.get("PYTHONPATH")) if part)

    def start(*words: str) -> AbstractContextManager[Server]:
        env = {"PYTHONPATH": path, "GATE_PORT": str(gate.port)}
        return serving(person_bundle.path, "--engine", "gated", "--recipe", "fp32", *words, env=env)

    return start


@pytest.fixture(scope="session")
def server(person_bundle: Bundle, detector_bundle: Bundle) -> Iterator[Server]:
    """The person and the detector bundle, with a small limit on the size of a request."""
    with serving(
        f"person={person_bundle.path}", f"detector={detector_bundle.path}", "--max-bytes", "3000000"
    ) as running:
        yield running
