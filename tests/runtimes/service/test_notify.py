"""What a run tells a service manager, over its real socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit_runtimes.service.notify import Notifier

WAIT = 30.0


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(WAIT)
        yield server


def address(server: socket.socket) -> dict[str, str]:
    return {"NOTIFY_SOCKET": server.getsockname()}


def told(server: socket.socket) -> dict[str, str]:
    """The next message."""
    return dict(line.split("=", 1) for line in server.recv(4096).decode().splitlines())


def silent(server: socket.socket, seconds: float) -> bool:
    """Whether nothing comes for so long."""
    server.settimeout(seconds)
    try:
        return not server.recv(4096)
    except TimeoutError:
        return True
    finally:
        server.settimeout(WAIT)


def test_the_first_answer_is_when_it_is_ready(listening: socket.socket) -> None:
    notifier = Notifier(address(listening))
    notifier.answered(1, 0.0)
    notifier.answered(2, 9.0)  # within the same second
    notifier.stopping()
    assert told(listening) == {"READY": "1", "WATCHDOG": "1", "STATUS": "1 answers, 0.0 a second"}
    assert told(listening) == {"STOPPING": "1"}


def test_names_in_the_abstract_name_space() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0edgekit-test-{os.getpid()}")
        server.settimeout(WAIT)
        Notifier({"NOTIFY_SOCKET": f"@edgekit-test-{os.getpid()}"}).stopping()
        assert told(server) == {"STOPPING": "1"}


def test_nobody_listening_is_no_failure(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).answered(1, 1.0)
    Notifier({}).answered(1, 1.0)


def test_a_run_feeds_the_watchdog_while_frames_come_and_only_then(
    person_bundle: Bundle, photos: list[Path], listening: socket.socket
) -> None:
    command = [sys.executable, "-m", "edgekit.cli", "run", str(person_bundle.path), "-", "--timeout", "60"]
    environment = {**os.environ, **address(listening)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(photos[0].read_bytes())
        process.stdin.flush()
        process.stdin.write(photos[1].read_bytes())  # the first is whole when the second begins
        process.stdin.flush()
        assert told(listening)["READY"] == "1"
        process.stdout.readline()
        while not silent(listening, 1.5):
            pass
        process.stdin.write(photos[2].read_bytes() + photos[3].read_bytes())
        process.stdin.flush()
        message = told(listening)
        assert message["WATCHDOG"] == "1"
        assert "READY" not in message
        process.stdin.close()
        assert process.wait(WAIT) == 0
    rest = [told(listening)]
    while "STOPPING" not in rest[-1]:
        rest.append(told(listening))
