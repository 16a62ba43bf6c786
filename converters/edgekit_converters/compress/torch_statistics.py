"""What the layers that read channels see, and how much the answers depend on it. Imports torch when imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class _Effects:
    """Sums at one layer; see :func:`gather`."""

    def __init__(self) -> None:
        self._count = 0
        self._total: Any = 0
        self._effects: list[torch.Tensor] = []
        self._gradients: list[torch.Tensor] = []
        self._calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def see(self, taken: torch.Tensor, module: nn.Module) -> None:
        rows = rows_of(taken.detach(), module)
        self._count += len(rows)
        self._total = self._total + rows.sum(0)

    def feel(self, taken: torch.Tensor, gradient: torch.Tensor, module: nn.Module) -> None:
        self._calls.append((by_input(taken.detach() * gradient, module), by_input(gradient, module)))

    def end_batch(self) -> None:
        """Add up the calls of a layer that is used several times, as the head of a detector is for every scale."""
        effects, gradients = zip(*self._calls, strict=True)
        self._effects.append(sum(effects))
        self._gradients.append(sum(gradients))
        self._calls.clear()

    def result(self) -> torch.Tensor:
        return torch.cat(self._effects) - self._total / self._count * torch.cat(self._gradients)


def rows_of(tensor: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """``[positions, channels]`` of a layer's input or output."""
    if isinstance(module, nn.Linear):
        return tensor.reshape(-1, tensor.shape[-1])
    return tensor.movedim(1, -1).reshape(-1, tensor.shape[1])


def by_input(tensor: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """``[inputs, channels]``: the sum over the positions of each input."""
    if isinstance(module, nn.Linear):
        return tensor.reshape(len(tensor), -1, tensor.shape[-1]).sum(1)
    return tensor.flatten(2).sum(2)


@contextmanager
def hooked(model: nn.Module, names: Iterable[str], hook: Any) -> Iterator[None]:
    """Call ``hook(name, module, input, output)`` after each of the named modules."""
    handles = []
    for name in names:

        def run(module: Any, taken: Any, given: Any, name: str = name) -> None:
            hook(name, module, taken[0], given)

        handles.append(model.get_submodule(name).register_forward_hook(run))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gather(
    model: nn.Module, names: Sequence[str], batches: Iterable[tuple[torch.Tensor, ...]], *, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Run batches forwards and backwards and gather the effect of every channel that the named layers read.

    That is how much a probe of the answers changes, to first order, when a channel keeps its mean value (which the
    bias of a reader makes up for): the sum over positions of gradient times deviation.

    The gradient is that of random directions in the outputs: squared, it is the curvature of the distance to the
    original's answers, whose own gradient is zero as long as nothing has been removed.

    Returns:
        Layer -> ``[inputs, read]``.
    """
    sums = {name: _Effects() for name in names}
    random = torch.Generator().manual_seed(seed)

    def watch(name: str, module: Any, taken: torch.Tensor, _: torch.Tensor) -> None:
        sums[name].see(taken, module)
        values = taken.detach()  # a hook that holds the tensor it hangs on keeps both until a garbage collection
        taken.register_hook(lambda gradient: sums[name].feel(values, gradient, module))

    with hooked(model, names, watch):
        for tensors in batches:
            outputs = [output for output in model(*tensors) if output.is_floating_point()]
            probe = sum(_probe(output, random) for output in outputs)
            probe.backward()
            model.zero_grad(set_to_none=True)
            for item in sums.values():
                item.end_batch()
    return {name: item.result() for name, item in sums.items()}


def _probe(output: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    scale = output.detach().norm() / output.shape[0] ** 0.5 + 1e-12
    directions = torch.randn(output.shape, generator=random)
    return (output * directions).sum() / scale
