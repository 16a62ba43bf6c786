"""ONNX Runtime: runs ``.onnx`` files on an execution provider."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgekit.engine import ONNX_IO_METADATA, Array, Engine, TensorInfo
from edgekit.errors import EnvironmentFault, ModelRefused, reason
from edgekit_runtimes.engines.common import (
    artifact_size,
    cannot_load,
    cannot_run,
    import_library,
    thread_count,
)
from edgekit_runtimes.engines.external_data import check_external_data
from edgekit_runtimes.engines.io_quantization import parse_io_quantization
from edgekit_runtimes.engines.providers import CPU, NVIDIA, PROVIDERS, Provider, check_placement, placement
from edgekit_runtimes.engines.saturation import X64_QUANT_PRECISION, int8_saturates

if TYPE_CHECKING:
    from edgekit_runtimes.engines.tensorrt import Build

_ERRORS_ONLY = 3
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
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
        self._build: Build | None = None
        self._session: Any = self._open(asked, thread_count(threads))
        self.provider = asked.name
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
        if asked.short in NVIDIA:
            _preload(self._library)
        if asked.short == "tensorrt":
            from edgekit_runtimes.engines import tensorrt  # a board that runs on its processor needs none of it

            self._build = tensorrt.prepare(self.path, self.version, asked.device or "0")
        chain = asked.chain(threads, available, self._build.options if self._build else None)
        options = self._options(threads)
        if asked.name != CPU:
            options.add_session_config_entry(_RECORD_PLACEMENT, "1")
        asked.configure(options)
        try:
            with self._announced():
                # Without its fallback, which would print to standard output and open the model on the CPU.
                session = self._library.InferenceSession(
                    self._source(options), options, providers=chain, enable_fallback=0
                )
                self._check_running(asked, session)
                return session
        except EnvironmentFault:
            raise
        except Exception as error:  # its errors share no base class below Exception
            if asked.name != CPU and self._opens_on_cpu():
                raise self._cannot_run_on(asked, reason(error)) from error
            raise cannot_load(self.path, "ONNX Runtime", error) from error

    def _source(self, options: Any) -> str | bytes:
        """Return what to open: the file, or what TensorRT takes instead of it."""
        if self._build is None or self._build.model is None:
            return str(self.path)
        options.add_session_config_entry(_EXTERNAL_FOLDER, str(self.path.resolve().parent))
        return self._build.model

    def _announced(self) -> AbstractContextManager[None]:
        """Say that an engine is built, where one will be."""
        if self._build is None or self._build.built:
            return nullcontext()
        from edgekit_runtimes.engines.building import announced

        precision = self._build.precision
        return announced(f"the {precision} TensorRT engine of {self.path.name}", str(self._build.folder))

    def _cannot_run_on(self, asked: Provider, said: str, received: str | None = None) -> EnvironmentFault:
        """Return the error for a provider that does not run the model."""
        received = received or f"{asked.name} cannot run {self.path.name} here"
        if asked.short not in NVIDIA:
            return EnvironmentFault(
                f"{received}: {said}" if said else received,
                expected="a provider whose libraries and device are there",
                remedy=f"install what {asked.name} needs; edgekit doctor tries every provider",
            )
        from edgekit_runtimes.engines import nvidia, nvidia_faults

        folder = Path(self._library.__file__).parent / "capi"
        missing = nvidia.missing_libraries(folder, asked.short) if nvidia.library_in(said) is None else ()
        return nvidia_faults.fault(asked.short, received, " ".join([*missing, said]) if missing else said)

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
            if self._build is not None and not self._build.built:
                with self._announced():  # with dimensions that are free, TensorRT builds when it sees the first input
                    results = self._session.run(self._output_names, stored)
            else:
                results = self._session.run(self._output_names, stored)
        except Exception as error:  # its errors share no base class below Exception
            raise cannot_run(self.path, "ONNX Runtime", error, (array.shape for array in feeds.values())) from error
        return {info.name: info.dequantize(result) for info, result in zip(self.outputs, results, strict=True)}

    @property
    def unproved(self) -> Path | None:
        """Where to write down that an engine built on this machine gives the original's answers; ``None`` when it is.

        Only TensorRT builds engines: its kernels were never tried on the bundle's golden samples before.
        """
        return self._build.proof if self._build is not None and not self._build.proof.is_file() else None

    def _check_running(self, asked: Provider, session: Any) -> None:
        """Refuse another provider than the one asked for: ONNX Runtime takes one without an error, and says nothing."""
        running = [str(name) for name in session.get_providers()]
        if running[0] != asked.name:
            raise self._cannot_run_on(asked, "", f"ONNX Runtime runs on {running[0]} instead of {asked.name}")

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _library() -> Any:
    """Import ONNX Runtime. Raises MissingExtra when it is not installed, EnvironmentFault when it is broken."""
    return import_library("onnxruntime", "running .onnx needs ONNX Runtime, which is not installed", "onnxruntime")


def _preload(library: Any) -> None:
    """Load CUDA and cuDNN from NVIDIA's Python packages, where they are installed: the linker does not look there."""
    if not hasattr(library, "preload_dlls"):  # before 1.21
        return
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError):
        library.preload_dlls()


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
