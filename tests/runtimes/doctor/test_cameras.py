"""Cameras of recorded machines; what a driver answers is a real ``struct v4l2_capability``."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path

import pytest

from edgekit_runtimes.doctor import cameras as module
from edgekit_runtimes.doctor.board import read_board
from edgekit_runtimes.doctor.cameras import QUERYCAP, QUERYCAP_BYTES, camera_problems, captures, read_cameras
from tests.runtimes.doctor.trees import PI_4, PI_5, PI_COMMANDS, host_of

UVC = (b"uvcvideo", b"HD Webcam", b"usb-0000:00:14.0-1", 0x84A00001, 0x04200001)
UVC_METADATA = (b"uvcvideo", b"HD Webcam", b"usb-0000:00:14.0-1", 0x84A00001, 0x04A00000)
UNICAM = (b"unicam", b"unicam", b"platform:fe801000.csi", 0x85A00001, 0x05200001)
CODEC = (b"bcm2835-codec", b"bcm2835-codec-decode", b"platform:bcm2835-codec", 0x84204000, 0x04204000)
OLD_DRIVER = (b"old", b"Old Webcam", b"usb-1", 0x05000001, 0)


def answer(driver: bytes, card: bytes, bus: bytes, able: int, device: int) -> bytes:
    """Pack what ``VIDIOC_QUERYCAP`` gives: texts of 16, 32 and 32 bytes, version, abilities, of this device."""
    return struct.pack("=16s32s32sIII12x", driver, card, bus, 0x060C00, able, device)


@pytest.mark.parametrize(
    ("told", "gives"), [(UVC, True), (UVC_METADATA, False), (UNICAM, True), (CODEC, False), (OLD_DRIVER, True)]
)
def test_what_gives_pictures(told: tuple[bytes, bytes, bytes, int, int], gives: bool) -> None:
    assert len(answer(*told)) == QUERYCAP_BYTES
    assert captures(answer(*told)) == gives


def test_each_device_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"/sys/class/video4linux/video{n}/name": "HD Webcam\n" for n in (0, 1, 10, 2)}
    files |= {f"/dev/video{n}": "" for n in (0, 1, 10)}
    replies = {0: UVC, 1: UVC_METADATA}

    def ioctl(handle: int, request: int, buffer: bytes) -> bytes:
        assert (request, len(buffer)) == (QUERYCAP, QUERYCAP_BYTES)
        number = int(Path(f"/proc/self/fd/{handle}").readlink().name[5:])
        if number not in replies:
            raise OSError(25, "Inappropriate ioctl for device")
        return answer(*replies[number])

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    found = read_cameras(host_of(tmp_path, files)).devices
    assert [(camera.device, camera.captures) for camera in found] == [
        ("/dev/video0", True),
        ("/dev/video1", False),
        ("/dev/video2", None),
        ("/dev/video10", None),
    ]


def test_a_raspberry_pi_lists_codecs_that_are_no_cameras(tmp_path: Path) -> None:
    found = read_cameras(host_of(tmp_path, PI_4))
    assert [camera.kind for camera in found.devices] == ["csi", "codec", "codec"]
    assert [camera.device for camera in found.usable] == ["/dev/video0"]


def test_libcamera_is_asked_where_it_is_installed(tmp_path: Path) -> None:
    host = host_of(tmp_path, PI_5, commands=PI_COMMANDS, modules=["picamera2"])
    found = read_cameras(host)
    assert (found.libcamera, found.picamera2) == (("imx708",), True)
    assert camera_problems(found, read_board(host)) == []


def test_a_camera_port_without_picamera2_is_told(tmp_path: Path) -> None:
    host = host_of(tmp_path, PI_5)
    (problem,) = camera_problems(read_cameras(host), read_board(host))
    assert problem.mend.startswith("sudo apt install -y python3-picamera2")


def test_a_user_outside_the_group_is_told_and_nothing_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(_: Path) -> bool:
        raise AssertionError("a device without permission was opened")

    monkeypatch.setattr(module, "ask", opened)
    host = host_of(tmp_path, PI_5, permitted=lambda _: False, modules=["picamera2"])
    found = read_cameras(host)
    (problem,) = camera_problems(found, read_board(host))
    assert problem.what == "this user may not open /dev/video0, /dev/video8"
    assert problem.mend.startswith("sudo usermod -aG video $USER")
    assert found.usable == []


def test_no_camera_is_no_problem(tmp_path: Path) -> None:
    host = host_of(tmp_path, {})
    found = read_cameras(host)
    assert (found.devices, found.libcamera) == ((), None)
    assert camera_problems(found, read_board(host)) == []
