"""NVIDIA's side of a machine: its device, its TensorRT, and which of its libraries does not load.

Asked through the libraries themselves (``libcuda``, ``libnvinfer``), because a Jetson has no ``nvidia-smi`` and nothing
of theirs has to be installed for Python.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Load = Callable[[str], Any]

_NVINFER = ("libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so.11", "libnvinfer.so")
_MAJOR, _MINOR = 75, 76
"""CUdevice_attribute numbers of the compute capability."""
_NAME_BYTES = 256
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


@dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes:
        name: As the driver gives it, e.g. ``Orin``.
        capability: Compute capability, e.g. ``8.7``.
    """

    name: str
    capability: str


def gpu(index: int, load: Load = ctypes.CDLL) -> Gpu | None:
    """Return a CUDA device; ``None`` when the driver does not give it."""
    try:
        driver = load("libcuda.so.1")
        device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
        numbers = [ctypes.c_int(), ctypes.c_int()]
        calls = [
            driver.cuInit(0),
            driver.cuDeviceGet(ctypes.byref(device), index),
            driver.cuDeviceGetName(name, _NAME_BYTES, device),
            *(
                driver.cuDeviceGetAttribute(ctypes.byref(number), which, device)
                for number, which in zip(numbers, (_MAJOR, _MINOR), strict=True)
            ),
        ]
    except (OSError, AttributeError):
        return None
    if any(calls):
        return None
    return Gpu(name.value.decode("utf-8", "replace"), ".".join(str(number.value) for number in numbers))


def tensorrt_version(load: Load = ctypes.CDLL) -> str | None:
    """Return the version of TensorRT that is installed, e.g. ``10.3.0``; ``None`` when none loads."""
    for name in _NVINFER:
        try:
            number = int(load(name).getInferLibVersion())
        except (OSError, AttributeError):
            continue
        # 8.6.1 is 8601, 10.3.0 is 100300.
        thousand = 10_000 if number >= 100_000 else 1_000
        return f"{number // thousand}.{number % thousand // 100}.{number % 100}"
    return None


def missing_libraries(folder: Path, provider: str, load: Load = ctypes.CDLL) -> Sequence[str]:
    """Return what keeps a provider of ONNX Runtime from loading, as the dynamic linker says it.

    ONNX Runtime itself tells it on standard error only, and opens the model on the CPU instead.

    Args:
        folder: The ``capi`` folder of the installed package.
        provider: ``cuda`` or ``tensorrt``.
        load: Loads a library.

    Returns:
        One line, or none when it loads or there is no such file.
    """
    path = folder / f"libonnxruntime_providers_{provider}.so"
    if not path.is_file():
        return ()
    try:
        # Only after ONNX Runtime has tried: a provider that loads before its host is set is of no use afterwards.
        load(str(path))
    except OSError as error:
        return (str(error),)
    return ()


def library_in(text: str) -> str | None:
    """Return the library that an error text says is missing, e.g. ``libcudnn.so.9``."""
    found = _MISSING.search(text)
    return found[1] if found else None


def is_jetson(root: Path = Path("/")) -> bool:
    """Tell whether this is one of NVIDIA's Jetson boards."""
    if (root / "etc" / "nv_tegra_release").is_file():
        return True
    try:
        return "Jetson" in (root / "proc" / "device-tree" / "model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
