"""Give a transformers model plain tensors: named inputs, the outputs that a task needs.

Imports torch when imported; ``huggingface`` imports it late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from edgekit_converters.sources._hf_folder import Pooling

EMBEDDING = "sentence_embedding"
OUTPUTS = ("logits", "start_logits", "end_logits", "pred_boxes", "last_hidden_state")


class Plain(torch.nn.Module):  # type: ignore[misc]
    """A model that takes tensors by name and gives its task's tensors only: no caches, no pooler, no attentions.

    Args:
        model: The model.
        names: What it takes, in order.
    """

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *tensors: Any) -> dict[str, Any]:
        """Return output name -> tensor."""
        answer = self.model(**dict(zip(self.names, tensors, strict=True)))
        return {name: answer[name] for name in OUTPUTS if answer.get(name) is not None}


class Pooled(torch.nn.Module):  # type: ignore[misc]
    """An encoder whose token states become one vector, as sentence-transformers pools them.

    Args:
        model: The encoder.
        names: What it takes, in order, ``attention_mask`` among them.
        pooling: ``mean`` over the real tokens, or the first token's state.
    """

    def __init__(self, model: Any, names: Sequence[str], pooling: Pooling) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.pooling = pooling

    def forward(self, *tensors: Any) -> dict[str, Any]:
        """Return ``sentence_embedding``, ``(batch, dimensions)``, not normalized."""
        feeds = dict(zip(self.names, tensors, strict=True))
        states = self.model(**feeds).last_hidden_state
        if self.pooling == "cls":
            return {EMBEDDING: states[:, 0]}
        weights = feeds["attention_mask"].unsqueeze(-1).to(states.dtype)
        return {EMBEDDING: (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)}
