"""The door to engines: what runs an artifact.

An engine is found by name in the entry-point group ``edgekit.engines``, third parties' and the ones of
``edgekit_runtimes`` alike; the latter are also known here by name, because reading the metadata of every installed
package takes longer than opening a model. An engine that runs on several execution providers takes one after a colon:
``onnxruntime:cuda``, and a device of it after another: ``onnxruntime:cuda:1``. Floats at the edge: an engine whose
artifact has quantized inputs or outputs quantizes and dequantizes them itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused, EnvironmentFault, MissingExtra, ModelRefused

ENGINE_GROUP = "edgekit.engines"
BUILT_IN = {
    "litert": "edgekit_runtimes.engines.litert:LiteRTEngine",
    "onnxruntime": "edgekit_runtimes.engines.onnxruntime:OnnxRuntimeEngine",
}
ONNX_IO_METADATA = "edgekit.io_quantization"
"""Metadata entry of an ``.onnx`` file with scale and zero point of integer inputs and outputs, as JSON: ONNX itself
has no place for them."""
_EXACT_IN_FLOAT32 = 2
"""Bytes of the widest integers whose differences float32 holds exactly."""
FORMAT_SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx"}

Array = NDArray[Any]
Feeds = Mapping[str, Array]
_Self = TypeVar("_Self", bound="Engine")  # typing.Self needs Python 3.11


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the artifact itself declares it.

    Attributes:
        name: Name in the artifact.
        shape: Dimensions; ``None`` marks a dynamic one.
        dtype: numpy dtype name as stored (``int8`` for a quantized tensor).
        scale: Quantization scale, ``None`` for a float tensor.
        zero_point: Quantization zero point, 0 for a float tensor.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0

    def quantize(self, values: Array) -> Array:
        """Turn floats into stored integers: ``round(x / scale) + zero_point``, clipped to the dtype."""
        if self.scale is None:
            return values
        low, high = _limits(self.dtype)
        # One temporary, overwritten: a new array of a picture's size for each step takes half as long again.
        stored: Array = np.asarray(np.divide(values, np.float32(self.scale)))
        np.rint(stored, out=stored)
        if self.zero_point:
            np.add(stored, self.zero_point, out=stored)
        stored.clip(low, high, out=stored)
        return stored.astype(self.dtype)

    def dequantize(self, stored: Array) -> Array:
        """Turn stored integers into floats: ``(q - zero_point) * scale``."""
        if self.scale is None:
            return stored
        if stored.dtype.itemsize <= _EXACT_IN_FLOAT32:
            # The difference is exact, so the product is rounded once, as it is by way of float64.
            values: Array = stored.astype(np.float32)
            if self.zero_point:
                values -= self.zero_point
            values *= np.float32(self.scale)
            return values
        wide: Array = (stored.astype(np.int32) - self.zero_point) * np.float32(self.scale)
        return wide.astype(np.float32, copy=False)

    @cached_property
    def fed_dtype(self) -> np.dtype[Any]:
        """What `Engine._run` is given for this tensor as an input: float32 for a quantized one."""
        return np.dtype("float32" if self.scale is not None else self.dtype)


class Engine(ABC):
    """Runs one artifact. Use as a context manager.

    Subclasses set ``name`` and ``formats``, fill ``inputs`` and ``outputs`` in ``__init__`` and write ``_run``. One
    that names ``providers`` also takes a keyword ``provider``: what follows the first colon of
    ``NAME:PROVIDER[:DEVICE]``.

    Attributes:
        inputs: Input tensors in the artifact's order.
        outputs: Output tensors in the artifact's order.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    providers: ClassVar[tuple[str, ...]] = ()
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @abstractmethod
    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Open the artifact. Raises ModelRefused when it cannot be loaded, MissingExtra without its library."""

    @classmethod
    def available_providers(cls) -> tuple[str, ...]:
        """Those of `providers` that the installed library has; it may still fail to run one.

        Raises:
            EnvironmentFault: The library is not installed, or cannot be imported.
        """
        return ()

    @property
    def version(self) -> str:
        """Version of the engine's library."""
        return "unknown"

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: Artifact tensor name -> array of the declared shape; floats for quantized tensors.

        Returns:
            Artifact tensor name -> array; quantized outputs as float32.

        Raises:
            DataRefused: A missing or unknown name, or a wrong shape or dtype.
        """
        return self._run({info.name: _checked(info, feeds, self.inputs) for info in self.inputs})

    @abstractmethod
    def _run(self, feeds: dict[str, Array]) -> dict[str, Array]: ...

    def close(self) -> None:  # noqa: B027  most engines hold nothing that needs releasing
        """Release what the engine holds."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(info: TensorInfo, feeds: Feeds, inputs: tuple[TensorInfo, ...]) -> Array:
    """Return the array for one input, in the dtype the engine's `_run` takes (floats if quantized)."""
    if info.name not in feeds:
        names = [tensor.name for tensor in inputs]
        raise DataRefused(f"no array for input {info.name!r}, got {sorted(feeds)}", expected=f"{names}")
    array = np.asarray(feeds[info.name])
    if array.shape != info.shape and not _fits(array.shape, info.shape):
        raise DataRefused(
            f"input {info.name!r} has shape {list(array.shape)}",
            expected=f"{['any' if size is None else size for size in info.shape]}",
        )
    target = info.fed_dtype
    if array.dtype == target:
        return np.asarray(array, order="C")  # ascontiguousarray would turn a scalar into a vector
    if np.issubdtype(target, np.integer) and np.issubdtype(array.dtype, np.integer):
        limits = np.iinfo(target)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise DataRefused(f"input {info.name!r} has values outside {target}", expected=f"{target}")
        return np.asarray(array, dtype=target, order="C")
    if np.issubdtype(target, np.floating) and (array.dtype.kind in "fiu"):
        return np.asarray(array, dtype=target, order="C")
    raise DataRefused(f"input {info.name!r} has dtype {array.dtype}", expected=str(target))


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(
        want is None or want == got for want, got in zip(declared, shape, strict=True)
    )


@cache
def _limits(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def format_of(path: Path) -> str:
    """Return ``tflite`` or ``onnx`` for an artifact's file name. Raises ModelRefused for another suffix."""
    for name, suffix in FORMAT_SUFFIXES.items():
        if path.suffix == suffix:
            return name
    raise ModelRefused(f"{path.name} is not an artifact", expected="a .tflite or .onnx file")


def engine_names() -> list[str]:
    """Names of all registered engines, installed libraries or not."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=ENGINE_GROUP)})


def engine_class(name: str) -> type[Engine]:
    """Return the engine registered under a name, which may end in a provider: ``onnxruntime:cuda``.

    Raises:
        EnvironmentFault: No engine or provider of that name; MissingExtra when its module needs a library that is not
            installed.
    """
    name, _, provider = name.partition(":")
    found = _registered(name)
    if provider and provider.partition(":")[0] not in found.providers:
        raise EnvironmentFault(
            f"engine {name!r} has no execution provider {provider!r}",
            expected=", ".join(f"{name}:{each}" for each in found.providers) or f"--engine {name} alone",
        )
    return found


def _registered(name: str) -> type[Engine]:
    try:
        if name in BUILT_IN:
            module, _, attribute = BUILT_IN[name].partition(":")
            found: type[Engine] = getattr(import_module(module), attribute)
            return found
        from importlib.metadata import entry_points

        for point in entry_points(group=ENGINE_GROUP, name=name):
            loaded: type[Engine] = point.load()
            return loaded
    except ImportError as error:
        raise MissingExtra(f"engine {name!r} cannot be imported: {error}") from error
    raise EnvironmentFault(
        f"no engine named {name!r}",
        expected=", ".join(engine_names()) or "an installed engine",
        remedy="pip install 'edgekit-ai[litert]' or 'edgekit-ai[onnxruntime]'",
    )


def open_engine(path: Path, name: str | None = None, *, threads: int | None = None) -> Engine:
    """Open an artifact in this process.

    Args:
        path: A ``.tflite`` or ``.onnx`` file.
        name: Engine, or engine and execution provider (``onnxruntime:cuda``); by default the built-in engine for the
            format (``litert`` or ``onnxruntime``).
        threads: Threads of the engine; ``None`` lets it choose.

    Raises:
        ModelRefused: The file cannot be loaded, or the engine does not run this format.
        EnvironmentFault: The provider cannot run here; MissingExtra when the engine's library is not installed.
    """
    kind = format_of(path)
    name = name or {"tflite": "litert", "onnx": "onnxruntime"}[kind]
    found = engine_class(name)
    if kind not in found.formats:
        raise ModelRefused(
            f"{path.name} cannot run on {found.name}", expected=f"one of {', '.join(found.formats)} files"
        )
    provider = name.partition(":")[2]
    options: dict[str, Any] = {"provider": provider} if provider else {}
    return found(path, threads=threads, **options)
