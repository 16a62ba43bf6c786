"""Real servers of pictures: Motion JPEG over HTTP, and RTSP by GStreamer."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SCRIPT = Path(__file__).parents[2] / "fixtures" / "rtsp_server.py"


def picture(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """RGB: its number as the red of every pixel, and noise as a camera has."""
    noise = np.random.default_rng(number).integers(0, 8, (height, width, 3), np.uint8)
    noise[..., 0] = number % 250
    return noise


def jpeg(number: int, width: int = 64, height: int = 48) -> bytes:
    """The picture of that number."""
    bgr = cv2.cvtColor(picture(number, width, height), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())


def number_in(frame: NDArray[np.uint8]) -> int:
    """The number that a picture shows."""
    return round(float(frame[..., 0].mean()))


@dataclass
class Scene:
    """What the HTTP server does; may be changed while it runs.

    Attributes:
        parts: JPEGs, sent one after the other, again and again.
        interval: Seconds between them.
        per_connection: Parts after which the server ends a connection.
        silent: The server sends nothing any more.
        lengths: Whether parts have a ``Content-Length``.
        content_type: What it says of its answer.
        status: Of its answer.
        seen: Heads of the last requests.
        sent: Parts sent so far.
    """

    parts: list[bytes]
    interval: float = 0.01
    per_connection: int = 1 << 30
    silent: threading.Event = field(default_factory=threading.Event)
    lengths: bool = True
    content_type: str = "multipart/x-mixed-replace; boundary=frame"
    status: int = 200
    seen: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=5))
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    scene: ClassVar[Scene]
    ending: ClassVar[threading.Event]

    def do_GET(self) -> None:
        scene = self.scene
        scene.seen.append(dict(self.headers))
        if scene.silent.is_set():
            self.ending.wait(30)
            return
        self.send_response(scene.status)
        self.send_header("Content-Type", scene.content_type)
        self.end_headers()
        with suppress(OSError):
            for _ in range(scene.per_connection if scene.status == 200 else 0):
                if self.ending.is_set():
                    return
                while scene.silent.is_set() and not self.ending.wait(0.02):
                    pass
                part = scene.parts[scene.sent % len(scene.parts)]
                length = f"Content-Length: {len(part)}\r\n" if scene.lengths else ""
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\n" + length.encode() + b"\r\n" + part + b"\r\n"
                )
                scene.sent += 1
                if scene.interval:
                    self.ending.wait(scene.interval)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class MjpegServer:
    """Can be stopped, dropping its clients, and started again on the same port."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/video?channel=1"

    def start(self) -> None:
        self._ending = threading.Event()
        handler = type("Handler", (_Handler,), {"scene": self.scene, "ending": self._ending})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = False  # joined by server_close
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._ending.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mjpeg_server() -> Iterator[Callable[[Scene], MjpegServer]]:
    """Start a Motion JPEG server; stopped after the test."""
    servers: list[MjpegServer] = []

    def start(scene: Scene) -> MjpegServer:
        servers.append(MjpegServer(scene))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class RtspServer:
    """GStreamer's RTSP server in a process of its own."""

    def __init__(self, *credentials: str) -> None:
        self.port = free_port()
        self._credentials = credentials
        self.start()

    @property
    def url(self) -> str:
        user = ":".join(self._credentials) + "@" if self._credentials else ""
        return f"rtsp://{user}127.0.0.1:{self.port}/live"

    def start(self) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SCRIPT), str(self.port), *self._credentials]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_bare())
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _bare() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@pytest.fixture
def rtsp_server() -> Iterator[Callable[..., RtspServer]]:
    """Start an RTSP server; skipped by name where GStreamer's is not installed (never in CI)."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    have = subprocess.run([SYSTEM_PYTHON, "-c", check], check=False, capture_output=True, env=_bare())
    if have.returncode != 0:
        plugins = " ".join(f"gstreamer1.0-plugins-{kind}" for kind in ("base", "good", "bad", "ugly"))
        need = f"python3-gi gir1.2-gst-rtsp-server-1.0 {plugins}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs Debian's {need}")
    servers: list[RtspServer] = []

    def start(*credentials: str) -> RtspServer:
        servers.append(RtspServer(*credentials))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that happens in another thread or process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
