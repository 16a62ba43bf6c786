"""Cameras: video devices of the kernel, what they can do and whether this user may open them."""

from __future__ import annotations

import os
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit_runtimes.doctor.board import RASPBERRY_PI, Board
from edgekit_runtimes.doctor.host import Host, Problem

QUERYCAP = 0x80685600
"""``VIDIOC_QUERYCAP`` of linux/videodev2.h: fills 104 bytes."""
QUERYCAP_BYTES = 104
_CAPTURE, _CAPTURE_PLANES, _DEVICE_CAPS = 0x1, 0x1000, 0x80000000

_NOT_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc", "rpivid", "hantro", "rkvdec")
_CSI = ("unicam", "rp1-cfe", "vi-output")


@dataclass(frozen=True)
class Camera:
    """A video device.

    Attributes:
        device: Path of the device.
        name: As the driver names it.
        kind: ``camera`` (USB and others), ``csi`` (a receiver on a ribbon cable), or ``codec`` (a decoder or image
            processor of the chip, no camera).
        captures: Whether it gives pictures; ``None`` where it could not be asked.
        permitted: Whether this user may open it.
    """

    device: str
    name: str
    kind: str
    captures: bool | None
    permitted: bool


@dataclass(frozen=True)
class Cameras:
    """The video devices and the libraries for cameras on a ribbon cable.

    Attributes:
        devices: In the order of their numbers.
        picamera2: Whether the Python module is installed.
        libcamera: Cameras that libcamera lists; ``None`` where it is not installed.
    """

    devices: tuple[Camera, ...]
    picamera2: bool
    libcamera: tuple[str, ...] | None

    @property
    def usable(self) -> list[Camera]:
        """Cameras proper that this user may open and that give pictures, as far as can be told."""
        return [camera for camera in self.devices if _is_camera(camera) and camera.permitted]


def read_cameras(host: Host) -> Cameras:
    """Read ``/sys/class/video4linux`` and ask each device what it can do."""
    folders = host.names("/sys/class/video4linux", "video*")
    return Cameras(tuple(_camera(host, folder) for folder in folders), host.installed("picamera2"), _libcamera(host))


def captures(answer: bytes) -> bool:
    """Tell from the answer to ``VIDIOC_QUERYCAP`` whether a device gives pictures.

    Args:
        answer: A ``struct v4l2_capability``: three texts, a version, what the driver can do, what this device can do.
    """
    driver, device = struct.unpack_from("=II", answer, 84)
    able = device if driver & _DEVICE_CAPS else driver
    return bool(able & (_CAPTURE | _CAPTURE_PLANES))


def ask(device: Path) -> bool | None:
    """Ask a device whether it gives pictures; ``None`` when it cannot be asked. Does not start it."""
    import fcntl

    with suppress(OSError):
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        try:
            return captures(fcntl.ioctl(handle, QUERYCAP, bytes(QUERYCAP_BYTES)))
        finally:
            os.close(handle)
    return None


def camera_problems(cameras: Cameras, board: Board) -> list[Problem]:
    """Name cameras that are there and cannot be used."""
    problems = []
    barred = [camera.device for camera in cameras.devices if _is_camera(camera) and not camera.permitted]
    if barred:
        problems.append(
            Problem(
                "warning",
                f"this user may not open {', '.join(barred)}",
                "cameras belong to the group 'video'",
                "sudo usermod -aG video $USER, then log out and in again",
            )
        )
    csi = cameras.libcamera or any(camera.kind == "csi" for camera in cameras.devices)
    if board.kind == RASPBERRY_PI and csi and not cameras.picamera2:
        problems.append(
            Problem(
                "warning",
                "a camera port is in use, and Python finds no picamera2",
                "cameras on the ribbon cable give no usable pictures through /dev/video*",
                "sudo apt install -y python3-picamera2, and make the venv with python3 -m venv --system-site-packages",
            )
        )
    return problems


def _is_camera(camera: Camera) -> bool:
    return camera.kind != "codec" and camera.captures is not False


def _camera(host: Host, folder: str) -> Camera:
    device = f"/dev/{folder.rpartition('/')[2]}"
    name = host.text(f"{folder}/name") or "unknown"
    path = host.path(device)
    permitted = host.permitted(path)
    return Camera(device, name, _kind(name), ask(path) if permitted else None, permitted)


def _kind(name: str) -> str:
    lowered = name.lower()
    if lowered.startswith(_NOT_CAMERAS):
        return "codec"
    return "csi" if lowered.startswith(_CSI) else "camera"


def _libcamera(host: Host) -> tuple[str, ...] | None:
    """List cameras as ``rpicam-hello --list-cameras`` does: ``0 : imx708 [4608x2592 10-bit RGGB] (/base/…)``."""
    for program in ("rpicam-hello", "libcamera-hello"):
        text = host.command([program, "--list-cameras"])
        if text is not None:
            return tuple(re.findall(r"^\s*\d+ : (\S+)", text, re.MULTILINE))
    return None
