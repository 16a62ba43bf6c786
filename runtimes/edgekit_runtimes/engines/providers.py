"""The execution providers of ONNX Runtime: their short names, and the options that each gets.

``onnxruntime:PROVIDER[:DEVICE]`` asks for one. What was asked for runs or is refused: a provider that the library was
not built with, that does not load, or that takes no part of the model is an error, never another one in its place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import EnvironmentFault, UsageError

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "xnnpack": "XnnpackExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "dml": "DmlExecutionProvider",
}
"""Short name -> ONNX Runtime's name."""
NVIDIA = ("cuda", "tensorrt")
"""Short names of those that stand on NVIDIA's libraries."""

_SHORT = {full: short for short, full in PROVIDERS.items()}
_INDEX = (r"\d+", "the number of a device, e.g. 0")
_DEVICES = {
    "openvino": (r"(CPU|GPU|NPU)(\.\d+)?", "CPU, GPU or NPU, or GPU.1 for the second one"),
    "cuda": _INDEX,
    "tensorrt": _INDEX,
    "coreml": ("ALL|CPUOnly|CPUAndGPU|CPUAndNeuralEngine", "ALL, CPUOnly, CPUAndGPU or CPUAndNeuralEngine"),
    "qnn": ("htp|gpu|cpu", "htp, gpu or cpu"),
    "dml": _INDEX,
}
"""Short name -> what may stand for its device, as a pattern and in words."""
_PACKAGES = {
    "openvino": "onnxruntime-openvino",
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "qnn": "onnxruntime-qnn",
    "dml": "onnxruntime-directml",
}
_Options = dict[str, str]


@dataclass(frozen=True)
class Provider:
    """An execution provider that was asked for.

    Attributes:
        name: ONNX Runtime's name.
        short: As ``--engine onnxruntime:SHORT`` takes it; a name without a short one stands for itself.
        device: Its device; ``None`` leaves the usual one.
    """

    name: str
    short: str
    device: str | None = None

    @classmethod
    def named(cls, text: str) -> Provider:
        """Read ``cuda``, ``cuda:1`` or ``CUDAExecutionProvider``. Raises UsageError for a device it cannot have."""
        word, _, device = text.partition(":")
        short = _SHORT.get(word, word)
        pattern, words = _DEVICES.get(short, ("(?!)", f"{short!r} alone, it has one device"))
        if device and not re.fullmatch(pattern, device):
            raise UsageError(f"device {device!r} for execution provider {short!r}", expected=words)
        return cls(PROVIDERS.get(short, word), short, device or None)

    @property
    def label(self) -> str:
        """As ``--engine`` takes it: ``onnxruntime`` on the CPU, ``onnxruntime:cuda:1`` elsewhere."""
        if self.name == CPU:
            return "onnxruntime"
        return ":".join(["onnxruntime", self.short, *([self.device] if self.device else [])])

    def check(self, available: Sequence[str]) -> None:
        """Raise EnvironmentFault, naming what there is, when the library was built without this provider."""
        if self.name in available:
            return
        known = [f"onnxruntime:{_SHORT[name]} ({name})" for name in available if name in _SHORT]
        package = _PACKAGES.get(self.short)
        wrong = None
        remedy = (
            f"pip uninstall -y onnxruntime && pip install {package}"
            if package
            else "install a build of ONNX Runtime that has it, or ask for another provider"
        )
        if self.short in NVIDIA:
            from edgekit_runtimes.engines import nvidia_faults

            wrong, remedy = nvidia_faults.wrong_build()
        received = f"ONNX Runtime here has no {self.name}"
        raise EnvironmentFault(
            f"{received}: {wrong}" if wrong else received, expected=" or ".join(known), remedy=remedy
        )

    def chain(
        self, threads: int, available: Sequence[str], tensorrt: Mapping[str, str] | None = None
    ) -> list[tuple[str, _Options]]:
        """Return the providers of a session with their options, the one asked for first.

        TensorRT leaves what it does not know to CUDA on the same device, as NVIDIA advises; whatever no provider knows
        runs on the CPU, which ONNX Runtime adds itself.

        Args:
            threads: Threads inside an operator.
            available: Providers that the library was built with.
            tensorrt: Options of a build, when this is TensorRT.
        """
        chain = [(self.name, dict(tensorrt) if tensorrt is not None else self._options(threads))]
        if self.short == "tensorrt" and PROVIDERS["cuda"] in available:
            chain.append((PROVIDERS["cuda"], _cuda(self.device)))
        return chain

    def configure(self, options: Any) -> None:
        """Set what a session needs for this provider in its ``SessionOptions``."""
        if self.short == "xnnpack":  # it has threads of its own: two pools that spin would fight for the cores
            options.intra_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self.short == "dml":
            options.enable_mem_pattern = False  # DirectML refuses a session with it

    def _options(self, threads: int) -> _Options:
        options = {
            "xnnpack": {"intra_op_num_threads": str(threads)},
            # Without a precision it computes in bfloat16 where the CPU can: no longer the model's answers.
            "openvino": {
                "device_type": self.device or "CPU",
                "precision": "ACCURACY",
                "num_of_threads": str(threads),
            },
            "cuda": _cuda(self.device),
            "coreml": {"ModelFormat": "MLProgram", "MLComputeUnits": self.device or "ALL"},
            "qnn": {"backend_path": qnn_library(self.device or "htp", sys.platform)},
            "dml": {"device_id": self.device or "0"},
        }
        return options.get(self.short, {})


def qnn_library(backend: str, platform: str) -> str:
    """Return the file name of a QNN backend: ``libQnnHtp.so``, on Windows ``QnnHtp.dll``."""
    stem = f"Qnn{backend.capitalize()}"
    return f"{stem}.dll" if platform == "win32" else f"lib{stem}.so"


def placement(session: Any) -> dict[str, int] | None:
    """Count the nodes of a session's graph on each provider; ``None`` where the library does not say (before 1.24)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return None
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[str(part.ep_name)] = counts.get(str(part.ep_name), 0) + len(part.get_nodes())
    return counts


def check_placement(provider: Provider, path: Path, counts: dict[str, int] | None) -> None:
    """Refuse a provider that runs no node of the model; say how many it runs when others run the rest.

    Raises:
        EnvironmentFault: It runs none.
    """
    if counts is None:
        return
    total, own = sum(counts.values()), counts.get(provider.name, 0)
    others = ", ".join(name for name in counts if name != provider.name)
    if own == 0:
        raise EnvironmentFault(
            f"{provider.name} runs none of the {total} nodes of {path.name}; {others} would run them",
            remedy=f"ask for what runs them, e.g. --engine onnxruntime:{_SHORT.get(next(iter(counts), CPU), 'cpu')}",
        )
    if own < total:
        sys.stderr.write(f"{provider.label} runs {own} of {total} nodes of {path.name}, {others} the others\n")
        sys.stderr.flush()


def _cuda(device: str | None) -> _Options:
    # TF32 keeps 10 bits of a float's 23: the answers would no longer be the model's to 1e-4.
    return {"device_id": device or "0", "use_tf32": "0"}
