"""The search among readings of the inputs, and what it takes to name one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit.images import read_image
from edgekit.metrics import Metric, Proportion
from edgekit.preprocess import encode_image
from edgekit.spec import Preprocess, TensorSpec
from edgekit.tasks import Task
from edgekit_converters.compare.readings import (
    FACTORS,
    Reading,
    converted,
    described,
    guessed,
    recolourings,
    refilterings,
    reframings,
    remedy,
)
from edgekit_converters.progress import Stages
from edgekit_converters.store import Stored

SCREENED = 16
"""All combinations of values, colours and axes are tried on this many samples, the best on all."""
LOSS_KEPT = 0.9
"""Share of the loss against labels that may remain: cross entropy also falls a little with any sharper filter."""
ERROR_KEPT = 0.5
"""Share of the distance to the original's answers that may remain: the right reading removes nearly all of it."""
_KEPT = 6
_SIGNIFICANCE = 0.01
_POOR = 0.5


@dataclass(frozen=True)
class Diagnosis:
    """What a search found.

    Attributes:
        examined: File whose inputs were changed.
        against: ``labels`` or ``the original's answers``.
        samples: Samples it was tried on.
        tried: Readings tried.
        now: The current reading.
        better: The one that is clearly better, ``None`` where none is.
        changes: Factor -> current and better one, for what has to change.
        before: Samples answered rightly now.
        after: Samples answered rightly with the better reading.
        remedy: What to do; empty where nothing is wrong.
    """

    examined: str
    against: str
    samples: int
    tried: int
    now: str
    better: str | None
    changes: dict[str, tuple[str, str]]
    before: Proportion
    after: Proportion
    remedy: str

    def __str__(self) -> str:
        what = "accuracy" if self.against == "labels" else "agreement with the original"
        if self.better is None:
            return (
                f"{self.examined}: none of {self.tried} other ways to prepare the inputs is clearly better than "
                f"{self.now} ({what} {_percent(self.before)} on {self.samples} samples){self._then}"
            )
        now = ", ".join(old for old, _ in self.changes.values())
        return (
            f"{self.examined} is fed {now}, but answers best with {self.better}: {what} "
            f"{_percent(self.before)} -> {_percent(self.after)} on {self.samples} samples{self._then}"
        )

    @property
    def _then(self) -> str:
        return f"; {self.remedy}" if self.remedy else ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "text": str(self)}


@dataclass(frozen=True)
class Score:
    """Loss of each sample (lower is better), and whether it was answered rightly."""

    loss: Array
    right: Array

    @property
    def mean(self) -> float:
        """Mean loss."""
        mean: float = self.loss.mean()
        return mean

    def first(self, count: int) -> Score:
        """The score of the first samples alone."""
        return Score(self.loss[:count], self.right[:count])


def is_poor(accuracy: Metric | None) -> bool:
    """Whether the accuracy is below one half, 95 % sure."""
    return isinstance(accuracy, Proportion) and accuracy.total > 0 and accuracy.interval()[1] < _POOR


class Search:
    """Tries readings and remembers what each scored.

    Args:
        task: Encodes the inputs.
        stored: Samples.
        score: Scores the first samples, given as many feeds.
        stages: Progress.
        kept: Share of the mean loss that may remain for a reading to count as better: `LOSS_KEPT` or `ERROR_KEPT`.
    """

    def __init__(
        self,
        task: Task,
        stored: Sequence[Stored],
        score: Callable[[Sequence[Feeds]], Score],
        stages: Stages,
        kept: float,
    ) -> None:
        self.tensor = picture_input(task)
        self.stored, self.score, self.stages, self.kept = stored, score, stages, kept
        own = task.spec.preprocess if task.name == "image-classification" else None
        arrays = (sample.feeds[self.tensor.name] for sample in stored)
        self.current = self.best = Reading(own or (guessed(arrays) if task.name == "tensors" else Preprocess()))
        self.scores: dict[Reading, Score] = {}
        self.photos: list[Any] = []

    def recolour(self) -> None:
        """Screen all values, colours and axes on a few samples; try the best on all."""
        candidates = [r for r in recolourings(self.current, self.tensor) if r != self.current]
        few = min(SCREENED, len(self.stored))
        with self.stages.stage("try other readings of the inputs", len(candidates)):
            screened = {reading: self._scored(reading, few).mean for reading in self.stages.each(candidates)}
        promising = sorted(screened, key=lambda reading: screened[reading])[:_KEPT]
        self._take_best(promising)
        self.tried = len(candidates)

    def reframe(self, photos: list[Any]) -> None:
        """Frame the photos anew, then filter them anew, from the best so far."""
        self.photos = photos
        for candidates in (reframings, None):
            readings = candidates(self.best, self.tensor) if candidates else refilterings(self.best)
            new = [reading for reading in readings if reading != self.best]
            with self.stages.stage("try other framings and filters", len(new)):
                self._take_best(list(self.stages.each(new)))
            self.tried += len(new)

    def _take_best(self, readings: Iterable[Reading]) -> None:
        for reading in (self.current, *readings):
            if self._full(reading).mean < self._full(self.best).mean:
                self.best = reading

    def _full(self, reading: Reading) -> Score:
        if reading not in self.scores:
            self.scores[reading] = self._scored(reading, len(self.stored))
        return self.scores[reading]

    def _scored(self, reading: Reading, count: int) -> Score:
        if reading in self.scores:
            return self.scores[reading].first(count)
        same_frame = all(reading.part(factor) == self.current.part(factor) for factor in ("framing", "filter"))
        feeds = [self._feeds(place, reading, same_frame) for place in range(count)]
        return self.score(feeds)

    def _feeds(self, place: int, reading: Reading, same_frame: bool) -> Feeds:
        feeds, name = self.stored[place].feeds, self.tensor.name
        if same_frame:
            return {**feeds, name: converted(feeds[name], self.current.how, reading, self.tensor)}
        encoded = encode_image(_picture(self.photos[place]), self.tensor, reading.how)
        return {**feeds, name: converted(encoded, reading.how, reading, self.tensor)}

    def diagnosis(self, examined: str, against: str) -> Diagnosis:
        """Name what has to change, and nothing that does not."""
        best = self.best
        if not self._clearly_better(best, self.current):
            best = self.current
        for factor in reversed(FACTORS):
            without = best.with_part(factor, self.current)
            needed = self._more_right if factor in ("framing", "filter") else self._clearly_better
            if without != best and not needed(best, without):
                best = without
        changed = [factor for factor in FACTORS if best.part(factor) != self.current.part(factor)]
        before, after = (_proportion(self._full(reading)) for reading in (self.current, best))
        return Diagnosis(
            examined=examined,
            against=against,
            samples=len(self.stored),
            tried=self.tried,
            now=described(self.current, ("values", "colour")),
            better=described(best, tuple(changed)) if changed else None,
            changes={factor: (self.current.part(factor), best.part(factor)) for factor in changed},
            before=before,
            after=after,
            remedy=_advice(best, changed, against, before),
        )

    def _clearly_better(self, one: Reading, other: Reading) -> bool:
        new, old = self._full(one), self._full(other)
        wins, losses = int((new.loss < old.loss).sum()), int((new.loss > old.loss).sum())
        sure = sign_test(wins, losses) * max(1, self.tried) < _SIGNIFICANCE
        if self.kept == ERROR_KEPT:  # a few golden samples prove nothing by count, but all of them that much nearer do
            sure = sure or bool((new.loss <= ERROR_KEPT * old.loss).all())
        return sure and new.mean <= self.kept * old.mean and int(new.right.sum()) >= int(old.right.sum())

    def _more_right(self, one: Reading, other: Reading) -> bool:
        """Whether significantly more samples are answered rightly (exact McNemar test).

        Another frame or a sharper picture makes most answers a little surer without having been the training's.
        """
        new, old = self._full(one).right, self._full(other).right
        return sign_test(int((new & ~old).sum()), int((old & ~new).sum())) * max(1, self.tried) < _SIGNIFICANCE


def sign_test(wins: int, losses: int) -> float:
    """Probability of so many wins or more if both were equally good (one-sided exact sign test; ties left out)."""
    count = wins + losses
    tail = sum(comb(count, k) for k in range(wins, count + 1))
    return tail / float(2**count)


def _advice(best: Reading, changed: list[str], against: str, before: Proportion) -> str:
    if not changed and not is_poor(before):
        return ""
    if against != "labels":
        found = "feed it so, or convert the model again"
        return found if changed else "the cause lies in the file: convert the model again"
    if not changed:
        return (
            "check that the labels are in the model's own order of classes, and that the weights are the trained ones"
        )
    if "axes" in changed:
        return "the data or the model has its axes in another order"
    return f"convert with {remedy(best)}"


def picture_input(task: Task) -> TensorSpec:
    """The input that takes a picture."""
    return next(tensor for tensor in task.spec.inputs if tensor.layout is not None)


def _picture(value: Any) -> Array:
    return read_image(Path(value)) if isinstance(value, (str, Path)) else np.asarray(value)


def _proportion(score: Score) -> Proportion:
    return Proportion(int(score.right.sum()), len(score.right))


def _percent(share: Proportion) -> str:
    return f"{100 * share.value:.0f} %"
