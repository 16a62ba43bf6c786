"""The distance between a pruned network and its original, in answers and in between. Imports torch when imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgekit_converters.compress.learning import ANSWERS, CLASSES, FEATURES
from edgekit_converters.compress.torch_statistics import hooked

Tensors = tuple[torch.Tensor, ...]


class Distance:
    """How far a network is from its original.

    The squared relative L2 of every floating output, that of the outputs of the given layers, and the divergence of
    the class probabilities (Hinton et al., 2015, arXiv:1503.02531) where an output decides.

    Args:
        original: The original.
        layers: Layers whose outputs are compared.
        decides: Position of the output that holds class scores; ``None`` for none.
    """

    def __init__(self, original: nn.Module, layers: Sequence[str], decides: int | None) -> None:
        self._original, self._layers, self._decides = original, layers, decides

    def __call__(
        self, model: nn.Module, tensors: Tensors, wanted_of: Tensors, kept: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The distance on a batch, a scalar with a gradient.

        Args:
            model: The network.
            tensors: Its inputs.
            wanted_of: The original's, which may be larger photos.
            kept: Layer -> outputs of the original's layer that the network's still has.
        """
        with torch.no_grad():
            wanted, wanted_features = self._run(self._original, wanted_of)
        given, features = self._run(model, tensors)
        loss = torch.zeros(())
        axes = {name: -1 if isinstance(model.get_submodule(name), nn.Linear) else 1 for name in features}
        pairs = [
            (features[name], _on_grid(wanted_features[name].index_select(axis, kept[name]), features[name], axis))
            for name, axis in axes.items()
        ]
        compared = [(feature, part) for feature, part in pairs if part is not None]
        for feature, part in compared:
            loss = loss + FEATURES / len(compared) * _relative(feature, part)
        for place, (answer, target) in enumerate(zip(given, wanted, strict=True)):
            if answer.is_floating_point():
                loss = loss + ANSWERS * _relative(answer, target)
            if place == self._decides and answer.shape[-1] > 1:
                loss = loss + CLASSES * _divergence(answer, target)
        return loss

    def _run(self, model: nn.Module, tensors: Tensors) -> tuple[Tensors, dict[str, torch.Tensor]]:
        features: dict[str, torch.Tensor] = {}

        def keep(name: str, _: Any, __: Any, given: torch.Tensor) -> None:
            features[name] = given

        with hooked(model, self._layers, keep):
            return model(*tensors), features


def _on_grid(wanted: torch.Tensor, given: torch.Tensor, axis: int) -> torch.Tensor | None:
    """What the original sees in a larger photo, averaged onto the places that the network has.

    Args:
        wanted: Of the original.
        given: Of the network.
        axis: Of the channels.

    Returns:
        ``None`` where they lie on no grid, as tokens in a row.
    """
    if wanted.shape == given.shape:
        return wanted
    if wanted.ndim != 4:
        return None
    sides = given.movedim(axis, 1).shape[2:]
    return functional.adaptive_avg_pool2d(wanted.movedim(axis, 1), sides).movedim(1, axis)


def _relative(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    finite = torch.isfinite(target)
    target = torch.where(finite, target, torch.zeros_like(target))
    error = torch.where(finite, answer - target, torch.zeros_like(target))
    return error.square().sum() / (target.square().sum() + 1e-12)


def _divergence(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.kl_div(_log_shares(answer), _log_shares(target), log_target=True, reduction="batchmean")


def _log_shares(scores: torch.Tensor) -> torch.Tensor:
    flat = scores.reshape(-1, scores.shape[-1])
    shares = bool((flat >= 0).all()) and torch.allclose(flat.sum(1), torch.ones(len(flat)), atol=1e-3)
    return flat.clamp_min(1e-8).log() if shares else flat.log_softmax(1)
