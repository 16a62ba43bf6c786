"""Bind the spec's tensors to those of a file that somebody else wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.binding import Binding, adapt_feeds
from edgekit.engine import Array, TensorInfo
from edgekit.errors import ModelRefused
from edgekit.isolate import EngineProcess
from edgekit.spec import Layout, Spec, TensorSpec

Shape = tuple[int | None, ...]


def bind_inputs(spec: Spec, given: Sequence[TensorInfo], file: str) -> tuple[Binding, ...]:
    """Find the input that takes each tensor of the spec: by name, else the next one of a fitting shape.

    Args:
        spec: The original's spec.
        given: Inputs of the artifact.
        file: Its name, for messages.

    Raises:
        ModelRefused: The artifact takes something else.
    """
    if len(given) != len(spec.inputs):
        raise _foreign(file, "inputs", spec.inputs, given)
    left = list(given)
    bound = []
    for tensor in spec.inputs:
        fitting = [info for info in left if _layout(tensor, info.shape) is not _UNFIT]
        match = next((info for info in fitting if _key(info.name) == _key(tensor.name)), None)
        match = match or next(iter(fitting), None)
        if match is None:
            raise _foreign(file, "inputs", spec.inputs, given)
        left.remove(match)
        bound.append(_binding(tensor, match))
    return tuple(bound)


def bind_outputs(
    spec: Spec,
    inputs: Sequence[Binding],
    engine: EngineProcess,
    feeds: Mapping[str, Array],
    wanted: Mapping[str, Array],
) -> tuple[Binding, ...]:
    """Find the output that stands for each of the spec's: by name, else of its shape with the nearest values.

    Args:
        spec: The original's spec.
        inputs: What `bind_inputs` found.
        engine: The open artifact.
        feeds: One sample under the spec's names.
        wanted: The original's answer to it.

    Raises:
        ModelRefused: The artifact gives something else.
    """
    answers = engine.run(adapt_feeds(feeds, spec, inputs))
    left = list(engine.outputs)
    bound = []
    for tensor in spec.outputs:
        fitting = [info for info in left if answers[info.name].shape == wanted[tensor.name].shape]
        if not fitting:
            raise _foreign(engine.path.name, "outputs", spec.outputs, engine.outputs)
        match = next((info for info in fitting if _key(info.name) == _key(tensor.name)), None)
        match = match or min(fitting, key=lambda info: _distance(wanted[tensor.name], answers[info.name]))
        left.remove(match)
        bound.append(_binding(tensor, match))
    return tuple(bound)


_UNFIT = object()


def _layout(tensor: TensorSpec, shape: Shape) -> Layout | object | None:
    """Layout in which a shape takes the tensor; `_UNFIT` when it does not."""
    if _fits(tensor.shape, shape):
        return tensor.layout
    if tensor.layout == "NHWC" and _fits(tuple(tensor.shape[i] for i in (0, 3, 1, 2)), shape):
        return "NCHW"
    if tensor.layout == "NCHW" and _fits(tuple(tensor.shape[i] for i in (0, 2, 3, 1)), shape):
        return "NHWC"
    return _UNFIT


def _fits(wanted: Shape, given: Shape) -> bool:
    """The batch is one sample, whatever the two say of it."""
    if len(wanted) != len(given):
        return False
    return all(
        left is None or right is None or left == right for left, right in zip(wanted[1:], given[1:], strict=True)
    )


def _binding(tensor: TensorSpec, info: TensorInfo) -> Binding:
    layout = _layout(tensor, info.shape)
    return Binding(
        tensor.name, info.name, info.shape, info.dtype, layout if layout in ("NHWC", "NCHW") else None
    )  # fmt: skip


def _key(name: str) -> str:
    """A name without what exporters put around it: ``serving_default_x:0`` is ``x``."""
    return name.removeprefix("serving_default_").partition(":")[0].removesuffix("_int8").lower()


def _distance(wanted: Array, given: Array) -> float:
    return float(np.linalg.norm(given.astype(np.float64).ravel() - wanted.astype(np.float64).ravel()))


def _foreign(file: str, kind: str, wanted: Sequence[TensorSpec], given: Sequence[TensorInfo]) -> ModelRefused:
    def shown(tensors: Sequence[TensorSpec] | Sequence[TensorInfo]) -> str:
        return ", ".join(f"{t.name} {['any' if s is None else s for s in t.shape]}" for t in tensors)

    return ModelRefused(
        f"{file} has the {kind} {shown(given)}",
        expected=f"the original's: {shown(wanted)}",
        remedy="compare an artifact of the same model; `edgekit inspect` shows what a file takes and gives",
    )
