"""ONNX Runtime: runs ``.onnx`` files on an execution provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import ONNX_IO_METADATA, Array, Engine, TensorInfo
from edgekit.errors import EnvironmentFault, ModelRefused
from edgekit_runtimes.engines.common import (
    artifact_size,
    cannot_load,
    cannot_run,
    import_library,
    reason,
    thread_count,
)
from edgekit_runtimes.engines.external_data import check_external_data
from edgekit_runtimes.engines.io_quantization import parse_io_quantization
from edgekit_runtimes.engines.providers import (
    CPU,
    PROVIDERS,
    Provider,
    announce_build,
    check_placement,
    placement,
)
from edgekit_runtimes.engines.saturation import X64_QUANT_PRECISION, int8_saturates

_ERRORS_ONLY = 3
_RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class OnnxRuntimeEngine(Engine):
    """Runs an ``.onnx`` file with all graph optimisations.

    Args:
        path: The file; its external data must lie beside it.
        threads: Threads inside an operator; ``None`` lets the engine choose.
        provider: Execution provider, ``cuda``, ``cuda:1`` or ``CUDAExecutionProvider``. It runs the model or the
            engine refuses; operators that it does not know run on the CPU, which ONNX Runtime always adds, and their
            number is said on standard error.
        x64_quant_precision: Whether to compute int8 sums on x86-64 with exact instructions that are slower; ``None``
            does so where the fast ones saturate (AVX2 or AVX-512 without VNNI), ``False`` gives wrong sums there.

    Attributes:
        name: ``onnxruntime`` on the CPU, ``onnxruntime:PROVIDER[:DEVICE]`` elsewhere.
        provider: Execution provider that runs.
        nodes: Execution provider -> nodes of the graph that it runs; ``None`` on the CPU, which runs them all, and
            where the library does not say.
        x64_quant_precision: Whether the exact instructions were asked for.
    """

    name: ClassVar[str] = "onnxruntime"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    providers: ClassVar[tuple[str, ...]] = tuple(PROVIDERS)

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        provider: str = CPU,
        x64_quant_precision: bool | None = None,
    ) -> None:
        asked = Provider.named(provider)
        artifact_size(path)
        check_external_data(path)
        self.path = path
        self._library = _library()
        self.x64_quant_precision = int8_saturates(self._library) if x64_quant_precision is None else x64_quant_precision
        self._session: Any = self._open(asked, thread_count(threads))
        self.provider = _running_provider(self._session, asked.name)
        self.nodes = None if asked.name == CPU else placement(self._session)
        check_placement(asked, path, self.nodes)
        self.name = asked.label  # type: ignore[misc]  # the provider is part of what runs
        quantized = _io_quantization(path, self._session)
        self.inputs = tuple(_tensor_info(path, node, quantized) for node in self._session.get_inputs())
        self.outputs = tuple(_tensor_info(path, node, quantized) for node in self._session.get_outputs())
        self._output_names = [info.name for info in self.outputs]

    @classmethod
    def available_providers(cls) -> tuple[str, ...]:
        """Short names of the execution providers that the installed library was built with.

        Raises:
            MissingExtra: It is not installed; EnvironmentFault when it cannot be imported.
        """
        built = _library().get_available_providers()
        return tuple(name for name, full in PROVIDERS.items() if full in built)

    @property
    def version(self) -> str:
        """Version of ONNX Runtime."""
        return str(self._library.__version__)

    def _open(self, asked: Provider, threads: int) -> Any:
        available = self._library.get_available_providers()
        asked.check(available)
        chain = asked.chain(self.path, threads, available, self.version)
        options = self._options(threads)
        if asked.name != CPU:
            options.add_session_config_entry(_RECORD_PLACEMENT, "1")
        asked.configure(options)
        announce_build(asked, self.path, chain)
        try:
            # Without its fallback, which would print to standard output and open the model on the CPU.
            return self._library.InferenceSession(str(self.path), options, providers=chain, enable_fallback=0)
        except Exception as error:  # its errors share no base class below Exception
            if asked.name != CPU and self._opens_on_cpu():
                raise EnvironmentFault(
                    f"{asked.name} cannot run {self.path.name} here: {reason(error)}",
                    expected="a provider whose libraries and device are there",
                    remedy=f"install what {asked.name} needs; edgekit doctor tries every provider",
                ) from error
            raise cannot_load(self.path, "ONNX Runtime", error) from error

    def _options(self, threads: int) -> Any:
        options = self._library.SessionOptions()
        options.graph_optimization_level = self._library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        if self.x64_quant_precision:
            options.add_session_config_entry(X64_QUANT_PRECISION, "1")
        return options

    def _opens_on_cpu(self) -> bool:
        """Tell whether the file is one that ONNX Runtime opens: then it was the provider that failed."""
        try:
            self._library.InferenceSession(str(self.path), self._options(1), providers=[CPU])
        except Exception:  # its errors share no base class below Exception
            return False
        return True

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if self._session is None:
            raise RuntimeError("the engine is closed")
        stored = {info.name: info.quantize(feeds[info.name]) for info in self.inputs}
        try:
            results = self._session.run(self._output_names, stored)
        except Exception as error:  # its errors share no base class below Exception
            raise cannot_run(self.path, "ONNX Runtime", error, (array.shape for array in feeds.values())) from error
        return {info.name: info.dequantize(result) for info, result in zip(self.outputs, results, strict=True)}

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _library() -> Any:
    """Import ONNX Runtime. Raises MissingExtra when it is not installed, EnvironmentFault when it is broken."""
    return import_library("onnxruntime", "running .onnx needs ONNX Runtime, which is not installed", "onnxruntime")


def _running_provider(session: Any, wanted: str) -> str:
    """Return the provider that a session runs on. Raises EnvironmentFault when it is not the one asked for."""
    running = [str(name) for name in session.get_providers()]
    if running[0] != wanted:
        raise EnvironmentFault(
            f"ONNX Runtime runs on {running[0]}",
            expected=wanted,
            remedy=f"install what {wanted} needs; edgekit doctor tries every provider",
        )
    return wanted


def _io_quantization(path: Path, session: Any) -> dict[str, tuple[float, int]]:
    """Scale and zero point of integer inputs and outputs, as the file's metadata gives them."""
    text = session.get_modelmeta().custom_metadata_map.get(ONNX_IO_METADATA)
    if text is None:
        return {}
    return parse_io_quantization(path, text)


def _tensor_info(path: Path, node: Any, quantized: Mapping[str, tuple[float, int]]) -> TensorInfo:
    if node.type not in _DTYPES:
        raise ModelRefused(f"tensor {node.name!r} of {path} is a {node.type}", expected="tensors of numbers")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape or ())
    scale, zero_point = quantized.get(node.name, (None, 0))
    return TensorInfo(node.name, shape, np.dtype(_DTYPES[node.type]).name, scale, zero_point)
