"""The module behind `causal_lm`: a causal language model that takes and gives its cache as tensors.

Imports torch when imported; ``causal_lm`` imports it late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from edgekit.spec import TensorSpec
from edgekit_converters.sources._torch_graph import Inputs

if TYPE_CHECKING:
    from edgekit_converters.sources.causal_lm import Geometry


@dataclass(frozen=True)
class StepInputs(Inputs):
    """Inputs of a step: four dimensions of a cache are no picture, however many heads there are."""

    def specs(self, *, open_batch: bool) -> tuple[TensorSpec, ...]:
        """The tensors' specs, without image layouts."""
        return tuple(replace(spec, layout=None) for spec in super().specs(open_batch=open_batch))


class StepCache:
    """What the layers of a ``transformers`` model ask of a cache: the earlier keys and values before the new ones.

    Args:
        past: Keys and values of each layer, ``(batch, heads, slots, width)``.

    Attributes:
        present: New keys and values of each layer, ``(batch, heads, chunk, width)``.
    """

    is_compileable = False

    def __init__(self, past: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._past = past
        self.present: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Note the new keys and values of a layer; return all that it attends to."""
        self.present[layer_idx] = (keys, values)
        old_keys, old_values = self._past[layer_idx]
        return torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Slots before the new tokens."""
        return int(self._past[layer_idx][0].shape[2])


class StepDecoder(torch.nn.Module):  # type: ignore[misc]
    """One step of a causal language model.

    Args:
        model: A ``transformers`` model with a language head.
        geometry: Its sizes.
    """

    def __init__(self, model: Any, geometry: Geometry) -> None:
        super().__init__()
        self.model = model
        self._geometry = geometry
        limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        self._last = (limit or geometry.slots + geometry.chunk) - 1

    def forward(self, input_ids: torch.Tensor, position: torch.Tensor, *past: torch.Tensor) -> dict[str, torch.Tensor]:
        """Decode a chunk.

        Args:
            input_ids: ``(batch, chunk)`` int64.
            position: ``(batch, 1)`` int64, tokens in the cache.
            past: Keys and values, layer by layer, ``(batch, heads, slots, width)``.

        Returns:
            ``logits`` ``(batch, chunk, vocabulary)``; ``present_key_N`` and ``present_value_N`` of each layer,
            ``(batch, heads, chunk, width)``.
        """
        cache = StepCache(list(zip(past[::2], past[1::2], strict=True)))
        # Padding behind the last token of a full context has no position of its own.
        places = (position + torch.arange(self._geometry.chunk)).clamp(max=self._last)
        answer = self.model(
            input_ids=input_ids,
            attention_mask=self._mask(position),
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
        )
        found = {"logits": answer.logits}
        for layer in range(self._geometry.layers):
            found[f"present_key_{layer}"], found[f"present_value_{layer}"] = cache.present[layer]
        return found

    def _mask(self, position: torch.Tensor) -> torch.Tensor:
        """What each token of the chunk may see, ``(batch, 1, chunk, slots + chunk)``: 0, or float32's lowest."""
        slots, chunk = self._geometry.slots, self._geometry.chunk
        lowest = torch.finfo(torch.float32).min
        filled = torch.arange(slots)[None, None, None, :] < position[:, :, None, None]
        # Sums stand for expansions: LiteRT's own operator for those takes ten times as long.
        past = torch.where(filled, 0.0, lowest) + torch.zeros(chunk, 1)
        new = torch.triu(torch.full((chunk, chunk), lowest), diagonal=1)
        return torch.cat([past, new + 0.0 * past[..., :1]], -1)


def grouped_attention(  # noqa: PLR0917  what transformers calls it with
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention whose queries share keys and values in groups, without repeating the cache for each of a group.

    ``transformers`` repeats them, and the copies took half of a step in LiteRT. Here the queries of a group are rows of
    one product.

    Args:
        module: The layer.
        query: ``(batch, heads, chunk, width)``.
        key: ``(batch, key-value heads, slots + chunk, width)``.
        value: As ``key``.
        attention_mask: ``(batch, 1, chunk, slots + chunk)``, added to the scores.
        scaling: Factor of the scores; ``None`` for one over the root of the width.

    Returns:
        ``(batch, chunk, heads, width)``, and ``None`` for the weights.
    """
    batch, heads, chunk, width = query.shape
    kept, seen = key.shape[1], key.shape[2]
    rows = (query * (width**-0.5 if scaling is None else scaling)).reshape(batch, kept, -1, width)
    scores = (rows @ key.transpose(2, 3)).reshape(batch, heads, chunk, seen) + attention_mask
    shares = torch.softmax(scores, -1).reshape(batch, kept, -1, seen)
    return (shares @ value).reshape(batch, heads, chunk, width).transpose(1, 2), None
