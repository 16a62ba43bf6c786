"""What is wrong with a CUDA or TensorRT set-up, in words, with the command that mends it.

Reads what ONNX Runtime, the dynamic linker and the CUDA driver say. Each rule was made from texts that people got.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import distributions

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.engines.nvidia import is_jetson, library_in

_BUILDS = re.compile(r"onnxruntime(-(gpu|openvino|qnn|directml|migraphx|rocm|training|cann|silicon))?")
_JETSON_WHEEL = (
    "pip uninstall -y onnxruntime && pip install --index-url INDEX onnxruntime-gpu, where INDEX is NVIDIA's package "
    "index for the JetPack of this board: the usual index has no GPU build for it"
)
_JETPACK = "sudo apt install nvidia-jetpack brings CUDA, cuDNN and TensorRT as this JetPack has them"
_LIBRARIES = (
    ("libcudnn", "cuDNN", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
    ("libnvinfer", "TensorRT", "install TensorRT {major} and put the folder of {library} into LD_LIBRARY_PATH"),
    ("libnvonnxparser", "TensorRT", "install TensorRT {major} and put the folder of {library} into LD_LIBRARY_PATH"),
    ("libcublas", "cuBLAS of CUDA", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
    ("libcuda.so", "the NVIDIA driver", "install the driver; in a container start it with --gpus all"),
    ("libcu", "CUDA", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
    ("libnv", "CUDA", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
)
"""Start of a library's name, what brings it, and how it is had on a machine that is no Jetson."""
_DRIVER = "update the NVIDIA driver, or install an onnxruntime-gpu that was built for the CUDA of this driver"


def fault(provider: str, received: str, text: str, *, jetson: bool | None = None) -> EnvironmentFault:
    """Return the error for a provider that does not run.

    Args:
        provider: ``cuda`` or ``tensorrt``.
        received: What happened, e.g. ``ONNX Runtime runs on CPUExecutionProvider``.
        text: What the library or the linker said; empty when nothing.
        jetson: Whether this is a Jetson; looked up by default.
    """
    board = is_jetson() if jetson is None else jetson
    expected, remedy = _explained(provider, text, board)
    said = " ".join(text.split())
    return EnvironmentFault(f"{received}: {said}" if said else received, expected=expected, remedy=remedy)


def wrong_build(installed: Iterable[str] | None = None, *, jetson: bool | None = None) -> tuple[str | None, str]:
    """Say why an installed ONNX Runtime has no NVIDIA provider.

    Args:
        installed: Names of the installed distributions; looked up by default.
        jetson: Whether this is a Jetson; looked up by default.

    Returns:
        What is wrong beside the missing provider, or ``None``, and the remedy.
    """
    names = [item.metadata["Name"] or "" for item in distributions()] if installed is None else installed
    builds = sorted(
        {name.lower().replace("_", "-") for name in names if _BUILDS.fullmatch(name.lower().replace("_", "-"))}
    )
    board = is_jetson() if jetson is None else jetson
    if len(builds) > 1:
        what = f"{' and '.join(builds)} are both installed and overwrite each other's files"
        again = _JETSON_WHEEL.partition(" && ")[2] if board else "pip install onnxruntime-gpu"
        return what, f"pip uninstall -y {' '.join(builds)} && {again}"
    if board:
        return None, _JETSON_WHEEL
    return None, f"pip uninstall -y {builds[0] if builds else 'onnxruntime'} && pip install onnxruntime-gpu"


def _explained(provider: str, text: str, jetson: bool) -> tuple[str, str]:
    """Return what was expected and the remedy."""
    library = library_in(text)
    if library is not None:
        return _missing(library, jetson)
    for pattern, expected, elsewhere, on_jetson in _RULES:
        if re.search(pattern, text, re.IGNORECASE):
            return expected, on_jetson if jetson else elsewhere
    name = "TensorRT" if provider == "tensorrt" else "CUDA"
    doctor = "edgekit doctor tries every provider"
    return f"a device and libraries that run {name}", f"{_JETPACK}; {doctor}" if jetson else doctor


def _missing(library: str, jetson: bool) -> tuple[str, str]:
    for start, brought, elsewhere in _LIBRARIES:
        if library.startswith(start):
            major = library.rpartition(".")[2]
            expected = f"{brought} {major} ({library})" if major.isdecimal() else f"{brought} ({library})"
            return expected, _jetson_library(library) if jetson else elsewhere.format(library=library, major=major)
    return f"the library {library}", f"install the package that brings {library}"


def _jetson_library(library: str) -> str:
    return (
        f"{_JETPACK}; when {library} is of another version than it brings, the onnxruntime-gpu wheel was made for "
        "another JetPack: install the one from NVIDIA's package index for this JetPack"
    )


_RULES = (
    (
        r"CUDA failure 35|driver version is insufficient|UNSUPPORTED_DRIVER|CUDA failure 803",
        "a driver at least as new as the CUDA that ONNX Runtime was built with",
        _DRIVER,
        f"the driver of a Jetson comes with its JetPack: {_JETSON_WHEEL}",
    ),
    (
        r"no kernel image|NoKernelImageForDevice|CUDA failure 209",
        "a build of ONNX Runtime for the compute capability of this GPU",
        "install a newer onnxruntime-gpu; GPUs older than those it was built for need an older one",
        _JETSON_WHEEL,
    ),
    (
        r"no CUDA-capable device|CUDA failure 100\b",
        "a CUDA device that this user may open",
        "see that nvidia-smi lists the GPU; in a container start it with --gpus all; unset CUDA_VISIBLE_DEVICES",
        "sudo usermod -aG video,render $USER and log in again; in a container start it with --runtime nvidia",
    ),
    (
        r"invalid device ordinal|CUDA failure 101\b",
        "the number of a device that is there",
        "nvidia-smi lists the devices; the first is 0",
        "a Jetson has the device 0 alone",
    ),
    (
        r"out of memory|CUDA failure 2\b|Failed to allocate memory",
        "enough free memory on the GPU",
        "end other programs that use the GPU, or run a smaller model or the fp16 recipe",
        "a Jetson shares its memory with the system: end other programs and the desktop, add swap for the building "
        "of engines, or run a smaller model or the fp16 recipe",
    ),
    (
        r"install TensorRT libraries",
        "TensorRT of the version that ONNX Runtime was built with, in LD_LIBRARY_PATH",
        "install TensorRT and put the folder of its libnvinfer.so into LD_LIBRARY_PATH",
        _JETPACK,
    ),
    (
        r"CUDA_PATH is set but CUDA wasn'?t able to be loaded|install the correct version of CUDA",
        "CUDA and cuDNN of the versions that ONNX Runtime was built with",
        "pip install 'onnxruntime-gpu[cuda,cudnn]', and unset CUDA_PATH when it names another CUDA",
        _JETPACK,
    ),
    (
        r"(GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",
        "a wheel that was built for this system",
        "install an older onnxruntime-gpu, or a newer system",
        _JETSON_WHEEL,
    ),
)
"""Text, what was expected, the remedy elsewhere and on a Jetson."""
