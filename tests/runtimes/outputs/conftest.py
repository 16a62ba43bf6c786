"""Answers, and the real programs that outputs talk to."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.tasks.classification import Classification, Label
from edgekit_runtimes.outputs.sink import Answer
from tests.chromium import needed

AnswerMaker = Callable[..., Answer]


@pytest.fixture(scope="session")
def make_answer() -> AnswerMaker:
    """Make an answer that names a class."""

    def make(name: str = "a.jpg", label: str = "cat", score: float = 0.75, **more: object) -> Answer:
        labels = (Label(0, label, score), Label(1, "dog", 1 - score))
        return Answer(name, Classification(labels), **more)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def frames() -> Sequence[np.ndarray]:
    """Frames of 320 x 240, each in a gray of its own."""
    return [np.full((240, 320, 3), 10 * i, np.uint8) for i in range(1, 21)]


@pytest.fixture(scope="session")
def photo(realpack: Path) -> np.ndarray:
    """A real photo, RGB."""
    path = sorted((realpack / "imagenet_like" / "eval").glob("*.jpg"))[0]
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))


class Broker:
    """Mosquitto, which a test may stop and start again on the same port."""

    def __init__(self, folder: Path, *, login: tuple[str, str] | None = None) -> None:
        self._command = needed("mosquitto", "mosquitto")
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._configuration = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "user root"]
        lines.append(f"allow_anonymous {'false' if login else 'true'}")
        if login:
            users = folder / "users"
            tool = needed("mosquitto_passwd", "mosquitto")
            subprocess.run([tool, "-b", "-c", str(users), *login], check=True, capture_output=True)
            lines.append(f"password_file {users}")
        self._configuration.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = [self._command, "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with closing(socket.socket()) as probe:
                probe.settimeout(0.05)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        pytest.fail("mosquitto does not listen")

    def stop(self) -> None:
        """Stop as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start brokers that end with the test."""
    brokers = []

    def make(login: tuple[str, str] | None = None) -> Broker:
        broker = Broker(tmp_path, login=login)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.stop()
