"""Ranking: a user in, the items to recommend out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Estimate, Metric, bootstrapped
from edgekit.parity import Scorer
from edgekit.spec import Spec
from edgekit.table import word_of
from edgekit.tasks.base import ResultScorer
from edgekit.tasks.row import RowTask

CUT = 10
"""Places that recall and NDCG look at."""


@dataclass(frozen=True)
class RankingOptions:
    """Options of `Ranking`.

    Attributes:
        user: Column that says who asks; it need not be one that the model takes.
        top_n: Items in a result.
        seen_file: JSON file of the bundle, ``{"user": ["item", …]}``: items that a user knows and is not offered.
        items_file: ``.npy`` file of the bundle, ``(items, size)`` float32: the items' embeddings, for a model that
            gives the user's; a score is their dot product. ``None`` for a model that gives the scores.
    """

    user: str = "user"
    top_n: int = CUT
    seen_file: str | None = None
    items_file: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.top_n, bool) or not isinstance(self.top_n, int) or self.top_n < 1:
            raise SpecRefused(f"options.top_n = {self.top_n!r}", expected="1 or more")
        for name in ("user", "seen_file", "items_file"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name != "user"):
                raise SpecRefused(f"options.{name} = {value!r}", expected="text")


@dataclass(frozen=True)
class Ranked:
    """One item.

    Attributes:
        index: Number of the item.
        name: Its name.
        score: The model's score; only its order means anything.
    """

    index: int
    name: str
    score: float


@dataclass(frozen=True)
class Recommendation:
    """Items that the user has not seen, best first; none when everything was seen.

    Attributes:
        items: The items.
    """

    items: tuple[Ranked, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"items": [{"index": item.index, "name": item.name, "score": item.score} for item in self.items]}

    def __str__(self) -> str:
        return ", ".join(f"{item.name} {item.score:.3g}" for item in self.items) or "nothing that was not seen"


class Ranking(RowTask):
    """Takes a row that says who asks, or the user alone; gives a `Recommendation`.

    The model gives a score for each item, or the user's embedding, which is multiplied with a table of the items'.
    The labels are the items' names.

    Attributes:
        options: As the spec has them.
        top_n: Items in a result.
    """

    name: ClassVar[str] = "ranking"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(RankingOptions)
        self.top_n = self.options.top_n
        self.output = spec.outputs[0].name
        self.labels = spec.labels or ()
        if not self.labels:
            raise SpecRefused("ranking without labels", expected="the items' names, one a line (--labels)")
        given = self._table.shape[1] if self._table is not None else len(self.labels)
        sizes = [size for size in spec.outputs[0].shape[1:] if size not in (None, 1)]
        if sizes and sizes != [given]:
            raise SpecRefused(
                f"output {self.output!r} of shape {list(spec.outputs[0].shape)} for {len(self.labels)} items",
                expected=f"(batch, {given})",
                remedy="pass one label an item; a model that gives embeddings needs items_file in [options]",
            )

    def row(self, item: Any) -> Mapping[str, Any]:
        """Return an item as column -> value; a single word or number is the user."""
        alone = isinstance(item, (int, np.integer)) or (isinstance(item, str) and "=" not in item)
        return super().row({self.options.user: item} if alone else item)

    def context(self, row: Mapping[str, Any]) -> str:
        """The user. Raises DataRefused for a row that says none."""
        user = self.table.known(row.get(self.options.user))
        if user is None:
            raise DataRefused("a row that says no user", expected=f"a value in column {self.options.user!r}")
        return word_of(user)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Recommendation]:
        """Return the best unseen items of each user. Raises DataRefused for NaN."""
        scores = self.scores(outputs)
        for row, user in zip(scores, contexts or (), strict=False):
            row[self._seen.get(user, [])] = -np.inf
        return [self._best(row) for row in scores]

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        """Return the scores of all items, ``(batch, items)`` float32, seen or not. Raises DataRefused for NaN."""
        given = np.array(outputs[self.output], np.float32)
        given = given.reshape(len(given), -1)
        if not np.isfinite(given).all():
            raise DataRefused(f"output {self.output!r} holds NaN or infinity", expected="finite scores")
        scores: Array = given if self._table is None else given @ self._table.T
        if scores.shape[1] != len(self.labels):
            raise DataRefused(f"scores of {scores.shape[1]} items", expected=f"{len(self.labels)}, one a label")
        return scores

    def _best(self, scores: Array) -> Recommendation:
        count = min(self.top_n, len(scores))
        # All that reach the score of the last place, so that of equal ones the first in the list are taken.
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        reached = np.flatnonzero(scores >= least)
        order = reached[np.argsort(-scores[reached], kind="stable")][:count]
        order = order[np.isfinite(scores[order])]
        return Recommendation(tuple(Ranked(int(i), self.labels[i], float(scores[i])) for i in order))

    def scorer(self) -> Scorer:
        """Overlap of the first ten; NDCG at 10."""
        return RankingScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> frozenset[int] | None:
        """Return the numbers of the items that were right.

        Args:
            spec: With labels.
            raw: The name of an item, several with ``|`` between them, or a list of names.
            where: For messages.
        """
        if raw is None or raw in ("", []):
            return None
        names = raw.split("|") if isinstance(raw, str) else raw if isinstance(raw, (list, tuple)) else [raw]
        numbers = _numbers(spec.labels or ())
        for name in names:
            if word_of(name) not in numbers:
                raise DataRefused(f"{where}: item {name!r:.80}", expected="the name of an item, as in the labels")
        return frozenset(numbers[word_of(name)] for name in names)

    @cached_property
    def _table(self) -> Array | None:
        if self.options.items_file is None:
            return None
        path = (self.root or Path()) / self.options.items_file
        try:
            table: Array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SpecRefused(f"{path} cannot be read: {error}", expected="a .npy file") from error
        if table.ndim != 2 or len(table) != len(self.labels) or not np.isfinite(table).all():
            raise SpecRefused(
                f"{path} holds {list(table.shape)} numbers", expected=f"({len(self.labels)}, size), all finite"
            )
        return table.astype(np.float32)

    @cached_property
    def _seen(self) -> dict[str, list[int]]:
        """User -> numbers of the items that he knows."""
        if self.options.seen_file is None:
            return {}
        path = (self.root or Path()) / self.options.seen_file
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise SpecRefused(f"{path} cannot be read: {error}", expected="a JSON file") from error
        numbers = _numbers(self.labels)
        try:
            return {user: [numbers[word_of(name)] for name in names] for user, names in raw.items()}
        except (AttributeError, TypeError) as error:
            raise SpecRefused(f"{path} is no table of users", expected='{"user": ["item", …]}') from error
        except KeyError as error:
            raise SpecRefused(f"{path} names the item {error.args[0]!r}", expected="items of the labels") from error


class RankingScorer(ResultScorer):
    """Compares the first ten items.

    Args:
        task: Decodes.
    """

    def __init__(self, task: Ranking) -> None:
        super().__init__(task)
        self._overlaps: list[float] = []
        self._gains: tuple[list[float], list[float]] = ([], [])

    def add(self, want: Recommendation, got: Recommendation, truth: frozenset[int] | None) -> None:
        """Take a pair of results and the right items."""
        sides = [[item.index for item in side.items[:CUT]] for side in (want, got)]
        longest = max(map(len, sides))
        self._overlaps.append(len(set(sides[0]) & set(sides[1])) / longest if longest else 1.0)
        if truth:
            for gains, ranked in zip(self._gains, sides, strict=True):
                gains.append(ndcg(ranked, truth))

    def missing(self, want: Recommendation, truth: frozenset[int] | None) -> None:
        """Count an empty answer."""
        self._overlaps.append(0.0)
        if truth:
            self._gains[0].append(ndcg([item.index for item in want.items], truth))
            self._gains[1].append(0.0)

    def agreement(self) -> Metric | None:
        """Mean share of the first ten items that both give."""
        return _mean(f"top-{CUT} overlap", self._overlaps)

    def metrics(self) -> tuple[Metric, Metric] | None:
        """NDCG at 10, the mean over users; None without truths."""
        original, artifact = (_mean(f"NDCG@{CUT}", gains) for gains in self._gains)
        return None if original is None or artifact is None else (original, artifact)


def ndcg(ranked: Sequence[int], relevant: frozenset[int], cut: int = CUT) -> float:
    """Normalized discounted cumulative gain of one user, every right item being worth the same.

    Järvelin and Kekäläinen 2002, ACM Transactions on Information Systems 20:422, with the logarithm of base 2.

    Args:
        ranked: Items, best first.
        relevant: The right ones, at least one.
        cut: Places that count.

    Returns:
        0..1.
    """
    gain = sum(1 / math.log2(place + 2) for place, item in enumerate(ranked[:cut]) if item in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(cut, len(relevant))))


def recall(ranked: Sequence[int], relevant: frozenset[int], cut: int = CUT) -> float:
    """Share of one user's right items, at least one, among the first ``cut``."""
    return len(relevant.intersection(ranked[:cut])) / len(relevant)


def _mean(name: str, values: Sequence[float]) -> Estimate | None:
    array = np.array(values)
    return bootstrapped(name, len(array), lambda drawn: float(array[drawn].mean())) if len(array) else None


def _numbers(labels: Sequence[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(labels)}
