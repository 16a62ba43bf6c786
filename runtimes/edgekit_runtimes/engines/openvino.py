"""OpenVINO: runs ``.onnx`` and ``.tflite`` files on the CPU.

It enters as a third party's engine does, through the entry-point group ``edgekit.engines`` alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import ONNX_IO_METADATA, Array, Engine, TensorInfo
from edgekit.errors import ModelRefused, reason
from edgekit_runtimes.engines.common import (
    artifact_size,
    cannot_run,
    import_library,
    thread_count,
    unique_names,
)
from edgekit_runtimes.engines.external_data import check_external_data
from edgekit_runtimes.engines.io_quantization import parse_io_quantization

_STEPS = 6
_SINGLE = ("Transpose", "Convert", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that OpenVINO puts between a quantized input or output and its scale."""
_NOISE = ("Exception from ", "Check '")
"""What stands before OpenVINO's reasons: places in its source."""
_SMALL_INTEGERS = ("int8", "uint8", "int16")


class OpenVinoEngine(Engine):
    """Runs a file on OpenVINO's CPU plug-in, one sample at a time, in full float precision.

    Args:
        path: A ``.onnx`` file, its external data beside it, or a ``.tflite`` file.
        threads: Threads of an inference; ``None`` lets the engine choose.

    Attributes:
        threads: Threads that OpenVINO says it uses.
    """

    name: ClassVar[str] = "openvino"
    formats: ClassVar[tuple[str, ...]] = ("onnx", "tflite")

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        artifact_size(path)
        if path.suffix == ".onnx":
            check_external_data(path)
        self.path = path
        self._library = _library()
        try:
            model = self._library.Core().read_model(str(path))
            compiled = self._library.Core().compile_model(model, "CPU", _properties(thread_count(threads)))
            self._request: Any = compiled.create_infer_request()
        except RuntimeError as error:
            raise _cannot_load(path, error) from error
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self.inputs = _infos(path, model, model.inputs, _after)
        self.outputs = _infos(path, model, model.outputs, _before)

    @property
    def version(self) -> str:
        """Version of OpenVINO, without its build."""
        return str(self._library.__version__).partition("-")[0]

    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        if self._request is None:
            raise RuntimeError("the engine is closed")
        stored = {at: info.quantize(feeds[info.name]) for at, info in enumerate(self.inputs)}
        try:
            self._request.infer(stored)
            # The tensors are the request's own: what is returned must survive the next run.
            found = [np.array(self._request.get_output_tensor(at).data) for at in range(len(self.outputs))]
        except RuntimeError as error:
            raise cannot_run(self.path, "OpenVINO", error, (array.shape for array in feeds.values())) from error
        return {info.name: info.dequantize(array) for info, array in zip(self.outputs, found, strict=True)}

    def close(self) -> None:
        """Free the request and its model."""
        self._request = None


def _library() -> Any:
    """Import OpenVINO. Raises MissingExtra when it is not installed, EnvironmentFault when it is broken.

    OpenVINO tells its makers of each model that is read, through a package that forks this process to do so. Nobody
    who runs a model asked for that; without the package OpenVINO works as well.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes importing it fail
    return import_library("openvino", "engine 'openvino' needs OpenVINO, which is not installed", "openvino")


def _cannot_load(path: Path, error: RuntimeError) -> ModelRefused:
    """Return the refusal of a file; OpenVINO knows fewer operators than the engine that the format is made for."""
    lines = [line for line in str(error).splitlines() if not line.startswith(_NOISE)]
    usual = {".tflite": "litert", ".onnx": "onnxruntime"}.get(path.suffix, "litert")
    return ModelRefused(
        f"OpenVINO cannot load {path} ({path.stat().st_size} bytes): {reason(RuntimeError(' '.join(lines)))}",
        expected=f"a whole {path.suffix} file with operators that OpenVINO knows",
        remedy=f"run it with --engine {usual}; if that refuses it too, copy or convert it again",
    )


def _properties(threads: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # Without it OpenVINO computes in bfloat16 where the CPU can, and the answers are no longer the model's.
        "INFERENCE_PRECISION_HINT": "f32",
    }


def _infos(
    path: Path, model: Any, ports: Sequence[Any], find: Callable[[Any], tuple[float, int] | None]
) -> tuple[TensorInfo, ...]:
    names = unique_names(sorted(port.names)[0] if port.names else port.node.get_friendly_name() for port in ports)
    stored = _stored_quantization(path, model)
    infos = []
    for name, port in zip(names, ports, strict=True):
        dtype = _dtype(path, name, port)
        quantized = stored.get(name) if path.suffix == ".onnx" else None
        if path.suffix == ".tflite" and dtype in _SMALL_INTEGERS:
            quantized = _scale_of(path, name, find(port))
        scale, zero_point = quantized or (None, 0)
        infos.append(TensorInfo(name, _shape(path, name, port), dtype, scale, zero_point))
    return tuple(infos)


def _dtype(path: Path, name: str, port: Any) -> str:
    try:
        return str(np.dtype(port.element_type.to_dtype()).name)
    except (RuntimeError, TypeError, KeyError) as error:
        raise ModelRefused(
            f"tensor {name!r} of {path} holds {port.element_type}", expected="tensors of numbers"
        ) from error


def _shape(path: Path, name: str, port: Any) -> tuple[int | None, ...]:
    if port.partial_shape.rank.is_dynamic:
        raise ModelRefused(f"tensor {name!r} of {path} has any number of dimensions", expected="a fixed number")
    return tuple(None if size.is_dynamic else int(size.get_length()) for size in port.partial_shape)


def _stored_quantization(path: Path, model: Any) -> dict[str, tuple[float, int]]:
    """Scale and zero point of integer inputs and outputs, as an ``.onnx`` file's metadata gives them."""
    key = ["framework", ONNX_IO_METADATA]
    if path.suffix != ".onnx" or not model.has_rt_info(key):
        return {}
    return parse_io_quantization(path, str(model.get_rt_info(key).value))


def _scale_of(path: Path, name: str, found: tuple[float, int] | None) -> tuple[float, int]:
    """Return a scale that was found. Raises ModelRefused where OpenVINO's graph does not show it."""
    if found is None:
        raise ModelRefused(
            f"OpenVINO does not tell the scale of the integers in tensor {name!r} of {path}",
            expected="a .tflite file with float inputs and outputs",
            remedy="run it with --engine litert",
        )
    return found


def _after(port: Any) -> tuple[float, int] | None:
    """Scale and zero point of an input: a ``FakeQuantize`` follows that maps its integers to floats."""
    node = port.node
    for _ in range(_STEPS):
        targets = [target.get_node() for target in node.output(0).get_target_inputs()]
        if not targets:
            return None
        node = targets[0]
        if node.get_type_name() == "FakeQuantize":
            integers, floats = _ranges(node)
            return _quantization(integers, floats)
        if node.get_type_name() not in _SINGLE:
            return None
    return None


def _before(port: Any) -> tuple[float, int] | None:
    """Scale and zero point of an output: a ``FakeQuantize`` precedes that maps floats to its integers."""
    node = port.node
    for _ in range(_STEPS):
        node = node.input(0).get_source_output().get_node()
        if node.get_type_name() == "FakeQuantize":
            floats, integers = _ranges(node)
            return _quantization(integers, floats)
        if node.get_type_name() not in _SINGLE:
            return None
    return None


def _ranges(node: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lowest and highest number that goes into a ``FakeQuantize``, and that comes out."""
    ends = [node.input(at).get_source_output().get_node() for at in range(1, 5)]
    low, high, low_out, high_out = (float(np.ravel(end.data)[0]) for end in ends)
    return (low, high), (low_out, high_out)


def _quantization(integers: tuple[float, float], floats: tuple[float, float]) -> tuple[float, int]:
    scale = (floats[1] - floats[0]) / (integers[1] - integers[0])
    return scale, round(integers[0] - floats[0] / scale)
