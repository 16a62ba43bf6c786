"""The service of a bundle under a systemd that runs: it answers, is watched, comes back, and takes no bad bundle."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.bundle import Bundle
from tests.runtimes.conftest import BundleMaker
from tests.runtimes.service.live_systemd import HOME, LiveSystemd, NoLiveSystemd

WATCHDOG = "10"
PATIENCE_SECONDS = 90


class Camera(http.server.ThreadingHTTPServer):
    """Motion JPEG on loopback, until it is told to freeze."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Frames)
        self.alive = threading.Event()
        self.alive.set()


class _Frames(http.server.BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        random = np.random.default_rng(1)
        with suppress(OSError):
            while self.server.alive.wait():
                jpeg = cv2.imencode(".jpg", random.integers(0, 255, (96, 96, 3), np.uint8))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
                time.sleep(0.05)

    def log_message(self, format: str, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def camera() -> Iterator[Camera]:
    with Camera() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.alive.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def systemd(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[LiveSystemd]:
    if os.getuid():
        pytest.skip("a systemd of its own needs root")
    for name in ("place", "files"):
        (tmp_path / name).mkdir()
    try:
        live = LiveSystemd(tmp_path / "place", pytestconfig.rootpath, tmp_path / "files")
    except NoLiveSystemd as error:
        pytest.skip(f"no systemd can be started in name spaces here: {error}")
    yield live
    live.close()


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something of systemd's, which tells nobody."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.3)


def shown(systemd: LiveSystemd, key: str) -> str:
    return systemd.run("systemctl", "show", "edgekit-door", "--value", "-p", key).stdout.strip()


def test_it_answers_comes_back_and_takes_no_bad_bundle(
    systemd: LiveSystemd, camera: Camera, person_maker: BundleMaker, tmp_path: Path
) -> None:
    def bundle(name: str) -> str:
        made: Bundle = person_maker(tmp_path / "files" / name, name=name)
        return f"{HOME}/files/{made.path.name}"

    source = f"http://127.0.0.1:{camera.server_address[1]}/"
    words = [source, "results.jsonl", "--name", "door", "--watchdog", WATCHDOG]
    done = systemd.edgekit("service", "install", bundle("first"), *words)
    assert done.returncode == 0, done.stderr
    running = shown(systemd, "StatusText")
    assert "answers" in running
    assert shown(systemd, "ActiveState") == "active"  # Type=notify: it was ready with its first answer

    systemd.run("systemctl", "kill", "-s", "KILL", "edgekit-door")
    until(lambda: shown(systemd, "NRestarts") == "1" and shown(systemd, "ActiveState") == "active", "a killed run")

    first = shown(systemd, "MainPID")
    camera.alive.clear()
    until(lambda: shown(systemd, "MainPID") not in (first, "0"), "a frozen camera")
    camera.alive.set()
    until(lambda: shown(systemd, "ActiveState") == "active", "a camera that is back")

    second = bundle("second")
    damaged = tmp_path / "files" / "damaged"
    shutil.copytree(tmp_path / "files" / "second", damaged)
    model = next(damaged.glob("*.tflite"))
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    before = shown(systemd, "MainPID")
    refused = systemd.edgekit("service", "update", "door", f"{HOME}/files/damaged")
    assert refused.returncode == 3
    assert shown(systemd, "MainPID") == before

    assert systemd.edgekit("service", "update", "door", second).returncode == 0
    assert shown(systemd, "MainPID") != before
    results = systemd.run("bash", "-c", "wc -l < /var/lib/edgekit-door/results.jsonl")
    assert int(results.stdout) > 3
    assert systemd.edgekit("service", "uninstall", "door").returncode == 0
    assert shown(systemd, "LoadState") == "not-found"
