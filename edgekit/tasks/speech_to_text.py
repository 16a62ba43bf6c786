"""Speech to text: a recording in, what is said out, through connectionist temporal classification (CTC)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Estimate, Metric, Proportion, bootstrapped
from edgekit.parity import Scorer
from edgekit.spec import Spec
from edgekit.tasks.base import ResultScorer
from edgekit.tasks.ctc import beam_search, edits, greedy, log_shares
from edgekit.tasks.sound import SoundContext, SoundTask, grouped

Decoding = Literal["greedy", "beam"]
Rate = Literal["wer", "cer"]


@dataclass(frozen=True)
class SpeechOptions:
    """Options of speech to text.

    Attributes:
        blank: Number of the blank token.
        delimiter: Token between words, written as a space; empty where tokens carry their own spaces.
        special: Tokens that are left out of the text, such as ``<s>`` and ``<unk>``.
        decoding: ``greedy``, or ``beam`` for a prefix beam search.
        beams: Prefixes kept by the search.
        metric: ``wer`` counts words, ``cer`` characters.
        joined_tokens: Whether ``tokens`` are pieces with a ``▁`` where a word begins (SentencePiece).
    """

    blank: int = 0
    delimiter: str = "|"
    special: tuple[str, ...] = ("<pad>", "<s>", "</s>", "<unk>", "[PAD]", "[UNK]")
    decoding: Decoding = "greedy"
    beams: int = 16
    metric: Rate = "wer"
    joined_tokens: bool = False

    def __post_init__(self) -> None:
        for name, kinds in (("decoding", ("greedy", "beam")), ("metric", ("wer", "cer"))):
            if getattr(self, name) not in kinds:
                raise SpecRefused(f"options.{name} = {getattr(self, name)!r}", expected=" or ".join(kinds))
        if self.beams < 1 or self.blank < 0:
            raise SpecRefused(f"options.beams = {self.beams}, blank = {self.blank}", expected="1 and 0, or more")


@dataclass(frozen=True)
class Token:
    """A token of the text.

    Attributes:
        text: As it is written; a space between words.
        start: Seconds from the start of the recording to its first frame.
    """

    text: str
    start: float


@dataclass(frozen=True)
class Transcript:
    """What is said.

    Attributes:
        text: The words, one space between two.
        tokens: Where each token of it begins.
        seconds: Length of the recording.
    """

    text: str
    tokens: tuple[Token, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text or "(nothing said)"


class SpeechToText(SoundTask):
    """Gives a `Transcript`. Labels are the tokens, in the order of the model's scores.

    A long recording is heard in overlapping windows; of each window the frames nearest to its middle count, as
    with ``chunk_length_s`` and ``stride_length_s`` in transformers.

    Attributes:
        options: Of the spec.
        output: The scores, ``(windows, frames, tokens)``.
    """

    name: ClassVar[str] = "speech-to-text"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(SpeechOptions)
        self.output = next((output for output in spec.outputs if output.name == "logits"), spec.outputs[0])
        shape = self.output.shape
        if len(shape) != 3 or not spec.labels or shape[2] not in (None, len(spec.labels)):
            raise SpecRefused(
                f"speech-to-text with output {self.output.name!r} of shape {list(shape)} and "
                f"{len(spec.labels or ())} labels",
                expected="(windows, frames, tokens) and a label for each token",
                remedy="pass the tokens with --labels, one a line, in the order of the scores",
            )
        if self.options.blank >= len(spec.labels):
            raise SpecRefused(f"options.blank = {self.options.blank}", expected=f"below {len(spec.labels)}")

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Return a `Transcript` for each recording."""
        scores = np.asarray(outputs[self.output.name])
        if np.isnan(scores).any():
            raise DataRefused("the model gave NaN", expected="scores")
        return [self._transcript(scores[part], context) for part, context in grouped(len(scores), contexts)]

    def _transcript(self, scores: Array, context: SoundContext | None) -> Transcript:
        lengths = context.lengths if context else (self.sound.window,)
        rate = self.sound.sample_rate
        frames, samples_each = self._stitched(scores, lengths)
        if self.options.decoding == "greedy":
            path = greedy(log_shares(frames), self.options.blank)
        else:
            path = beam_search(log_shares(frames), self.options.blank, self.options.beams)
        seconds = ((len(lengths) - 1) * self.sound.step + lengths[-1]) / rate
        pieces = [(self._written(token), frame) for token, frame in zip(path.tokens, path.frames, strict=True)]
        tokens = tuple(Token(text, frame * samples_each / rate) for text, frame in pieces if text)
        return Transcript(" ".join("".join(token.text for token in tokens).split()), tokens, seconds)

    def _stitched(self, scores: Array, lengths: Sequence[int]) -> tuple[Array, float]:
        """Frames of the whole recording ``(frames, tokens)``, and the samples that one lasts.

        Where two windows overlap, each gives its half; frames of padding are left out.
        """
        sound, count = self.sound, scores.shape[1]
        each = sound.window / count
        overlap = sound.window - sound.step
        parts = []
        for number, length in enumerate(lengths):
            start = 0.0 if number == 0 else overlap / 2
            end = length if number == len(lengths) - 1 else sound.window - overlap / 2
            # A frame belongs to the window in whose part its middle lies, by its time in the whole recording.
            offset = number * sound.step
            at = (np.arange(count) + 0.5) * each + offset
            inside = (at >= offset + start) & (at < offset + end)
            parts.append(scores[number][inside] if inside.any() else scores[number][:0])
        found = np.concatenate(parts)
        return (found, each) if len(found) else (scores[0][:1], each)

    def _written(self, token: int) -> str:
        assert self.spec.labels is not None  # noqa: S101  checked in __init__
        text, options = self.spec.labels[token], self.options
        if text in options.special:
            return ""
        if options.joined_tokens:
            return text.replace("▁", " ")
        return " " if text in (options.delimiter, "") else text

    def scorer(self) -> Scorer:
        """Compare texts."""
        return TranscriptScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> Any:
        """What is said. Raises DataRefused for anything but text."""
        if raw is not None and not isinstance(raw, str):
            raise DataRefused(f"{where}: {raw!r:.80}", expected="what is said, as text")
        return raw


class TranscriptScorer(ResultScorer):
    """Equal texts, and the word or character error rate: edits of all recordings over the length of all truths."""

    def __init__(self, task: SpeechToText) -> None:
        super().__init__(task)
        self._split = str.split if task.options.metric == "wer" else list
        self._name = "word error rate" if task.options.metric == "wer" else "character error rate"
        self._agree: list[bool] = []
        self._errors: list[tuple[int, int, int]] = []

    def add(self, want: Transcript, got: Transcript, truth: str | None) -> None:
        """Compare."""
        self._agree.append(want.text == got.text)
        self._count(want.text, got.text, truth)

    def missing(self, want: Transcript, truth: str | None) -> None:
        """An artifact without an answer has said nothing."""
        self._agree.append(False)
        self._count(want.text, "", truth)

    def _count(self, want: str, got: str, truth: str | None) -> None:
        if truth is not None:
            said = self._split(" ".join(truth.split()))
            self._errors.append((edits(said, self._split(want)), edits(said, self._split(got)), len(said)))

    def agreement(self) -> Metric | None:
        """Recordings with the same text."""
        return Proportion(sum(self._agree), len(self._agree), "same text") if self._agree else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """The error rate; lower is better."""
        if not self._errors:
            return None
        counts = np.array(self._errors, np.float64)
        return self._rate(counts, 0), self._rate(counts, 1)

    def _rate(self, counts: Array, side: int) -> Estimate:
        def rate(at: Array) -> float:
            said = float(counts[at, 2].sum())
            wrong = float(counts[at, side].sum())
            return wrong / said if said else (0.0 if not wrong else math.inf)

        return bootstrapped(self._name, len(counts), rate, higher_is_better=False)
