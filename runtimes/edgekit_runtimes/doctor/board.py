"""Which board or computer this is, and which system it runs."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

from edgekit_runtimes.doctor.host import Host, Problem

RASPBERRY_PI, JETSON, OTHER = "raspberry-pi", "jetson", "other"

_PLACEHOLDERS = {"", "To Be Filled By O.E.M.", "System Product Name", "Default string", "None"}


@dataclass(frozen=True)
class Board:
    """A board and its system.

    Attributes:
        model: As the firmware names it; ``unknown`` where it does not.
        kind: ``raspberry-pi``, ``jetson`` or ``other``.
        system: Name and version of the operating system.
        kernel: Release of the kernel.
        architecture: As ``uname -m`` gives it.
        python: Version of Python.
        jetpack: Release of Jetson Linux (L4T), ``None`` elsewhere.
    """

    model: str
    kind: str
    system: str
    kernel: str
    architecture: str
    python: str
    jetpack: str | None = None


def read_board(host: Host) -> Board:
    """Read the board's name from its device tree, or a PC's from its firmware (DMI)."""
    model = _device_tree(host) or _dmi(host) or "unknown"
    release = host.text("/etc/nv_tegra_release")
    return Board(
        model=model,
        kind=_kind(model, release),
        system=_system(host),
        kernel=host.text("/proc/sys/kernel/osrelease") or platform.release(),
        architecture=host.architecture,
        python=platform.python_version(),
        jetpack=_jetpack(release) if release else None,
    )


def board_problems(board: Board, host: Host) -> list[Problem]:
    """Name what is wrong with the system."""
    if host.pointer_bits == 32:
        return [
            Problem(
                "warning",
                f"Python is a 32-bit program on {board.architecture}",
                "the engines publish no 32-bit packages; only an old tflite-runtime can be had",
                "install the 64-bit system on the board, e.g. Raspberry Pi OS (64-bit) with Raspberry Pi Imager",
            )
        ]
    return []


def _device_tree(host: Host) -> str | None:
    return host.text("/proc/device-tree/model") or host.text("/sys/firmware/devicetree/base/model")


def _dmi(host: Host) -> str | None:
    words = [host.text(f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")]
    return " ".join(word for word in words if word not in _PLACEHOLDERS) or None


def _kind(model: str, release: str | None) -> str:
    if model.startswith("Raspberry Pi"):
        return RASPBERRY_PI
    return JETSON if release or "Jetson" in model else OTHER


def _system(host: Host) -> str:
    text = host.text("/etc/os-release") or ""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', text, re.MULTILINE)
    return match[1] if match else platform.system()


def _jetpack(release: str) -> str:
    match = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", release)
    return f"L4T {match[1]}.{match[2]}" if match else release.splitlines()[0]
