"""Audio classification and keyword spotting: a recording in, classes or the moments of words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Metric, Proportion, bootstrapped
from edgekit.parity import Scorer
from edgekit.spec import Spec
from edgekit.tasks.base import ResultScorer
from edgekit.tasks.classification import Classification, Label, class_number, probabilities, scores_output, sigmoid
from edgekit.tasks.sound import SoundContext, SoundTask, grouped


@dataclass(frozen=True)
class AudioOptions:
    """Options of audio classification.

    Attributes:
        multi_label: Whether classes are independent of each other: a sigmoid each instead of a softmax.
        scores: What the model gives with ``multi_label``: ``logits``, or ``probabilities`` after its own sigmoid.
        threshold: Probability from which on a class counts as heard, with ``multi_label``.
    """

    multi_label: bool = False
    scores: Literal["logits", "probabilities"] = "logits"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.scores not in ("logits", "probabilities"):
            raise SpecRefused(f"options.scores = {self.scores!r}", expected="logits or probabilities")
        _check_share("threshold", self.threshold)


@dataclass(frozen=True)
class KeywordOptions:
    """Options of keyword spotting.

    Attributes:
        smoothing: Windows that probabilities are averaged over, as in Chen, Parada and Heigold, ICASSP 2014.
        threshold: Averaged probability from which on a word counts as spoken.
        refractory: Seconds after an event in which the same word makes no other one.
        background: Labels that are never events; case and ``_`` do not matter.
    """

    smoothing: int = 3
    threshold: float = 0.7
    refractory: float = 0.75
    background: tuple[str, ...] = ("silence", "unknown", "background")

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)
        if self.smoothing < 1 or self.refractory < 0:
            raise SpecRefused(
                f"options.smoothing = {self.smoothing}, refractory = {self.refractory:g}",
                expected="1 window or more, 0 seconds or more",
            )


@dataclass(frozen=True)
class Event:
    """A word that was heard.

    Attributes:
        label: The word.
        index: Its class.
        score: Averaged probability at its best, 0..1.
        start: Seconds from the start of the recording to that of the first window in which it reached the threshold.
        end: Seconds to the end of the last one.
    """

    label: str
    index: int
    score: float
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.label} {100 * self.score:.1f} % at {self.start:.2f}-{self.end:.2f} s"


@dataclass(frozen=True)
class Keywords:
    """Words heard in a recording, by time.

    Attributes:
        events: The words.
        seconds: Length of the recording.
    """

    events: tuple[Event, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"events": [asdict(event) for event in self.events], "seconds": self.seconds}

    def __str__(self) -> str:
        heard = "; ".join(map(str, self.events)) or "nothing"
        return f"{heard} (in {self.seconds:.2f} s)"


class AudioClassification(SoundTask):
    """Gives a `Classification` of the whole recording: the mean over its windows.

    Attributes:
        options: Of the spec.
        top_k: Classes in a result; with ``multi_label`` all that reach the threshold, or the best one.
    """

    name: ClassVar[str] = "audio-classification"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(AudioOptions)
        self._output = scores_output(spec)
        self.decides = None if self.options.multi_label else self._output
        self.top_k = 5

    def shares(self, outputs: Mapping[str, Array]) -> Array:
        """Probabilities ``(windows, classes)``. Raises DataRefused for NaN."""
        scores = _checked(outputs[self._output])
        if not self.options.multi_label:
            return probabilities(scores)
        flat = np.asarray(scores, np.float64).reshape(len(scores), -1)
        return flat if self.options.scores == "probabilities" else sigmoid(flat)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return a `Classification` for each recording."""
        shares = self.shares(outputs)
        return [self._result(shares[part].mean(axis=0)) for part, _ in grouped(len(shares), contexts)]

    def _result(self, row: Array) -> Classification:
        if not self.options.multi_label:
            return labelled(row, self.spec, self.top_k)
        heard = int((row >= self.options.threshold).sum())
        return labelled(row, self.spec, max(1, heard))

    def scorer(self) -> Scorer:
        """Compare the best class, or all classes that are heard."""
        return MultiLabelScorer(self, self.options.threshold) if self.options.multi_label else ClipScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> Any:
        """A class; with ``multi_label`` a set of them, in text divided by ``;``."""
        if not spec.options.get("multi_label") or raw is None:
            return class_number(spec, raw, where)
        listed = raw.split(";") if isinstance(raw, str) else np.atleast_1d(raw).tolist()
        return frozenset(class_number(spec, one, where) for one in listed if one != "")


class KeywordSpotting(SoundTask):
    """Gives `Keywords` of a recording; of one that fits into a window its `Classification`.

    Attributes:
        options: Of the spec.
        top_k: Classes in a classification.
    """

    name: ClassVar[str] = "keyword-spotting"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(KeywordOptions)
        self.decides = scores_output(spec)
        self.top_k = 5

    def shares(self, outputs: Mapping[str, Array]) -> Array:
        """Probabilities ``(windows, classes)``. Raises DataRefused for NaN."""
        assert self.decides is not None  # noqa: S101  set in __init__
        return probabilities(_checked(outputs[self.decides]))

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return `Keywords`, or for a single window a `Classification`, for each recording."""
        shares = self.shares(outputs)
        return [
            labelled(shares[part.start], self.spec, self.top_k)
            if context is None or len(context.lengths) == 1
            else self._keywords(shares[part], context)
            for part, context in grouped(len(shares), contexts)
        ]

    def _keywords(self, shares: Array, context: SoundContext) -> Keywords:
        spotter = Spotter(self)
        ends = spotter.hears(shares)
        sound = self.sound
        seconds = ((len(shares) - 1) * sound.step + context.lengths[-1]) / sound.sample_rate
        found = sorted([*ends, *spotter.finish()], key=lambda event: (event.start, event.index))
        return Keywords(tuple(_until(event, seconds) for event in found), seconds)

    def scorer(self) -> Scorer:
        """Compare the best class of clips, and the words of longer recordings."""
        return ClipScorer(self)


class Spotter:
    """Turns probabilities of windows into events: smoothing, threshold, refractory time.

    Args:
        task: For the options, labels and times.
    """

    def __init__(self, task: KeywordSpotting) -> None:
        self._options, self._spec = task.options, task.spec
        rate = task.sound.sample_rate
        self._step, self._window = task.sound.step / rate, task.sound.window / rate
        self._recent: Array | None = None
        self._at = 0
        self._open: dict[int, Event] = {}
        self._last: dict[int, float] = {}

    def hears(self, shares: Array, skipped: int = 0) -> list[Event]:
        """Take the probabilities of the next windows ``(windows, classes)``; return the events that are over.

        Args:
            shares: Probabilities.
            skipped: Windows before them that were dropped.
        """
        if skipped:
            self._at += skipped
            self._recent = None  # what lies across a gap is not averaged
        found: list[Event] = []
        for row in self._smooth(shares):
            found += self._window_done(row)
            self._at += 1
        return found

    def finish(self) -> list[Event]:
        """Return the events that last to the end."""
        found, self._open = list(self._open.values()), {}
        return found

    def _smooth(self, shares: Array) -> Array:
        before = shares[:0] if self._recent is None else self._recent
        rows = np.concatenate([before, shares]).astype(np.float64)
        sums = np.concatenate([np.zeros((1, rows.shape[1])), rows.cumsum(axis=0)])
        last = np.arange(len(before) + 1, len(rows) + 1)
        first = np.maximum(0, last - self._options.smoothing)
        self._recent = rows[max(0, len(rows) - self._options.smoothing + 1) :]
        averaged: Array = (sums[last] - sums[first]) / (last - first)[:, None]
        return averaged

    def _window_done(self, row: Array) -> list[Event]:
        best = int(row.argmax())
        start, score = self._at * self._step, float(row[best])
        spoken = score >= self._options.threshold and not _is_background(self._spec, best, self._options)
        ended = [self._open.pop(index) for index in list(self._open) if index != best or not spoken]
        for event in ended:
            self._last[event.index] = event.end
        if not spoken:
            return ended
        if best in self._open:
            event = self._open[best]
            better = max(event.score, score)
            self._open[best] = Event(event.label, best, better, event.start, start + self._window)
        elif start + self._window - self._last.get(best, -np.inf) >= self._options.refractory:
            self._open[best] = Event(_name(self._spec, best), best, score, start, start + self._window)
        return ended


class ClipScorer(ResultScorer):
    """The same class or words, and the right class: for longer recordings the word with the highest score."""

    def __init__(self, task: SoundTask) -> None:
        super().__init__(task)
        self._agree: list[bool] = []
        self._right: list[tuple[bool, bool]] = []

    def add(self, want: Any, got: Any, truth: Any) -> None:
        """Compare."""
        self._agree.append(_heard(want) == _heard(got))
        if truth is not None:
            self._right.append((_best(want) == truth, _best(got) == truth))

    def missing(self, want: Any, truth: Any) -> None:
        """An artifact without an answer is wrong."""
        self._agree.append(False)
        if truth is not None:
            self._right.append((_best(want) == truth, False))

    def agreement(self) -> Metric | None:
        """Recordings for which both answer alike."""
        return Proportion(sum(self._agree), len(self._agree), "top-1 agreement") if self._agree else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Accuracy."""
        if not self._right:
            return None
        want, got = (sum(pair[side] for pair in self._right) for side in (0, 1))
        return Proportion(want, len(self._right)), Proportion(got, len(self._right))


class MultiLabelScorer(ResultScorer):
    """Sets of classes: the same set, and F1 over all classes and recordings (micro-averaged)."""

    def __init__(self, task: SoundTask, threshold: float) -> None:
        super().__init__(task)
        self._threshold = threshold
        self._agree: list[bool] = []
        self._counts: list[tuple[tuple[int, int, int], tuple[int, int, int]]] = []

    def add(self, want: Any, got: Any, truth: Any) -> None:
        """Compare."""
        original, artifact = self._classes(want), self._classes(got)
        self._agree.append(original == artifact)
        if truth is not None:
            self._counts.append((_counts(original, truth), _counts(artifact, truth)))

    def missing(self, want: Any, truth: Any) -> None:
        """An artifact without an answer hears nothing."""
        self._agree.append(False)
        if truth is not None:
            self._counts.append((_counts(self._classes(want), truth), _counts(frozenset(), truth)))

    def agreement(self) -> Metric | None:
        """Recordings with the same set."""
        return Proportion(sum(self._agree), len(self._agree), "same classes") if self._agree else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """F1."""
        if not self._counts:
            return None
        counts = np.array(self._counts)
        want, got = (bootstrapped("F1", len(counts), lambda at, side=side: _f1(counts[at, side])) for side in (0, 1))  # type: ignore[misc]
        return want, got

    def _classes(self, result: Classification) -> frozenset[int]:
        return frozenset(label.index for label in result.labels if label.score >= self._threshold)


def labelled(row: Array, spec: Spec, count: int) -> Classification:
    """The most probable classes of one row of probabilities."""
    best = np.argsort(-row, kind="stable")[:count]
    return Classification(tuple(Label(int(i), _name(spec, int(i)), float(row[i])) for i in best))


def _name(spec: Spec, index: int) -> str:
    return spec.labels[index] if spec.labels else str(index)


def _is_background(spec: Spec, index: int, options: KeywordOptions) -> bool:
    name = _name(spec, index).strip("_").casefold()
    return name in {word.strip("_").casefold() for word in options.background}


def _until(event: Event, seconds: float) -> Event:
    return event if event.end <= seconds else Event(event.label, event.index, event.score, event.start, seconds)


def _heard(result: Any) -> Any:
    if isinstance(result, Keywords):
        return tuple(event.index for event in result.events)
    return result.best.index


def _best(result: Any) -> int | None:
    if isinstance(result, Keywords):
        return max(result.events, key=lambda event: event.score).index if result.events else None
    best: int = result.best.index
    return best


def _counts(found: frozenset[int], truth: frozenset[int]) -> tuple[int, int, int]:
    return len(found & truth), len(found - truth), len(truth - found)


def _f1(counts: Array) -> float:
    right, wrong, missed = (int(n) for n in counts.sum(axis=0))
    return 2 * right / (2 * right + wrong + missed) if right + wrong + missed else 1.0


def _checked(scores: Array) -> Array:
    if np.isnan(scores).any():
        raise DataRefused("the model gave NaN", expected="scores")
    return scores


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise SpecRefused(f"options.{name} = {value:g}", expected="more than 0, at most 1")
