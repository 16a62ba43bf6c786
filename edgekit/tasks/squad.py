"""Exact match and F1 of answers, as the official evaluation of SQuAD counts them.

Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text", and its ``evaluate-v2.0.py``.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Return an answer in lower case without punctuation, English articles and repeated white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answers: Sequence[str], given: str) -> float:
    """Return 1 where the answer is one of the right ones, else 0.

    Args:
        answers: Right answers; none where the text does not answer the question.
        given: The answer; empty for none.
    """
    return _best(answers, given, lambda right: float(normalized(right) == normalized(given)))


def token_f1(answers: Sequence[str], given: str) -> float:
    """Return the F1 of an answer's words, 0..1, against the right answer that it is nearest to; arguments as above."""
    return _best(answers, given, lambda right: _f1(normalized(right).split(), normalized(given).split()))


def _best(answers: Sequence[str], given: str, score: Callable[[str], float]) -> float:
    """Right answers of which nothing is left are none, unless all are so."""
    known = [answer for answer in answers if normalized(answer)] or [""]
    return max(score(answer) for answer in known)


def _f1(right: list[str], given: list[str]) -> float:
    if not right or not given:
        return float(right == given)
    same = sum((Counter(right) & Counter(given)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(given), same / len(right)
    return 2 * precision * recall / (precision + recall)
