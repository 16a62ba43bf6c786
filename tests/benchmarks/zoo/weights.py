"""Random weights under which parity says something.

What a framework initialises with makes most outputs nearly constant: layer scales of 1e-6, head weights of 0.02,
batch norm statistics of 0 and 1. Here weights keep the variance of what passes, norms differ a channel, and batch
norm statistics are those of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.engine import Array

# Below 1, or float noise grows from layer to layer in the deepest networks until it is all one measures
# (EfficientNetV2 with 1: an input noise of 1e-6 becomes 7e-4).
BATCH_NORM_GAIN = 0.7
LEAST_VARIANCE = 0.05
"""Of a batch norm's mean variance; a channel that hardly varies would be noise, magnified."""
SCALE_WORDS = ("gamma", "lambda", "layer_scale", "layernorm", "norm", "scale")


def randomise_torch(module: Any, feeds: Mapping[str, Array]) -> None:
    """Fill a PyTorch module's parameters and its batch norm statistics."""
    import torch

    generator = torch.Generator().manual_seed(1)
    embeddings = {id(item.weight) for item in module.modules() if isinstance(item, torch.nn.Embedding)}
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not parameter.is_floating_point():
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(_torch_values(name, parameter, noise, embedding=id(parameter) in embeddings))
        norms = [item for item in module.modules() if isinstance(item, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.weight.mul_(BATCH_NORM_GAIN)
            norm.train()
            norm.momentum = 1.0
        if norms:
            module(**{name: torch.from_numpy(array) for name, array in feeds.items()})
        for norm in norms:
            norm.running_var.clamp_(min=LEAST_VARIANCE * float(norm.running_var.mean()))
        module.eval()
    _randomise_frozen_norms(module, generator)


def _torch_values(name: str, parameter: Any, noise: Any, *, embedding: bool) -> Any:
    lowered = name.lower()
    if parameter.ndim <= 1:
        is_scale = lowered.endswith("weight") or any(word in lowered.rsplit(".", 1)[-1] for word in SCALE_WORDS)
        return 1 + 0.2 * noise.clamp(-2, 2) if is_scale else 0.1 * noise
    if embedding:
        return 0.5 * noise
    if any(word in lowered.rsplit(".", 1)[-1] for word in ("gamma", "lambda", "layer_scale")):
        return 0.5 + 0.1 * noise
    if not lowered.endswith("weight"):
        return 0.2 * noise  # position tables, class tokens
    return noise / (parameter.numel() / parameter.shape[0]) ** 0.5


def _randomise_frozen_norms(module: Any, generator: Any) -> None:
    """DETR's frozen batch norm keeps its parameters in buffers."""
    import torch

    for item in module.modules():
        if "FrozenBatchNorm" in type(item).__name__:
            for name, spread in (("weight", 0.2), ("bias", 0.1), ("running_mean", 0.1)):
                buffer = getattr(item, name)
                base = 1.0 if name == "weight" else 0.0
                buffer.copy_(base + spread * torch.randn(buffer.shape, generator=generator).clamp(-2, 2))


def randomise_keras(model: Any, feeds: Mapping[str, Array]) -> None:
    """Fill a Keras model's weights and its batch norm statistics."""
    import keras

    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        noise = rng.standard_normal(weight.shape).astype("float32")
        if len(weight.shape) > 1:
            depthwise = "depthwise" in weight.path
            fan_in = np.prod(weight.shape[:2]) if depthwise else np.prod(weight.shape[:-1])
            weight.assign(noise * (1.6 / fan_in) ** 0.5)
        elif weight.path.endswith("gamma"):
            weight.assign(BATCH_NORM_GAIN * (1 + 0.2 * noise.clip(-2, 2)))
        else:
            weight.assign(0.1 * noise)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(next(iter(feeds.values())), training=True)
    for layer in norms:
        variance = layer.moving_variance.numpy()
        layer.moving_variance.assign(variance.clip(LEAST_VARIANCE * variance.mean()))
