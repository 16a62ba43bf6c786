"""Captures in a child process: RTSP from a real server, cameras that are absent, children that hang, Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import EnvironmentFault, MissingExtra
from edgekit_runtimes.inputs.child import ChildCapture
from edgekit_runtimes.inputs.frames import FrameSource
from edgekit_runtimes.inputs.live import Backoff
from edgekit_runtimes.inputs.open import open_frames
from edgekit_runtimes.inputs.opencv_capture import Request, jetson_pipeline, opened

from .conftest import RtspServer, until

StartRtsp = Callable[..., RtspServer]


def live(uri: str, *, wait: bool = False, timeout: float = 5.0) -> FrameSource:
    source = open_frames(uri, wait=wait, timeout=timeout, backoff=Backoff(0.05, 0.2))
    assert source is not None
    return source


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """No child, no descriptor, no shared memory stays after a source was closed."""
    descriptors, shared = len(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm"))  # noqa: S108
    yield
    until(lambda: not captures())
    assert set(os.listdir("/dev/shm")) <= shared  # noqa: S108
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2  # servers of the test are stopped after this


def captures(parent: int | None = None) -> list[int]:
    """Process ids of a process's capturing children, zombies included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            state, its_parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            capturing = state == "Z" or b"opencv_capture" in (folder / "cmdline").read_bytes()
            if int(its_parent) == (parent or os.getpid()) and capturing:
                found.append(int(folder.name))
    return found


def test_rtsp_is_read_lost_and_found_again(rtsp_server: StartRtsp) -> None:
    """Fault 18, and the password appears nowhere: not even among the child's arguments."""
    server = rtsp_server("bob", "s3cret")
    with live(server.url, timeout=8) as source:
        frames = iter(source)
        first = [next(frames) for _ in range(5)]
        assert first[0].picture.shape == (240, 320, 3)
        assert all(frame.picture.std() > 50 for frame in first)  # snow
        assert source.rate == 25
        assert [frame.number for frame in first] == sorted({frame.number for frame in first})
        assert all(time.monotonic() - frame.captured < 2 for frame in first)
        (child,) = captures()
        assert b"s3cret" not in Path(f"/proc/{child}/cmdline").read_bytes()
        server.kill()
        until(lambda: source.status.state == "waiting")
        server.start()
        until(lambda: source.status.reconnects == 1, 20)
        assert next(frames).number > first[-1].number
        assert source.status.gaps[0] > 0
        assert "s3cret" not in source.name + repr(source.status)


def test_a_wrong_password_and_a_wrong_path_are_told(rtsp_server: StartRtsp) -> None:
    server = rtsp_server("bob", "s3cret")
    for uri, said in (
        (server.url.replace("s3cret", "wr0ng"), "refuses the user or password"),
        (server.url.replace("/live", "/none"), "no such stream"),
    ):
        with live(uri) as source, pytest.raises(EnvironmentFault, match=said) as caught:
            next(iter(source))
        assert "s3cret" not in str(caught.value)
        assert "wr0ng" not in str(caught.value)


def test_a_child_that_hangs_is_killed_and_replaced(rtsp_server: StartRtsp) -> None:
    """A stopped process stands for OpenCV's read() that never returns: neither reacts to anything but SIGKILL."""
    server = rtsp_server()
    with live(server.url, timeout=1.5) as source:
        frames = iter(source)
        next(frames)
        (child,) = captures()
        os.kill(child, signal.SIGSTOP)
        until(lambda: source.status.reconnects >= 1, 20)
        assert child not in captures()
        next(frames)


def test_closing_kills_a_child_that_hangs(rtsp_server: StartRtsp) -> None:
    server = rtsp_server()
    with live(server.url, timeout=60) as source:
        next(iter(source))
        (child,) = captures()
        os.kill(child, signal.SIGSTOP)
        start = time.monotonic()
    assert time.monotonic() - start < 1.5
    until(lambda: child not in captures())


def test_a_child_ends_when_its_parent_was_killed(rtsp_server: StartRtsp) -> None:
    server = rtsp_server()
    code = (
        "import sys; from edgekit_runtimes.inputs.open import open_frames\n"
        "for frame in open_frames(sys.argv[1]):\n"
        "    print(frame.number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, server.url], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline()
        (child,) = captures(parent.pid)
        parent.kill()
    until(lambda: not Path(f"/proc/{child}").exists() or _state(child) == "Z")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_silent_rtsp_server_is_lost_within_the_timeout(silent_port: int) -> None:
    """Fault 20."""
    start = time.monotonic()
    uri = f"rtsp://bob:s3cret@127.0.0.1:{silent_port}/live"
    with live(uri, timeout=0.5) as source, pytest.raises(EnvironmentFault) as caught:
        next(iter(source))
    assert time.monotonic() - start < 5  # with the start of a Python and OpenCV
    assert "s3cret" not in str(caught.value)
    assert f"rtsp://bob:***@127.0.0.1:{silent_port}/live cannot be opened within 0.5 s" in str(caught.value)


def test_a_refused_connection_is_told() -> None:
    with live("rtsp://127.0.0.1:9/live") as source, pytest.raises(EnvironmentFault, match="connection refused"):
        next(iter(source))


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_ctrl_c_ends_within_two_seconds(silent_port: int, scheme: str) -> None:
    """Fault 17."""
    code = (
        "import sys; from edgekit_runtimes.inputs.open import open_frames\n"
        "with open_frames(sys.argv[1], wait=True, timeout=60) as source:\n"
        "    print('waiting', flush=True)\n"
        "    for frame in source: pass\n"
    )
    command = [sys.executable, "-c", code, f"{scheme}://127.0.0.1:{silent_port}/live"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if scheme == "rtsp":
            until(lambda: bool(captures(process.pid)))
        children = captures(process.pid)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
        assert time.monotonic() - start < 2
    assert said.rstrip().endswith(b"KeyboardInterrupt")
    for child in children:
        assert not Path(f"/proc/{child}").exists()


def test_an_absent_camera_is_told_with_those_that_are_there() -> None:
    """Fault 17."""
    with live("camera:9") as source, pytest.raises(EnvironmentFault) as caught:
        next(iter(source))
    assert "camera:9: there is no /dev/video9" in str(caught.value)
    assert "--wait waits for it" in str(caught.value)
    with live("camera:9", wait=True) as source:
        until(lambda: "there is no /dev/video9" in source.status.problem)
        assert source.status.state == "waiting"


def test_cameras_that_are_there_are_listed_and_permission_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for number in (0, 2):
        (tmp_path / f"dev/video{number}").touch()
    with pytest.raises(EnvironmentFault, match=r"expected one of /dev/video0, /dev/video2"):
        opened(Request("camera", "camera:1", "1"), tmp_path)


def test_a_csi_camera_needs_what_its_board_uses(tmp_path: Path) -> None:
    request = Request("csi", "csi:0", "0", size=(1920, 1080), fps=30)
    with pytest.raises(MissingExtra, match="needs picamera2"):
        opened(request, tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").touch()
    with pytest.raises(MissingExtra, match="needs an OpenCV with GStreamer"):
        opened(request, tmp_path)
    assert "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM), width=1920, height=1080" in jetson_pipeline(
        request
    )


def test_descriptors_stay_while_an_absent_camera_is_tried_again_and_again() -> None:
    source = open_frames("camera:9", wait=True, backoff=Backoff(0.0, 0.0))
    assert source is not None
    seen: set[int] = set()

    def tried(times: int) -> bool:
        seen.update(captures())
        return len(seen) >= times

    with source:
        until(lambda: tried(2))
        descriptors = len(os.listdir("/proc/self/fd"))
        until(lambda: tried(12), 30)
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 8  # those of the child that is being started


def test_a_missing_library_is_not_waited_for() -> None:
    with live("csi:0", wait=True) as source, pytest.raises(MissingExtra):
        next(iter(source))


def test_a_child_that_dies_is_told(rtsp_server: StartRtsp) -> None:
    server = rtsp_server()
    capture = ChildCapture("camera", {"kind": "rtsp", "name": "camera", "device": server.url}, 8)
    capture.open()
    try:
        assert capture.read() is not None
        assert capture.pid is not None
        os.kill(capture.pid, signal.SIGKILL)
        with pytest.raises(EnvironmentFault, match="camera was lost: its capture process ended with signal 9"):
            for _ in range(100):
                capture.read()
    finally:
        capture.close()


def test_pictures_stay_as_they_are_after_the_next_ones_came(rtsp_server: StartRtsp) -> None:
    server = rtsp_server()
    with live(server.url) as source:
        frames = list(islice(source, 4))
        kept = [frame.picture.copy() for frame in frames]
        list(islice(source, 4))
    np.testing.assert_array_equal([frame.picture for frame in frames], kept)
    assert len({frame.picture.tobytes() for frame in frames}) == 4
