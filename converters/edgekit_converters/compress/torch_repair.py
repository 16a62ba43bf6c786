"""Least squares at the layers that lost inputs: their weights and bias make up for what is gone.

Imports torch when imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgekit_converters.compress.least_squares import WIDEST, LeastSquares
from edgekit_converters.compress.torch_statistics import hooked, rows_of

Batches = Callable[[], Iterable[tuple[torch.Tensor, ...]]]
Kept = Mapping[str, torch.Tensor]


def repair(
    model: nn.Module, original: nn.Module, layers: Sequence[str], batches: Batches, *, kept: Kept, read: Kept
) -> None:
    """Refit layers to the original's outputs of the same layers.

    As in He et al., "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017, arXiv:1707.06168), with
    a prior at the weights as they are, and for all layers at once, as if everything before a layer were as in the
    original. (A second pass on what the pruned network really gives a layer made MobileNetV2 worse.) A layer too wide
    to be solved for is left to distillation.

    Args:
        model: The pruned network.
        original: The network it comes from.
        layers: Names of convolutions without groups and of dense layers.
        batches: Gives the inputs anew at each call.
        kept: Layer -> outputs of the original's layer that the pruned one still has.
        read: Layer -> inputs of the original's layer that the pruned one still has.
    """
    fits = {
        name: Fit(model.get_submodule(name), kept[name], read[name])
        for name in layers
        if model.get_submodule(name).weight[0].numel() <= WIDEST
    }

    def learn(name: str, _: Any, taken: torch.Tensor, given: torch.Tensor) -> None:
        fits[name].add(taken, given)

    with torch.no_grad(), hooked(original, fits, learn):
        for tensors in batches():
            original(*tensors)
    for fit in fits.values():
        fit.solve()


class Fit:
    """Sums for the least squares of one layer.

    Args:
        module: The layer of the pruned network.
        outputs: Outputs of the original's layer that it still has.
        inputs: Inputs of the original's layer that it still has.
    """

    def __init__(self, module: Any, outputs: torch.Tensor, inputs: torch.Tensor) -> None:
        self._module, self._outputs, self._inputs = module, outputs, inputs
        self._sums = LeastSquares(module.weight[0].numel())

    def add(self, taken: torch.Tensor, wanted: torch.Tensor) -> None:
        """Add a batch of what the original's layer reads and makes of it."""
        module = self._module
        taken = taken.index_select(-1 if isinstance(module, nn.Linear) else 1, self._inputs)
        self._sums.add(taps(taken, module).numpy(), rows_of(wanted, module)[:, self._outputs].numpy())

    def solve(self) -> None:
        """Set weights and bias."""
        module = self._module
        weights, bias = map(torch.from_numpy, self._sums.solve(module.weight.detach().flatten(1).numpy()))
        with torch.no_grad():
            module.weight.copy_(weights.reshape(module.weight.shape))
        module.bias = nn.Parameter(bias.to(module.weight.dtype))


def taps(read: torch.Tensor, module: Any) -> torch.Tensor:
    """``[positions, inputs * taps]``: what each output of a layer is a weighted sum of."""
    if isinstance(module, nn.Linear):
        return rows_of(read, module)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    # Only here does PyTorch keep the padding in numbers where the user said "same".
    windows = functional.pad(read, module._reversed_padding_repeated_twice, mode)
    for axis, (size, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True), 2
    ):
        windows = windows.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return windows.movedim(1, len(module.kernel_size) + 1).reshape(-1, module.weight[0].numel())
