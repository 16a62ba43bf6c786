"""The child that captures: cameras and RTSP through OpenCV, a Raspberry Pi's camera through picamera2.

Started by `edgekit_runtimes.inputs.child`: one line of JSON comes in, pictures go out through shared memory.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgeKitError, EnvironmentFault, MissingExtra

Read = Callable[[NDArray[np.uint8] | None], NDArray[np.uint8] | None]
"""Reads the next picture as RGB, into the array where one is given; ``None`` where there is none any more."""

_LONGEST_HANG = 0.4
_SHOWN = 20_000


@dataclass(frozen=True)
class Request:
    """What to capture.

    Attributes:
        kind: ``camera``, ``csi`` or ``rtsp``.
        name: What to call it in messages; without any password.
        device: Camera number, path of a device, or URL.
        size: Width and height; ``None`` takes what comes.
        fps: Frames a second; ``None`` takes what comes.
        format: ``mjpg`` or ``yuyv``, as a USB camera should send its pictures; ``None`` lets the driver choose.
        transport: ``tcp`` or ``udp``, for RTSP.
        timeout: Seconds that opening and a read may take.
    """

    kind: str
    name: str
    device: str
    size: tuple[int, int] | None = None
    fps: float | None = None
    format: str | None = None
    transport: str = "tcp"
    timeout: float = 5.0


def opened(request: Request, root: Path = Path("/")) -> tuple[Read, float, Callable[[], None]]:
    """Open a camera or stream.

    Args:
        request: What.
        root: Where the system's files are; another folder in tests.

    Returns:
        How to read, frames a second (0 where unknown), and how to close.

    Raises:
        EnvironmentFault: It is not there, is busy, or cannot do what was asked.
        MissingExtra: The library for it is not installed.
    """
    if request.kind == "csi":
        return _jetson(request) if (root / "etc/nv_tegra_release").exists() else _picamera(request)
    return _camera(request, root) if request.kind == "camera" else _rtsp(request)


def jetson_pipeline(request: Request) -> str:
    """The GStreamer pipeline for a Jetson's CSI camera: scaled by the image processor, newest frame only."""
    width, height = request.size or (1280, 720)
    rate = f"{request.fps or 30:g}"
    return (
        f"nvarguscamerasrc sensor-id={int(request.device)} ! "
        f"video/x-raw(memory:NVMM), width={width}, height={height}, framerate={rate}/1 ! "
        "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


def _camera(request: Request, root: Path) -> tuple[Read, float, Callable[[], None]]:
    device = f"/dev/video{request.device}" if request.device.isdigit() else request.device
    if sys.platform == "linux":
        _check_device(request, root, device)  # first: importing OpenCV takes a while
    import cv2

    if sys.platform == "linux":
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    else:
        capture = cv2.VideoCapture(int(request.device) if request.device.isdigit() else device)
    if not capture.isOpened():
        raise EnvironmentFault(
            f"{request.name} cannot be opened",
            expected="a camera that no other program uses",
            remedy=f"see what uses it: fuser -v {device}; a metadata device gives no pictures: v4l2-ctl --list-devices",
        )
    # The order matters to V4L2: what sizes and rates there are depends on the format.
    if request.format:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*request.format.upper()))
    if request.size:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.size[1])
    if request.fps:
        capture.set(cv2.CAP_PROP_FPS, request.fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    _check_size(request, capture, device)
    return _reader(capture), _rate(capture), capture.release


def _check_device(request: Request, root: Path, device: str) -> None:
    path = root / device.lstrip("/")
    if not path.exists():
        present = sorted(f"/dev/{file.name}" for file in (root / "dev").glob("video*"))
        raise EnvironmentFault(
            f"{request.name}: there is no {device}",
            expected=f"one of {', '.join(present)}" if present else "a camera: this machine has no /dev/video*",
            remedy="plug it in; --wait waits for it",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise EnvironmentFault(
            f"{request.name}: no permission for {device}",
            remedy="sudo usermod -aG video $USER, then log in again",
        )


def _check_size(request: Request, capture: Any, device: str) -> None:
    """A driver that lacks a size silently takes another."""
    import cv2

    got = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if request.size and got != tuple(request.size):
        capture.release()
        raise EnvironmentFault(
            f"{request.name} gives {got[0]}x{got[1]}",
            expected=f"the {request.size[0]}x{request.size[1]} asked for",
            remedy=f"v4l2-ctl --device {device} --list-formats-ext lists its sizes; more of them with format=mjpg",
        )


def _rtsp(request: Request) -> tuple[Read, float, Callable[[], None]]:
    milliseconds = int(request.timeout * 1000)
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = (
        f"rtsp_transport;{request.transport}|fflags;nobuffer|flags;low_delay|fpsprobesize;3"  # 3: opens a second sooner
        f"|timeout;{milliseconds * 1000}"
    )
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "16"  # errors: the only way to learn why it cannot be opened
    with _Overheard() as said:
        import cv2

        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
        capture = cv2.VideoCapture(request.device, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise _rtsp_fault(request, said.text)
    return _reader(capture), _rate(capture), capture.release


def _rtsp_fault(request: Request, said: str) -> EnvironmentFault:
    """Say why a stream cannot be opened; what FFmpeg said is searched and not repeated, it may hold the password."""
    answer = re.search(r"\b(?:failed:|returned) (\d{3})\b", said)
    if answer is not None and answer[1] in ("401", "403"):
        return EnvironmentFault(
            f"{request.name} refuses the user or password",
            expected="rtsp://USER:PASSWORD@HOST/PATH",
            remedy="write characters such as @ : / in a password as %40 %3A %2F",
        )
    if answer is not None and answer[1] == "404":
        return EnvironmentFault(f"{request.name}: the server has no such stream", remedy="see the camera's manual")
    for cause in ("Connection refused", "No route to host", "Failed to resolve hostname", "Network is unreachable"):
        if cause in said:
            return EnvironmentFault(f"{request.name}: {cause.lower()}", remedy="check host, port and network")
    return EnvironmentFault(
        f"{request.name} cannot be opened within {request.timeout:g} s",
        expected="an RTSP stream of a kind that FFmpeg plays",
    )


def _jetson(request: Request) -> tuple[Read, float, Callable[[], None]]:
    import cv2

    if not any(line.split()[-1:] != ["NO"] for line in _build_lines("GStreamer:")):
        raise MissingExtra(
            f"{request.name} needs an OpenCV with GStreamer, and this one ({cv2.__version__}) has none",
            remedy="pip uninstall opencv-python-headless, and use JetPack's: sudo apt install python3-opencv",
        )
    capture = cv2.VideoCapture(jetson_pipeline(request), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise EnvironmentFault(
            f"{request.name} cannot be opened",
            expected="a CSI camera that the device tree knows",
            remedy="sudo systemctl restart nvargus-daemon; sudo /opt/nvidia/jetson-io/jetson-io.py sets the camera up",
        )
    return _reader(capture), _rate(capture), capture.release


def _build_lines(start: str) -> list[str]:
    import cv2

    return [line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith(start)]


def _picamera(request: Request) -> tuple[Read, float, Callable[[], None]]:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingExtra(
            f"{request.name} needs picamera2, which this Python does not have",
            expected="a Raspberry Pi",
            remedy="sudo apt install python3-picamera2, and a venv made with --system-site-packages",
        ) from error
    try:
        camera = Picamera2(int(request.device))
        # picamera2 names the order of bytes in memory backwards: its BGR888 arrays are RGB.
        main = {"format": "BGR888", "size": tuple(request.size or (1280, 720))}
        controls = {"FrameRate": request.fps} if request.fps else {}
        camera.configure(camera.create_video_configuration(main=main, controls=controls, buffer_count=3))
        camera.start()
    except (IndexError, RuntimeError) as error:
        raise EnvironmentFault(
            f"{request.name} cannot be opened ({error})", remedy="rpicam-hello --list-cameras lists what is connected"
        ) from error

    def read(into: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = camera.capture_array("main")
        if into is None:
            return picture
        np.copyto(into, picture)
        return into

    return read, float(request.fps or 30.0), camera.stop


def _reader(capture: Any) -> Read:
    import cv2

    kept: list[NDArray[np.uint8]] = []

    def read(into: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
        fine, picture = capture.read(kept[0]) if kept else capture.read()
        if not fine or picture is None:
            return None
        kept[:] = [picture]
        if into is not None and into.shape != picture.shape:
            return None
        rgb: NDArray[np.uint8] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=into)
        return rgb

    return read


def _rate(capture: Any) -> float:
    import cv2

    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate < 1000 else 0.0


class _Overheard:
    """What native code prints meanwhile; OpenCV's FFmpeg does so on standard output."""

    text = ""

    def __enter__(self) -> _Overheard:
        self._caught = os.memfd_create("said") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        self._originals = [(number, os.dup(number)) for number in (1, 2)]
        for number, _ in self._originals:
            os.dup2(self._caught, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number, original in self._originals:
            os.dup2(original, number)
            os.close(original)
        self.text = os.pread(self._caught, _SHOWN, 0).decode("utf-8", "replace")
        os.close(self._caught)


class _Link:
    """The way to the parent. When the parent closes it, or is gone, the child ends, even out of a read that hangs."""

    def __init__(self) -> None:
        self.request: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
        self._out = os.dup(1)
        os.dup2(2, 1)  # what native code prints must not get among the messages
        self._free = {0, 1}
        self.closed = False
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        try:
            os.write(self._out, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            os._exit(0)

    def place(self) -> int | None:
        """A place that the parent has done with."""
        return next(iter(self._free), None)

    def taken(self, place: int) -> None:
        """The parent is about to be told of this place."""
        self._free.discard(place)

    def _listen(self) -> None:
        while done := os.read(0, 1):
            self._free.add(done[0])
        self.closed = True
        time.sleep(_LONGEST_HANG)
        os._exit(0)


def main() -> None:
    """Capture for the parent until it closes the pipe."""
    link = _Link()
    memory = int(link.request.pop("memory"))
    try:
        _capture(link, Request(**link.request), memory)
    except EdgeKitError as error:
        link.say({"error": [type(error).__name__, error.received, error.expected, error.remedy]})
    except Exception as error:
        link.say({"error": ["EnvironmentFault", f"{link.request['name']}: {type(error).__name__}", None, None]})
    os._exit(0)  # skips the destructors of native libraries, some of which crash


def _capture(link: _Link, request: Request, memory: int) -> None:
    read, rate, close = opened(request)
    try:
        first = read(None)
        if first is None:
            raise EnvironmentFault(f"{request.name} was opened but gives no picture")
        os.ftruncate(memory, 2 * first.nbytes)
        shared = np.frombuffer(mmap.mmap(memory, 2 * first.nbytes), np.uint8).reshape(2, *first.shape)
        link.say({"size": first.shape[:2], "rate": rate})
        shared[0] = first
        link.taken(0)
        link.say({"place": 0, "captured": time.monotonic(), "missed": 0})
        missed = 0
        while not link.closed:
            place = link.place()
            picture = read(None if place is None else shared[place])
            if picture is None:
                raise EnvironmentFault(f"{request.name} was lost: it gives no more pictures, or another size of them")
            if place is None:
                missed += 1
                continue
            link.taken(place)
            link.say({"place": place, "captured": time.monotonic(), "missed": missed})
            missed = 0
    finally:
        close()
