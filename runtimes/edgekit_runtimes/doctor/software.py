"""The Python packages that edgekit stands on: their versions, and the ones that overwrite each other."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions

from edgekit_runtimes.doctor.host import Problem

_SHOWN = re.compile(
    r"edgekit-ai|numpy|opencv-.*|ai-edge-litert|tflite-runtime|onnxruntime.*|openvino|tensorrt|picamera2"
)
_SHARED = {
    "cv2": re.compile(r"opencv-(contrib-)?python(-headless)?"),
    "onnxruntime": re.compile(
        r"onnxruntime(-gpu|-openvino|-qnn|-directml|-migraphx|-rocm|-training|-cann|-vitisai|-silicon)?"
    ),
}
"""Module -> distributions that bring a module of that name and overwrite each other's files."""
_IMPORT_SECONDS = 60.0


@dataclass(frozen=True)
class Software:
    """Installed packages.

    Attributes:
        versions: Distribution -> version, of those that matter here.
        opencv_fault: Why OpenCV cannot be imported; ``None`` when it can.
    """

    versions: Mapping[str, str]
    opencv_fault: str | None


def read_software(fault_of: Callable[[str], str | None] | None = None) -> Software:
    """Read the metadata of installed packages, and import OpenCV in a child process.

    Args:
        fault_of: Tells why a module cannot be imported; `import_fault` by default.
    """
    names = {re.sub(r"[-_.]+", "-", item.metadata["Name"] or "").lower(): item.version for item in distributions()}
    shown = {name: version for name, version in sorted(names.items()) if _SHOWN.fullmatch(name)}
    return Software(shown, (fault_of or import_fault)("cv2"))


def import_fault(module: str) -> str | None:
    """Import a module in a child process; return why it cannot be, or ``None``."""
    # Not `-m`, and without the current folder: a stray numpy.py there would run.
    code = f"import sys; sys.path[:] = [p for p in sys.path if p]; import {module}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=False, capture_output=True, text=True, errors="replace", timeout=_IMPORT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"its import did not end within {_IMPORT_SECONDS:g} s"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"its import crashed ({signal.Signals(-done.returncode).name})"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"its import ended with exit code {done.returncode}"


def software_problems(software: Software) -> list[Problem]:
    """Name packages that are broken or in each other's way."""
    return _opencv_problems(software) + _twins(software)


def _opencv_problems(software: Software) -> list[Problem]:
    if software.opencv_fault is None:
        return []
    mend = "pip install --force-reinstall opencv-python-headless"
    if "libGL" in software.opencv_fault:
        mend = "pip uninstall -y opencv-python && pip install --force-reinstall opencv-python-headless"
    return [Problem("blocking", f"OpenCV cannot be imported: {software.opencv_fault}", "no picture can be read", mend)]


def _twins(software: Software) -> list[Problem]:
    problems = []
    for module, pattern in _SHARED.items():
        found = [name for name in software.versions if pattern.fullmatch(name)]
        if len(found) > 1:
            keep = _kept(found)
            problems.append(
                Problem(
                    "warning",
                    f"{' and '.join(found)} are both installed",
                    f"each brings a module {module!r} and overwrites the other's files; which one runs is chance",
                    f"pip uninstall -y {' '.join(found)} && pip install {keep}",
                )
            )
    return problems


def _kept(names: list[str]) -> str:
    """Choose the one to keep: OpenCV without windows, which needs no libGL; of ONNX Runtime the special build."""
    headless = [name for name in names if name.endswith("headless")]
    return headless[-1] if headless else max(names, key=len)
