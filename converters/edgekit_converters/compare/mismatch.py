"""The mismatch doctor: when answers are far off, find out whether the inputs are prepared otherwise than in training.

Colour order, value range, order of axes, framing and filter are tried against the labels or against the original's
answers. A cause is named only when it is clearly one: on most samples the answer is better than with the current
reading (exact sign test, corrected for the number of readings tried), the gain is large, and each change that is named
is needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb, isfinite
from typing import Any

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit.errors import EdgeKitError
from edgekit.metrics import Proportion
from edgekit.parity import Parity, decision
from edgekit.preprocess import encode_image
from edgekit.spec import Preprocess, TensorSpec
from edgekit.tasks import Task
from edgekit.tasks.classification import probabilities
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
from edgekit_converters.compare.samples import spread
from edgekit_converters.compare.subject import BoundFile, Subject
from edgekit_converters.data import open_dataset
from edgekit_converters.progress import Stages
from edgekit_converters.store import SampleStore, Stored

SAMPLES = 64
SCREENED = 16
"""All combinations of values, colours and axes are tried on this many samples, the best on all."""
_KEPT = 6
_SIGNIFICANCE = 0.01
_LOSS_KEPT = 0.9
"""Share of the loss against labels that may remain: cross entropy also falls a little with any sharper filter."""
_ERROR_KEPT = 0.5
"""Share of the distance to the original's answers that may remain: the right reading removes nearly all of it."""
_LEAST = 1e-9  # share of a class that a saturated softmax gives as 0
_TEMPERATURES = tuple(np.geomspace(0.1, 10.0, 21))
_POOR = 0.5
_FAR = 0.5

Run = Callable[[Feeds], Mapping[str, Array]]


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
class _Score:
    """Loss of each sample (lower is better), and whether it was answered rightly."""

    loss: Array
    right: Array

    @property
    def mean(self) -> float:
        mean: float = self.loss.mean()
        return mean

    def first(self, count: int) -> _Score:
        return _Score(self.loss[:count], self.right[:count])


def is_far_off(subject: Subject, outputs: Parity) -> bool:
    """Whether the answers are so far off that a mismatch of the inputs is likely: the artifact's or the original's."""
    return _is_picture(subject.task) and (_artifact_is_far(outputs) or is_poor(outputs.reference_accuracy))


def is_poor(accuracy: Proportion | None) -> bool:
    """Whether the accuracy is below one half, 95 % sure."""
    return accuracy is not None and accuracy.total > 0 and accuracy.interval()[1] < _POOR


def _artifact_is_far(outputs: Parity) -> bool:
    return outputs.worst.relative_l2 > _FAR


def diagnose(subject: Subject, outputs: Parity, stages: Stages, *, all_of_it: bool) -> tuple[Diagnosis, ...]:
    """Look for a mismatch of the inputs of the original, by labels, and of the artifact, by the original's answers.

    Args:
        subject: What is compared.
        outputs: How the artifact answers.
        stages: Progress.
        all_of_it: Examine both; otherwise only what is far off.
    """
    if not _is_picture(subject.task):
        stages.note("nothing to diagnose: the inputs are no pictures")
        return ()
    found = []
    labelled = any(label is not None for label in subject.samples.labels())
    if labelled and subject.task.decides is not None and (all_of_it or is_poor(outputs.reference_accuracy)):
        found.append(_examine_original(subject, stages))
    if all_of_it or _artifact_is_far(outputs):
        with subject.artifact.opened(subject.task.spec) as engine:
            found.append(_examine_answers(subject, engine.run, stages))
    return tuple(found)


def _examine_original(subject: Subject, stages: Stages) -> Diagnosis:
    """The float artifact answers in the original's place where there is one: much faster, one sample at a time."""
    given = {"data": subject.data, "stages": stages}
    if subject.reference is None:
        assert subject.answer is not None  # noqa: S101  labels come with data, and data with something that answers
        return examine_labels(subject.title, subject.task, subject.samples, run=subject.answer, **given)
    with subject.reference.opened(subject.task.spec) as engine:
        return examine_labels(subject.title, subject.task, subject.samples, run=engine.run, **given)


def note_mismatch(
    file: BoundFile, task: Task, samples: SampleStore, accuracy: Proportion | None, *, data: Any, stages: Stages
) -> None:
    """Tell the user of a mismatch where the accuracy is poor; takes no time where it is not.

    Args:
        file: A float artifact that answers as the model does.
        task: Of the conversion.
        samples: Evaluation data.
        accuracy: What the model gets right of them.
        data: What they were read from.
        stages: Gets the note.
    """
    if not is_poor(accuracy) or not _is_picture(task) or task.decides is None:
        return
    with file.opened(task.spec) as engine:
        found = examine_labels("the model", task, samples, data=data, run=engine.run, stages=stages, limit=SAMPLES // 2)
    if found.better is not None:
        stages.note(str(found))


def examine_labels(
    title: str, task: Task, samples: SampleStore, *, data: Any, run: Run, stages: Stages, limit: int = SAMPLES
) -> Diagnosis:
    """Find the reading with which a model gets the most labels right.

    Args:
        title: What the model is called.
        task: With a decision.
        samples: Encoded, some of them labelled.
        data: What they were read from: photos can be framed anew.
        run: The model, on the spec's inputs.
        stages: Progress.
        limit: Samples to try it on, evenly spread.
    """
    labelled = [place for place, label in enumerate(samples.labels()) if label is not None]
    stored = [samples[labelled[place]] for place in spread(len(labelled), limit)]
    search = _Search(task, stored, lambda feeds: _against_labels(task, run, feeds, stored), stages, _LOSS_KEPT)
    search.recolour()
    photos = _photos(task, data, [sample.name for sample in stored])
    if photos:
        search.reframe(photos)
    return search.diagnosis(title, "labels")


def _examine_answers(subject: Subject, run: Run, stages: Stages) -> Diagnosis:
    stored = [subject.samples[place] for place in spread(len(subject.samples), SAMPLES)]
    decides = subject.task.decides
    search = _Search(
        subject.task, stored, lambda feeds: _against_answers(decides, run, feeds, stored), stages, _ERROR_KEPT
    )
    search.recolour()
    return search.diagnosis(subject.artifact.path.name, "the original's answers")


class _Search:
    """Tries readings and remembers what each scored."""

    def __init__(
        self,
        task: Task,
        stored: Sequence[Stored],
        score: Callable[[Sequence[Feeds]], _Score],
        stages: Stages,
        kept: float,
    ) -> None:
        self.tensor = picture_input(task)
        self.stored, self.score, self.stages, self.kept = stored, score, stages, kept
        own = task.spec.preprocess if task.name == "image-classification" else None
        arrays = (sample.feeds[self.tensor.name] for sample in stored)
        self.current = self.best = Reading(own or (guessed(arrays) if task.name == "tensors" else Preprocess()))
        self.scores: dict[Reading, _Score] = {}
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

    def _full(self, reading: Reading) -> _Score:
        if reading not in self.scores:
            self.scores[reading] = self._scored(reading, len(self.stored))
        return self.scores[reading]

    def _scored(self, reading: Reading, count: int) -> _Score:
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
        if self.kept == _ERROR_KEPT:  # a few golden samples prove nothing by count, but all of them that much nearer do
            sure = sure or bool((new.loss <= _ERROR_KEPT * old.loss).all())
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


def _against_labels(task: Task, run: Run, feeds: Sequence[Feeds], stored: Sequence[Stored]) -> _Score:
    """Cross entropy of the labelled class at the best temperature.

    Other values make the same network more or less sure of itself, which alone says nothing of them: scores are
    compared after temperature scaling (Guo et al., 2017, arXiv:1706.04599).
    """
    assert task.decides is not None  # noqa: S101  examine_labels is for tasks that decide
    scores = [run(item)[task.decides] for item in feeds]
    labels = np.array([int(sample.label or 0) for sample in stored[: len(feeds)]])
    shares = np.concatenate([probabilities(np.nan_to_num(row)) for row in scores])
    known = labels < shares.shape[1]
    picked = np.where(known, labels, 0)
    logs = np.log(np.maximum(shares, _LEAST))
    losses = [_cross_entropy(logs / temperature, picked) for temperature in _TEMPERATURES]
    loss = min(losses, key=lambda each: float(each.mean()))
    right = np.array([int(decision(row)[0]) for row in scores]) == labels
    return _Score(np.where(known, loss, -np.log(_LEAST)), right)


def _cross_entropy(logits: Array, labels: Array) -> Array:
    top = logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    losses: Array = sums - logits[np.arange(len(labels)), labels]
    return losses


def _against_answers(decides: str | None, run: Run, feeds: Sequence[Feeds], stored: Sequence[Stored]) -> _Score:
    """Relative L2 of the outputs; right is what is decided alike, or close where nothing is decided."""
    loss, right = [], []
    for sample, item in zip(stored, feeds, strict=False):
        given = run(item)
        errors = [_distance(want, given[name]) for name, want in sample.outputs.items()]
        loss.append(max(errors))
        if decides is None:
            right.append(max(errors) < 0.1)
        else:
            right.append(bool(decision(given[decides])[0] == decision(sample.outputs[decides])[0]))
    return _Score(np.array(loss), np.array(right))


def _distance(want: Array, given: Array) -> float:
    reference, values = want.astype(np.float64).ravel(), given.astype(np.float64).ravel()
    error: float = float(np.linalg.norm(values - reference)) / max(float(np.linalg.norm(reference)), 1e-12)
    return error if isfinite(error) else 1e9


def picture_input(task: Task) -> TensorSpec:
    """The input that takes a picture."""
    return next(tensor for tensor in task.spec.inputs if tensor.layout is not None)


def _is_picture(task: Task) -> bool:
    tensor = next((tensor for tensor in task.spec.inputs if tensor.layout is not None), None)
    if tensor is None or None in tensor.shape[1:]:
        return False
    return tensor.shape[3 if tensor.layout == "NHWC" else 1] == 3


def _photos(task: Task, data: Any, names: Sequence[str]) -> list[Any]:
    """The photos that samples were read from, in the samples' order; nothing where they are no photos."""
    if task.name != "image-classification" or data is None:
        return []
    try:
        found = {item.name: item.value for item in open_dataset(data, task.spec)}
    except EdgeKitError:
        return []
    return [found[name] for name in names] if all(name in found for name in names) else []


def _picture(value: Any) -> Array:
    from pathlib import Path

    from edgekit.images import read_image

    return read_image(Path(value)) if isinstance(value, (str, Path)) else np.asarray(value)


def _proportion(score: _Score) -> Proportion:
    return Proportion(int(score.right.sum()), len(score.right))


def _percent(share: Proportion) -> str:
    return f"{100 * share.value:.0f} %"
