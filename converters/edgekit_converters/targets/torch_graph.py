"""A PyTorch source as the exporters want it: named tensors in, named tensors out, in the artifact's layout.

Imports torch: import this module only where a PyTorch source is converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgekit_converters.sources.base import Source
from edgekit_converters.targets.base import inverse
from edgekit_converters.targets.binding import Permute
from edgekit_converters.targets.torch_rewrites import Rewrite, Rewrites


class Adapter(nn.Module):  # type: ignore[misc]
    """Calls a source's module with the artifact's inputs and returns its outputs as a dict.

    Args:
        module: Takes the source's inputs in order; returns a tensor, a sequence or a mapping of tensors.
        inputs: Name of each input in the artifact.
        outputs: Name of each output in the artifact.
        keys: Key of each output where the module returns a mapping.
        axes: For each input, the axes that turn the artifact's array into the module's; ``None`` for no change.
        rewrites: Torch functions that are said in another way.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        keys: Sequence[str],
        axes: Sequence[tuple[int, ...] | None],
        rewrites: Mapping[Any, Rewrite],
    ) -> None:
        super().__init__()
        self.module = module
        self._inputs, self._outputs, self._keys, self._axes = list(inputs), list(outputs), list(keys), list(axes)
        self._rewrites = dict(rewrites)
        self.train(mode=False)

    def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the module; the artifact's inputs come by position or by name."""
        arrays = args or [kwargs[name] for name in self._inputs]
        laid_out = [
            array if axes is None else array.permute(axes) for array, axes in zip(arrays, self._axes, strict=True)
        ]
        with Rewrites(self._rewrites):
            result = self.module(*laid_out)
        if isinstance(result, Mapping):
            values = [result[key] for key in self._keys]
        else:
            values = [result] if isinstance(result, torch.Tensor) else list(result)
        return dict(zip(self._outputs, _distinct(values, laid_out), strict=True))


def _distinct(values: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copy an output that is an input or another output: a graph format gives each of its outputs one name."""
    taken = {id(array) for array in inputs}
    found = []
    for value in values:
        found.append(value.clone() if id(value) in taken else value)
        taken.add(id(value))
    return found


def adapt(
    source: Any, inputs: Sequence[str], outputs: Sequence[str], permute: Permute, rewrites: Mapping[Any, Rewrite]
) -> Adapter:
    """Wrap a PyTorch source's module.

    Args:
        source: The PyTorch source.
        inputs: Name of each input in the artifact.
        outputs: Name of each output in the artifact.
        permute: Source input name -> axes that turn its array into the artifact's layout.
        rewrites: Torch functions that are said in another way.
    """
    axes = [inverse(permute[spec.name]) if spec.name in permute else None for spec in source.inputs]
    keys = [spec.name for spec in source.outputs]
    return Adapter(source.exportable, inputs, outputs, keys=keys, axes=axes, rewrites=rewrites)


def examples(source: Any, permute: Permute, batch: int | None = None) -> tuple[torch.Tensor, ...]:
    """Example inputs in the artifact's layout, in the source's order.

    Args:
        source: The PyTorch source.
        permute: Source input name -> axes that turn its array into the artifact's layout.
        batch: Batch wanted where it is open; ``None`` for one sample, or the source's fixed batch.
    """
    tensors = source.example_inputs if batch is None else source.examples(batch)
    return tuple(
        tensor.permute(permute[spec.name]).contiguous() if spec.name in permute else tensor
        for spec, tensor in zip(source.inputs, tensors, strict=True)
    )


def batch_is_open(source: Source) -> bool:
    """Whether the source takes any batch."""
    return all(spec.shape and spec.shape[0] is None for spec in source.inputs)


def open_dimensions(source: Source, permute: Permute) -> tuple[dict[int, str], ...]:
    """For each input, name of every dimension of the artifact that stays open; dimension 0 is the batch."""
    found = []
    for spec in source.inputs:
        order = permute.get(spec.name, tuple(range(len(spec.shape))))
        names = {0: "batch"} | {i: f"{spec.name}_{i}" for i, size in enumerate(spec.shape) if i and size is None}
        found.append({order.index(i): name for i, name in names.items()})
    return tuple(found)
