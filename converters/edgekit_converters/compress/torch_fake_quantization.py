"""Quantization-aware fine-tuning by a function of the user's. Imports torch when imported.

The network computes with weights rounded to 8 bits per output channel and with activations rounded to 8 bits per
tensor (Jacob et al., 2018, arXiv:1712.05877), as its int8 artifact will; gradients pass straight through. Afterwards
the float weights are kept: ``edgekit convert`` chooses the grid anew, from calibration data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgekit.errors import ModelRefused
from edgekit_converters.compress.training import Tune
from edgekit_converters.targets.quiet import quiet

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def train_quantized(model: nn.Module, tune: Tune, steps: int, examples: tuple[torch.Tensor, ...]) -> None:
    """Call the user's training function on the fake-quantized network.

    Args:
        model: Trained in place; in evaluation mode before and after.
        tune: The function.
        steps: What it is told.
        examples: A small batch, to try the result on.

    Raises:
        InputRefused: The function failed.
        ModelRefused: The network gives NaN afterwards.
    """
    try:
        with fake_quantized(model):
            tune(model, steps)
    finally:
        model.eval()
    with torch.no_grad():
        answers = model(*examples)
    if any(answer.is_floating_point() and bool(torch.isnan(answer).any()) for answer in answers):
        raise ModelRefused("the model gives NaN after --train", expected="a smaller learning rate")


@contextmanager
def fake_quantized(model: nn.Module) -> Iterator[None]:
    """Round weights and layer inputs while the context lasts; gradients go to the float weights.

    Args:
        model: Its convolutions and dense layers are changed, and given back with their float weights.
    """
    layers = [module for module in model.modules() if isinstance(module, _LAYERS)]
    weight_rounder, input_rounder = _rounders()
    with ExitStack() as stack:
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", weight_rounder(layer), unsafe=True)
            stack.callback(parametrize.remove_parametrizations, layer, "weight", leave_parametrized=False)
            hook = layer.register_forward_pre_hook(_rounding_inputs(input_rounder(layer)))
            stack.callback(hook.remove)
        yield


def _rounding_inputs(rounder: Any) -> Any:
    def hook(_: Any, taken: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (rounder(taken[0]), *taken[1:])

    return hook


def _rounders() -> tuple[Any, Any]:
    """Makers of torchao's fake quantizers for a layer's weights and for what it reads."""
    with quiet():  # torchao tells of every compiled library that is not for this machine
        from torchao.quantization.pt2e import FakeQuantize, MovingAverageMinMaxObserver, PerChannelMinMaxObserver

    def weights(_: nn.Module) -> Any:
        return FakeQuantize(
            observer=PerChannelMinMaxObserver,
            quant_min=-127,
            quant_max=127,
            dtype=torch.int8,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )

    def inputs(_: nn.Module) -> Any:
        return FakeQuantize(
            observer=MovingAverageMinMaxObserver,
            quant_min=-128,
            quant_max=127,
            dtype=torch.int8,
            qscheme=torch.per_tensor_affine,
        )

    return weights, inputs
