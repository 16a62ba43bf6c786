"""Connectionist temporal classification (Graves et al., ICML 2006): frames of scores to tokens; edit distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array


@dataclass(frozen=True)
class Path:
    """Tokens read from frames.

    Attributes:
        tokens: Token numbers.
        frames: Frame at which each was heard first.
        log_share: Natural logarithm of its probability; of a greedy path that of the single best alignment.
    """

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    log_share: float


def log_shares(scores: Array) -> NDArray[np.float64]:
    """Turn logits, probabilities or their logarithms ``(frames, tokens)`` into logarithms of probabilities.

    The softmax of logarithms of probabilities is those probabilities; probabilities themselves are told by their sums.
    """
    given = np.asarray(scores, np.float64)
    if given.size and given.min() >= 0 and np.all(np.abs(given.sum(axis=1) - 1) < 0.05):
        found: NDArray[np.float64] = np.log(np.maximum(given, 1e-12))
        return found
    shifted = given - given.max(axis=1, keepdims=True)
    softened: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return softened


def greedy(logs: NDArray[np.float64], blank: int) -> Path:
    """Take the best token of each frame, join repetitions, leave blanks out."""
    best = logs.argmax(axis=1)
    first = np.flatnonzero((best != np.concatenate([[-1], best[:-1]])) & (best != blank))
    share = float(logs[np.arange(len(best)), best].sum())
    return Path(tuple(best[first].tolist()), tuple(first.tolist()), share)


def beam_search(logs: NDArray[np.float64], blank: int, width: int) -> Path:
    """Find the most probable text over all its alignments by prefix beam search, without a language model.

    See Hannun et al., First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs,
    2014.

    Args:
        logs: ``(frames, tokens)``.
        blank: Number of the blank token.
        width: Prefixes that are kept after each frame.
    """
    prefixes: list[tuple[int, ...]] = [()]
    frames: list[tuple[int, ...]] = [()]
    # Logarithms of the probability that a prefix ends in a blank, and in its last token.
    ends_blank, ends_token = np.zeros(1), np.full(1, -np.inf)
    for at, row in enumerate(logs):
        total = np.logaddexp(ends_blank, ends_token)
        last = np.array([prefix[-1] if prefix else blank for prefix in prefixes])
        longer = total[:, None] + row
        # The same token again makes a new one only after a blank.
        longer[np.arange(len(last)), last] = ends_blank + row[last]
        longer[:, blank] = -np.inf
        stays_blank, stays_token = total + row[blank], np.where(last == blank, -np.inf, ends_token + row[last])
        later = _merged(prefixes, longer, stays_blank, stays_token)
        heard = [(*frames[later[i]], at) if i in later else frames[i] for i in range(len(frames))]
        scores = np.concatenate([np.logaddexp(stays_blank, stays_token), longer.ravel()])
        best = np.argsort(-scores, kind="stable")[:width]
        best = best[scores[best] > -np.inf]
        kept, grown = best[best < len(prefixes)], best[best >= len(prefixes)] - len(prefixes)
        parents, tokens = np.divmod(grown, len(row))
        ends_blank = np.concatenate([stays_blank[kept], np.full(len(grown), -np.inf)])
        ends_token = np.concatenate([stays_token[kept], longer.ravel()[grown]])
        pairs = list(zip(parents.tolist(), tokens.tolist(), strict=True))
        frames = [*(heard[i] for i in kept), *((*frames[parent], at) for parent, _ in pairs)]
        prefixes = [*(prefixes[i] for i in kept), *((*prefixes[parent], token) for parent, token in pairs)]
    totals = np.logaddexp(ends_blank, ends_token)
    winner = int(totals.argmax())
    return Path(prefixes[winner], frames[winner], float(totals[winner]))


def _merged(
    prefixes: list[tuple[int, ...]],
    longer: NDArray[np.float64],
    stays_blank: NDArray[np.float64],
    stays_token: NDArray[np.float64],
) -> dict[int, int]:
    """Where a prefix grows into one that is kept already, add the two.

    Returns:
        Prefix -> the one it grew from, where that is the likelier of the two: its last token was heard now.
    """
    known = {prefix: number for number, prefix in enumerate(prefixes)}
    later = {}
    for number, prefix in enumerate(prefixes):
        parent = known.get(prefix[:-1]) if prefix else None
        if parent is not None:
            grown = longer[parent, prefix[-1]]
            if grown > np.logaddexp(stays_blank[number], stays_token[number]):
                later[number] = parent
            stays_token[number] = np.logaddexp(stays_token[number], grown)
            longer[parent, prefix[-1]] = -np.inf
    return later


def edits(want: Sequence[Any], got: Sequence[Any]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein 1966).

    Each row is computed at once: what lies to the left costs a running minimum.
    """
    known = {value: number for number, value in enumerate(dict.fromkeys([*want, *got]))}
    one = np.array([known[value] for value in want], np.int64)
    other = np.array([known[value] for value in got], np.int64)
    steps = np.arange(len(other) + 1)
    row = steps
    for number, value in enumerate(one, 1):
        direct = np.minimum(row[:-1] + (other != value), row[1:] + 1)
        reached = np.concatenate([[number], direct])
        row = np.minimum.accumulate(reached - steps) + steps
    return int(row[-1])
