"""From an open source to a network that can be made smaller; frameworks are imported only for their own."""

from __future__ import annotations

from typing import cast

from edgekit.errors import ModelRefused
from edgekit_converters.compress.network import Network
from edgekit_converters.sources import Source


def network_of(source: Source, *, round_to: int, decides: str | None, original: Source | None = None) -> Network:
    """Make the network of a source.

    Args:
        source: The open model.
        round_to: Sizes of channel sets become multiples of this.
        decides: Name of the output that holds class scores; ``None`` where nothing is decided.
        original: The open original, where it takes photos of another size than ``source``.

    Raises:
        ModelRefused: A kind of model that cannot be trained, or one without removable channels.
    """
    if source.framework == "pytorch":
        from edgekit_converters.compress.torch_network import TorchNetwork
        from edgekit_converters.sources.pytorch import PyTorchSource

        theirs = cast("PyTorchSource | None", original)
        return TorchNetwork(cast(PyTorchSource, source), round_to=round_to, decides=decides, original=theirs)
    if source.framework == "keras":
        from edgekit_converters.compress.keras_network import KerasNetwork
        from edgekit_converters.sources.keras import KerasSource

        own = cast("KerasSource | None", original)
        return KerasNetwork(cast(KerasSource, source), round_to=round_to, decides=decides, original=own)
    raise ModelRefused(
        f"channels of {source.name}, of the kind {source.framework}, cannot be removed",
        expected=".keras, .h5, a PyTorch module:factory with --weights, or a model from Hugging Face",
        remedy="name the model that it was exported from; for what was trained in another framework see what "
        "edgekit plan finds among quantized recipes and smaller inputs",
    )
