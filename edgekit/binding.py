"""From the spec's tensors to an artifact's tensors and back.

An artifact may name its tensors otherwise than the original model, take NHWC where the original takes NCHW,
hold a fixed batch, or store int32 where the original has int64. `BoundEngine` hides all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgekit.engine import Array, Feeds, TensorInfo
from edgekit.errors import DataRefused, ModelRefused
from edgekit.spec import Layout, Spec, TensorSpec


@dataclass(frozen=True)
class Binding:
    """Which artifact tensor stands for a tensor of the spec.

    Attributes:
        name: Name in the spec.
        tensor: Name in the artifact.
        shape: Shape in the artifact; ``None`` marks a dynamic dimension.
        dtype: dtype in the artifact (``int8`` when quantized).
        layout: Layout in the artifact, for image tensors.
    """

    name: str
    tensor: str
    shape: tuple[int | None, ...]
    dtype: str
    layout: Layout | None = None


class Runner(Protocol):
    """What can run an artifact: an Engine, or a child process that holds one."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Input tensors as the artifact declares them."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Output tensors as the artifact declares them."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run once on artifact tensor names."""


def transpose_layout(array: Array, have: Layout | None, want: Layout | None) -> Array:
    """Move the channel axis of a 4-D array from one layout to another."""
    if have is None or want is None or have == want:
        return array
    return np.ascontiguousarray(array.transpose((0, 2, 3, 1) if want == "NHWC" else (0, 3, 1, 2)))


def adapt_feeds(feeds: Feeds, spec: Spec, inputs: Sequence[Binding]) -> dict[str, Array]:
    """Return feeds in the spec's names and layouts under an artifact's names, in its layouts and dtypes.

    Args:
        feeds: Spec input name -> array.
        spec: The spec.
        inputs: Bindings of the spec's inputs. Quantized inputs stay float: the engine quantizes.
    """
    adapted = {}
    for binding in inputs:
        tensor = _spec_of(spec.inputs, binding)
        if tensor.name not in feeds:
            raise DataRefused(f"no array for input {tensor.name!r}, got {sorted(feeds)}")
        array = transpose_layout(np.asarray(feeds[tensor.name]), tensor.layout, binding.layout)
        adapted[binding.tensor] = _narrowed(array, binding)
    return adapted


def _narrowed(array: Array, binding: Binding) -> Array:
    """int64 to int32 where the artifact wants it and the values allow it; anything else as it is."""
    if array.dtype.kind != "i":
        return array
    wanted = np.dtype(binding.dtype)
    if wanted.kind != "i" or array.dtype.itemsize <= wanted.itemsize:
        return array
    limits = np.iinfo(wanted)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise DataRefused(f"input {binding.name!r} has values outside {wanted}", expected=str(wanted))
    return array.astype(wanted)


class BoundEngine:
    """Runs an artifact on the spec's names, shapes and layouts.

    Args:
        runner: The open artifact.
        spec: The bundle's spec.
        inputs: Bindings of the spec's inputs.
        outputs: Bindings of the spec's outputs.
    """

    def __init__(self, runner: Runner, spec: Spec, inputs: Sequence[Binding], outputs: Sequence[Binding]) -> None:
        self.runner = runner
        self._spec = spec
        self._inputs = tuple(inputs)
        self._outputs = [(_spec_of(spec.outputs, binding), binding) for binding in outputs]
        declared = {info.name for info in (*runner.inputs, *runner.outputs)}
        for binding in (*inputs, *outputs):
            if binding.tensor not in declared:
                raise ModelRefused(
                    f"the artifact has no tensor {binding.tensor!r}", expected=", ".join(sorted(declared))
                )
        self.batch = next((binding.shape[0] for binding in inputs if binding.shape), None)
        """Batch that the artifact takes; ``None`` means any."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run on a batch of any size.

        Args:
            feeds: Spec input name -> array in the spec's layout, batch first.

        Returns:
            Spec output name -> array in the spec's layout, batch first.
        """
        adapted = self.adapt(feeds)
        count = len(next(iter(adapted.values())))
        if self.batch is None or self.batch == count:
            return self._named(self.runner.run(adapted))
        if self.batch != 1:
            raise DataRefused(f"a batch of {count}", expected=f"a batch of {self.batch}, which this artifact holds")
        single = [
            self._named(self.runner.run({name: array[i : i + 1] for name, array in adapted.items()}))
            for i in range(count)
        ]
        return {name: np.concatenate([one[name] for one in single]) for name in single[0]}

    def adapt(self, feeds: Feeds) -> dict[str, Array]:
        """Return the feeds under the artifact's names and in its layout."""
        return adapt_feeds(feeds, self._spec, self._inputs)

    def _named(self, raw: Mapping[str, Array]) -> dict[str, Array]:
        return {
            spec.name: transpose_layout(raw[binding.tensor], binding.layout, spec.layout)
            for spec, binding in self._outputs
        }


def _spec_of(tensors: Sequence[TensorSpec], binding: Binding) -> TensorSpec:
    for tensor in tensors:
        if tensor.name == binding.name:
            return tensor
    raise ModelRefused(f"the spec has no tensor {binding.name!r}", expected=", ".join(t.name for t in tensors))
