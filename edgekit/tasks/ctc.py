"""Connectionist temporal classification (Graves et al., ICML 2006): frames of scores to tokens; edit distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array

_MIN_LOG_SHARE = -12.0


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
    2014. Tokens of a frame whose probability is below ``exp(-12)`` are not tried.

    Args:
        logs: ``(frames, tokens)``.
        blank: Number of the blank token.
        width: Prefixes that are kept after each frame.
    """
    beams: dict[tuple[int, ...], _Beam] = {(): _Beam(0.0, -np.inf, ())}
    for frame, row in enumerate(logs):
        # A frame that is blank beyond doubt changes no prefix but its last token's repetition.
        tried = [int(t) for t in np.flatnonzero(row > _MIN_LOG_SHARE) if t != blank] or [int(row.argmax())]
        grown: dict[tuple[int, ...], _Beam] = {}
        for prefix, beam in beams.items():
            stays = grown.setdefault(prefix, _Beam(-np.inf, -np.inf, beam.frames))
            stays.blank = float(np.logaddexp(stays.blank, beam.total + row[blank]))
            if prefix:
                stays.token = float(np.logaddexp(stays.token, beam.token + row[prefix[-1]]))
            for token in tried:
                if token == blank:
                    continue
                # The same token again makes a new one only after a blank.
                before = beam.blank if prefix and prefix[-1] == token else beam.total
                longer = grown.setdefault((*prefix, token), _Beam(-np.inf, -np.inf, (*beam.frames, frame)))
                longer.token = float(np.logaddexp(longer.token, before + row[token]))
        kept = sorted(grown.items(), key=lambda item: (-item[1].total, item[0]))[:width]
        beams = dict(kept)
    tokens, best = next(iter(beams.items()))
    return Path(tokens, best.frames, best.total)


@dataclass
class _Beam:
    """Logarithms of the probability that a prefix ends in a blank, and in its last token."""

    blank: float
    token: float
    frames: tuple[int, ...]

    @property
    def total(self) -> float:
        return float(np.logaddexp(self.blank, self.token))


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
