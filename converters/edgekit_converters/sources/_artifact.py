"""A source that already is an artifact: it answers through an engine, in a child process.

A model file that nobody has checked can crash the library that opens it; the child dies, the parent tells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgekit.engine import Array, Feeds, TensorInfo
from edgekit.errors import ModelRefused, UsageError
from edgekit.isolate import EngineProcess
from edgekit.spec import Layout, TensorSpec
from edgekit_converters.sources._files import size_of
from edgekit_converters.sources._tensors import image_layout, match_hints, ordered_feeds, refine_shape
from edgekit_converters.sources.base import Source, SourceOptions


class ArtifactSource(Source):
    """An open ``.onnx`` or ``.tflite`` model.

    Attributes:
        is_float: Whether nothing in it is quantized yet.
        engine: The child process that answers.
    """

    path: Path
    is_float: bool

    def __init__(self, path: Path, options: SourceOptions, *, prefer: Layout) -> None:
        self.path, self.name = path, path.stem
        self.size_bytes = size_of(path)
        self.engine = EngineProcess(path)
        try:
            names = [info.name for info in self.engine.inputs]
            given = match_hints(names, options.inputs)
            for info in self.engine.inputs:
                asked = given[info.name].dtype if info.name in given else None
                if asked not in (None, _dtype(info)):
                    raise UsageError(f"dtype {asked} for {info.name!r}", expected=_dtype(info))
            self.inputs = tuple(
                _spec(info, refine_shape(info.name, info.shape, given.get(info.name)), prefer)
                for info in self.engine.inputs
            )
            self.outputs = tuple(_spec(info, info.shape, None) for info in self.engine.outputs)
        except BaseException:
            self.engine.close()
            raise

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer as the original does; see :meth:`Source.run`."""
        arrays = ordered_feeds(self.inputs, feeds)
        return self.engine.run({spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)})

    def close(self) -> None:
        """End the child process."""
        self.engine.close()


def _dtype(info: TensorInfo) -> str:
    return "float32" if info.scale is not None else info.dtype


def _spec(info: TensorInfo, shape: tuple[int | None, ...], prefer: Literal["NHWC", "NCHW"] | None) -> TensorSpec:
    dtype = _dtype(info)
    if dtype in ("object", "str", "string"):
        raise ModelRefused(f"{info.name!r} is a string tensor", expected="numbers")
    return TensorSpec(info.name, shape, dtype, image_layout(shape, dtype, prefer) if prefer else None)
