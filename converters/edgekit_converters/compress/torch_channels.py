"""Which channels of a PyTorch network depend on each other, and how they are removed together.

The dependencies are those of torch-pruning (Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023,
arXiv:2301.12900). It trusts that a removal that runs is a removal that is right; here every set is tried first, and
one whose removal is not the same as silencing the channels is left alone. Imports torch when imported.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from edgekit_converters.compress.channels import ChannelSet, Cost, Use, parts_of, sound
from edgekit_converters.compress.choice import Part

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ROOTS = (*_CONVOLUTIONS, nn.Linear)
_SAME = 1e-3


class Channels:
    """The removable channels of a module.

    Args:
        model: In evaluation mode; changed in place by :meth:`remove`.
        examples: Positional tensors of a small batch.

    Attributes:
        model: The module.
    """

    def __init__(self, model: nn.Module, examples: tuple[torch.Tensor, ...]) -> None:
        self.model = model
        self._examples = examples
        self._graph = _traced(model, examples)

    def sets(self) -> Iterator[ChannelSet]:
        """All sets that some layer reads; those of the model's outputs are not among them."""
        names = {module: name for name, module in self.model.named_modules()}
        for group in self._graph.get_all_groups(root_module_types=list(_ROOTS)):
            uses = tuple(_uses(group, names, self._graph))
            if any(use.reads for use in uses):
                yield ChannelSet(names[group[0].dep.target.module], len(group[0].idxs), uses)

    def remove(self, chosen: Mapping[str, Sequence[int]]) -> None:
        """Remove channels.

        Args:
            chosen: Root layer -> channels of its set.
        """
        for root, channels in chosen.items():
            layer = self.model.get_submodule(root)
            pruning = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else tp.prune_conv_out_channels
            group = self._graph.get_pruning_group(layer, pruning, [int(channel) for channel in channels])
            with _quiet():
                group.prune()

    def sound(self, round_to: int) -> tuple[list[ChannelSet], list[str]]:
        """The sets whose removal answers as if their channels were silent, and the roots of the others."""
        return sound(self.sets(), lambda sets: self._answers_alike(sets, round_to), round_to)

    def _answers_alike(self, sets: Sequence[ChannelSet], count: int) -> bool:
        silenced, removed = copy.deepcopy(self.model), copy.deepcopy(self.model)
        for item in sets:
            for use in item.readers:
                places = use.places(range(count))
                with torch.no_grad():
                    silenced.get_submodule(use.layer).weight[:, places] = 0
        try:
            Channels(removed, self._examples).remove({item.root: range(count) for item in sets})
            with torch.no_grad():
                pairs = list(zip(silenced(*self._examples), removed(*self._examples), strict=True))
        except Exception:  # whatever a user's forward() raises when a size is not the one it expects
            return False
        return all(one.shape == other.shape and _close(one, other) for one, other in pairs)

    def parts(self, sets: Sequence[ChannelSet]) -> dict[str, Part]:
        """Cost of every convolution and dense layer, and the sets on its two sides."""
        costs = {}
        for name, macs in layer_macs(self.model, self._examples).items():
            layer = self.model.get_submodule(name)
            weights = sum(weight.numel() for weight in layer.parameters(recurse=False))
            costs[name] = Cost(macs, weights, layer.weight.shape[1], layer.weight.shape[0])
        return parts_of(costs, sets)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = float(one.float().norm()) or 1.0
    return float((one.float() - other.float()).norm()) <= _SAME * scale


def _traced(model: nn.Module, examples: tuple[torch.Tensor, ...]) -> Any:
    with _quiet():
        return tp.DependencyGraph().build_dependency(model, example_inputs=examples)


class _quiet(warnings.catch_warnings):
    """torch-pruning warns of parameters that it wraps itself, which :meth:`Channels.sound` then checks."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")


def _uses(group: Any, names: Mapping[nn.Module, str], graph: Any) -> Iterator[Use]:
    for item in group:
        module = item.dep.target.module
        if not isinstance(module, _ROOTS):
            continue
        depthwise = getattr(module, "groups", 1) > 1
        reads = not depthwise and not graph.is_out_channel_pruning_fn(item.dep.handler)
        yield Use(names[module], reads, tuple(item.idxs), tuple(item.root_idxs))


def layer_macs(model: nn.Module, examples: tuple[torch.Tensor, ...]) -> dict[str, int]:
    """Multiply-accumulates of every convolution and dense layer for one input, by the module's name."""
    found: dict[str, int] = {}

    def count(name: str) -> Any:
        def hook(module: Any, _: Any, output: torch.Tensor) -> None:
            each = module.weight[0].numel()
            found[name] = found.get(name, 0) + each * output.numel() // output.shape[0]

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, _ROOTS)]
    handles = [module.register_forward_hook(count(name)) for name, module in layers]
    try:
        with torch.no_grad():
            model(*examples)
    finally:
        for handle in handles:
            handle.remove()
    return found
