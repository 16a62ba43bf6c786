"""Parity of language models: perplexity of a text, and whether both would go on with the same token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.engine import Array
from edgekit.metrics import Estimate, Metric, Proportion, bootstrapped
from edgekit.parity import Scorer
from edgekit.tasks.decoder_step import LOGITS


class PerplexityScorer(Scorer):
    """Scores every token of a text, given those before it.

    Perplexity is the exponential of the mean negative log-likelihood of all tokens but the first of each text; its
    interval comes from drawing texts anew.

    Args:
        ids_of: Context of an input -> its tokens.
    """

    def __init__(self, ids_of: Callable[[Any], Sequence[int]]) -> None:
        self._ids_of = ids_of
        self._texts: list[tuple[float, float, int]] = []
        self._agree = self._tokens = 0

    def update(
        self,
        reference: Mapping[str, Array],
        candidate: Mapping[str, Array],
        truths: Sequence[Any] | None = None,  # the text itself is the truth
        contexts: Sequence[Any] | None = None,
    ) -> None:
        """Add all chunks of one text; made-up inputs, which have no context, are left out."""
        if contexts is None or len(contexts) != 1 or contexts[0] is None:
            return
        ids = np.asarray(self._ids_of(contexts[0]), np.int64)
        want, got = (_rows(outputs, len(ids)) for outputs in (reference, candidate))
        self._tokens += len(ids)
        self._agree += int((want.argmax(axis=1) == got.argmax(axis=1)).sum())
        if len(ids) > 1:
            surprise = [float(negative_log_likelihood(rows[:-1], ids[1:]).sum()) for rows in (want, got)]
            self._texts.append((surprise[0], surprise[1], len(ids) - 1))

    def agreement(self) -> Metric | None:
        """Tokens after which both would go on alike."""
        return Proportion(self._agree, self._tokens, "next-token agreement") if self._tokens else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Perplexity."""
        if not self._texts:
            return None
        table = np.array(self._texts, np.float64)
        return perplexity(table[:, 0], table[:, 2]), perplexity(table[:, 1], table[:, 2])


def perplexity(surprises: Array, tokens: Array) -> Estimate:
    """Perplexity over texts.

    Args:
        surprises: Negative log-likelihood of each text in nats, ``(texts,)``.
        tokens: Tokens that it is the sum over, ``(texts,)``.
    """

    def over(texts: Array) -> float:
        return float(np.exp(np.minimum(surprises[texts].sum() / tokens[texts].sum(), 700)))

    return bootstrapped("perplexity", len(surprises), over, higher_is_better=False, share=False)


def negative_log_likelihood(logits: Array, ids: Array) -> Array:
    """Nats of each token.

    Args:
        logits: ``(tokens, vocabulary)``; NaN gives the probability 0.
        ids: The tokens that came, ``(tokens,)``.

    Returns:
        ``(tokens,)`` float64.
    """
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    found = np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(ids)), ids]
    known: Array = np.nan_to_num(found, nan=np.inf)
    return known


def _rows(outputs: Mapping[str, Array], count: int) -> Array:
    """Logits of the chunks one below the other, without the padding of the last."""
    logits = outputs[LOGITS]
    rows: Array = logits.reshape(-1, logits.shape[-1])[:count]
    return rows
