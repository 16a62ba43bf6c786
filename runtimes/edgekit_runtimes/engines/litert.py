"""LiteRT (formerly TensorFlow Lite): runs ``.tflite`` files.

The interpreter comes from ``ai_edge_litert``. Only where that is not installed, ``tflite_runtime`` (32-bit and old
boards) and then a full TensorFlow serve instead; their interpreter is the same code, older.

XNNPACK's weight cache is not used. LiteRT 2.3 reaches it through ``CompiledModel`` only, which ends the process
(SIGABRT) when the disk is full while the cache is written, answers wrongly without an error from a damaged cache file
or that of another model, reads no int64 tensors, and tells neither quantization parameters nor dynamic dimensions.
``tests/benchmarks/weight_cache.py`` shows it, and what the cache saves.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array, Engine, TensorInfo
from edgekit.errors import EnvironmentFault, MissingExtra, ModelRefused, reason
from edgekit_runtimes.engines.common import (
    artifact_size,
    cannot_load,
    cannot_run,
    refuse_strings,
    thread_count,
    unique_names,
)
from edgekit_runtimes.engines.native_log import without_native_info

INTERPRETERS = (
    "ai_edge_litert.interpreter",
    "tflite_runtime.interpreter",
    "tensorflow.lite.python.interpreter",
)
"""Modules with an ``Interpreter``, the preferred first."""
_OLD_RUNTIME = "tflite_runtime"


class LiteRTEngine(Engine):
    """Runs a ``.tflite`` file on the CPU with XNNPACK.

    A tensor name that occurs twice gets a number: ``x``, ``x#2``. Dimensions that the file declares dynamic follow
    the inputs of each run; the interpreter is laid out anew only when they change.

    Attributes:
        library: Package that the interpreter came from.
    """

    name: ClassVar[str] = "litert"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        artifact_size(path)
        self.path = path
        module = _interpreter_module()
        self.library = module.__name__.partition(".")[0]
        try:
            with warnings.catch_warnings(), without_native_info():
                warnings.simplefilter("ignore")  # the older packages announce their own end at every start
                self._interpreter: Any = module.Interpreter(str(path), num_threads=thread_count(threads))
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, TypeError, MemoryError, OverflowError) as error:
            raise cannot_load(path, "LiteRT", error) from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs = _tensor_infos(path, inputs)
        self.outputs = _tensor_infos(path, outputs)
        self._inputs = [(info, int(detail["index"])) for info, detail in zip(self.inputs, inputs, strict=True)]
        self._outputs = [(info, int(detail["index"])) for info, detail in zip(self.outputs, outputs, strict=True)]
        self._shapes: dict[int, tuple[int, ...]] = {int(d["index"]): tuple(map(int, d["shape"])) for d in inputs}

    @property
    def version(self) -> str:
        """Version of the package that the interpreter came from."""
        return str(getattr(sys.modules[self.library], "__version__", "unknown"))

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if self._interpreter is None:
            raise RuntimeError("the engine is closed")
        try:
            self._lay_out(feeds)
            for info, index in self._inputs:
                self._interpreter.set_tensor(index, info.quantize(feeds[info.name]))
            self._interpreter.invoke()
            # get_tensor copies: what is returned survives the next run.
            return {info.name: info.dequantize(self._interpreter.get_tensor(index)) for info, index in self._outputs}
        except (ValueError, RuntimeError, TypeError, MemoryError, OverflowError) as error:
            self._shapes = {}  # a failed layout leaves the interpreter in none: lay it out anew next time
            raise cannot_run(self.path, "LiteRT", error, (array.shape for array in feeds.values())) from error

    def _lay_out(self, feeds: dict[str, Array]) -> None:
        """Resize the inputs and allocate, if the shapes are not those of the last run."""
        wanted = {index: feeds[info.name].shape for info, index in self._inputs}
        if wanted == self._shapes:
            return
        for index, shape in wanted.items():
            if self._shapes.get(index) != shape:
                self._interpreter.resize_tensor_input(index, shape)
        with without_native_info():
            self._interpreter.allocate_tensors()
        self._shapes = wanted

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def _interpreter_module() -> Any:
    """Import the first interpreter that is installed.

    Raises:
        MissingExtra: None is.
        EnvironmentFault: One is installed and broken; another is not taken in its place.
    """
    for name in INTERPRETERS:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            continue
        package = name.partition(".")[0]
        if package == _OLD_RUNTIME:
            _check_numpy(np.__version__)
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise EnvironmentFault(
                f"{package} is installed but cannot be imported: {reason(error)}",
                remedy=f"install {package} again, or remove it",
            ) from error
    raise MissingExtra(
        "running .tflite needs LiteRT, which is not installed", remedy="pip install 'edgekit-ai[litert]'"
    )


def _check_numpy(version: str) -> None:
    """Refuse tflite-runtime, last released in 2023, beside NumPy 2: it crashes the process or fails at random."""
    if int(version.partition(".")[0]) < 2:
        return
    raise EnvironmentFault(
        f"tflite-runtime was built for NumPy 1, and NumPy {version} is installed",
        expected="NumPy 1.26 beside tflite-runtime",
        remedy="pip install 'edgekit-ai[tflite]'; where there is a package of LiteRT, 'edgekit-ai[litert]' is better",
    )


def _tensor_infos(path: Path, details: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    names = unique_names(str(detail["name"]) for detail in details)
    return tuple(_tensor_info(path, name, detail) for name, detail in zip(names, details, strict=True))


def _tensor_info(path: Path, name: str, detail: dict[str, Any]) -> TensorInfo:
    dtype = np.dtype(detail["dtype"])
    refuse_strings(path, name, dtype)
    declared = detail.get("shape_signature")
    # Files without dynamic dimensions may leave the signature out.
    shape = declared if declared is not None and len(declared) == len(detail["shape"]) else detail["shape"]
    sizes = tuple(None if size < 0 else int(size) for size in shape)
    scales, zero_points = (detail["quantization_parameters"][key] for key in ("scales", "zero_points"))
    if len(scales) > 1:
        raise ModelRefused(
            f"tensor {name!r} of {path} has {len(scales)} scales", expected="one scale for an input or output"
        )
    if len(scales) == 0 or dtype.kind not in "iu":
        return TensorInfo(name, sizes, dtype.name)
    return TensorInfo(name, sizes, dtype.name, float(scales[0]), int(zero_points[0]) if len(zero_points) else 0)
