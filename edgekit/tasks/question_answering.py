"""Extractive question answering: a question and a text in, the part of the text that answers it out.

A text that is longer than the model takes becomes windows that overlap by ``stride`` tokens, each with the question
before it; the best span over all windows is the answer (Devlin et al. 2019, "BERT", section 4.2 and 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Metric, Proportion, bootstrapped
from edgekit.spec import Spec
from edgekit.tasks.base import Encoded, ResultScorer, Takes
from edgekit.tasks.squad import token_f1
from edgekit.tasks.tokens import (
    WindowedTextTask,
    by_context,
    character_offsets,
    checked_text,
    open_tokenizer,
    require_tokens,
    sequence_length,
    stripped,
    token_feeds,
    windows_of,
)

_COMPARED = 20
"""Spans among which a score is a share, as in the evaluation script of ``transformers``."""
_REPEATED = 8  # times that a span may come, in as many windows that overlap
_CHUNK = 64  # windows compared at once: a megabyte of sums each few windows, whatever the length of the text


@dataclass(frozen=True)
class QuestionAnsweringOptions:
    """The ``[options]`` of a spec.

    Attributes:
        stride: Tokens that neighbouring windows share, at least the longest answer's; ``None``: a third of a window.
        max_answer_tokens: Longest answer.
        answers: Answers in a result: the best and its alternatives.
        no_answer: Whether the model was trained to say that a text holds no answer (SQuAD 2): by a span on its first
            token.
        no_answer_above: Null score minus the best span's score above which there is no answer.
    """

    stride: int | None = None
    max_answer_tokens: int = 30
    answers: int = 3
    no_answer: bool = False
    no_answer_above: float = 0.0

    def __post_init__(self) -> None:
        least = (("stride", self.stride or 0, 0), ("max_answer_tokens", self.max_answer_tokens, 1))
        for name, value, lowest in (*least, ("answers", self.answers, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
                raise SpecRefused(f"options.{name} = {value!r}", expected=f"a whole number from {lowest}")
        if not isinstance(self.no_answer, bool):
            raise SpecRefused(f"options.no_answer = {self.no_answer!r}", expected="true or false")
        if not isinstance(self.no_answer_above, (int, float)) or not np.isfinite(self.no_answer_above):
            raise SpecRefused(f"options.no_answer_above = {self.no_answer_above!r}", expected="a number")


@dataclass(frozen=True)
class QuestionContext:
    """What decoding has to know of a question.

    Attributes:
        text: The text that is asked about.
        offsets: ``(windows, tokens, 2)`` int32: characters of the text that each token stands for; -1 for others.
    """

    text: str
    offsets: Array

    @property
    def windows(self) -> int:
        """Samples that the question became."""
        return len(self.offsets)


@dataclass(frozen=True)
class Span:
    """A part of the text.

    Attributes:
        text: Its characters; empty for no answer.
        start: Where it begins in the text, in characters.
        end: Where it ends.
        score: Share of the probability among the best spans, 0..1.
    """

    text: str
    start: int
    end: int
    score: float

    def __str__(self) -> str:
        said = f'"{" ".join(self.text.split())}" ({self.start}-{self.end})' if self.text else "no answer"
        return f"{said} {100 * self.score:.1f} %"


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Attributes:
        text: The answer as the text has it; empty for no answer.
        start: Where it begins in the text, in characters: ``text[start:end]`` is the answer.
        end: Where it ends.
        score: Share of the probability among the best spans, 0..1.
        null_score: Logit of "no answer", the lowest of all windows; ``None`` where the model masks it.
        alternatives: The next best spans.
    """

    text: str
    start: int
    end: int
    score: float
    null_score: float | None
    alternatives: tuple[Span, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self) | {"alternatives": [asdict(span) for span in self.alternatives]}

    def __str__(self) -> str:
        return str(Span(self.text, self.start, self.end, self.score))


class QuestionAnswering(WindowedTextTask):
    """Takes a question and a text; gives an `Answer`.

    Outputs are the logits of where the answer begins and ends: two of ``(batch, tokens)`` or one of
    ``(batch, tokens, 2)``.

    Attributes:
        top_k: Answers in a result.
    """

    name: ClassVar[str] = "question-answering"
    takes: ClassVar[Takes] = "question"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        require_tokens(spec)
        assert spec.text is not None  # noqa: S101  checked by require_tokens
        self.options = spec.options_as(QuestionAnsweringOptions)
        self.top_k = self.options.answers
        self._outputs = _logits_outputs(spec)
        self._length = sequence_length(spec)
        self._stride = self._length // 3 if self.options.stride is None else self.options.stride
        path = (root or Path()) / spec.text.tokenizer
        self._tokenizer = open_tokenizer(path, self._length)
        # What a window advances at least: a long text must not become endless windows.
        self._most = self._length - self._tokenizer.num_special_tokens_to_add(True) - max(self._length // 8, 1)
        if self._stride >= self._most:
            raise SpecRefused(
                f"options.stride = {self._stride} for windows of {self._length} tokens",
                expected=f"less than {self._most}, so that the question and more of the text have room",
                remedy="a smaller stride, or longer inputs: --input-shape input_ids=1,384:int64",
            )
        self._tokenizer.enable_truncation(self._length, stride=self._stride, strategy="only_second")
        self._questions = open_tokenizer(path, self._length)
        self._questions.no_padding()

    def encode(self, item: Any) -> dict[str, Array]:
        """Turn a question and a text into token tensors ``(windows, length)``.

        Args:
            item: ``{"question": …, "context": …}`` or a pair of both.

        Raises:
            DataRefused: One of them is missing, empty or too long, or the question leaves no room for the text.
        """
        question, text = _question_and_text(item)
        self._check_room(question)
        encodings = windows_of(self._tokenizer.encode(question, text))
        offsets = character_offsets(encodings, 1)
        if not (offsets[..., 1] > offsets[..., 0]).any():
            raise DataRefused(f"the context {text!r:.40} holds no tokens", expected="a text with words")
        return Encoded(token_feeds(self.spec, encodings), QuestionContext(text, offsets))

    def _check_room(self, question: str) -> None:
        tokens, most = len(self._questions.encode(question, add_special_tokens=False).ids), self._most - self._stride
        if tokens > most:
            raise DataRefused(
                f"a question of {tokens} tokens or more, {question[:40]!r}…",
                expected=f"at most {most} for windows of {self._length} tokens that share {self._stride}",
                remedy="ask a shorter question, or convert with longer inputs or a smaller stride",
            )

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Answer]:
        """Return an `Answer` for each question."""
        if contexts is None or any(not isinstance(context, QuestionContext) for context in contexts):
            raise DataRefused("outputs without their question", expected="the context that encode gave")
        start, end = (by_context(logits, contexts) for logits in self._logits(outputs))
        return [self._answer(*each) for each in zip(start, end, contexts, strict=True)]

    def _logits(self, outputs: Mapping[str, Array]) -> tuple[Array, Array]:
        found = [np.asarray(outputs[name], np.float32) for name in self._outputs]
        start, end = (found[0], found[1]) if len(found) == 2 else (found[0][..., 0], found[0][..., 1])
        for name, logits in zip(("start", "end"), (start, end), strict=True):
            if np.isnan(logits).any() or np.isposinf(logits).any():
                raise DataRefused(f"the model gives NaN or infinity as {name} logits", expected="finite numbers")
        return start, end

    def _answer(self, start: Array, end: Array, context: QuestionContext) -> Answer:
        if start.shape != context.offsets.shape[:2]:
            raise DataRefused(
                f"logits of shape {list(start.shape)}", expected=f"{list(context.offsets.shape[:2])} for this question"
            )
        null = (float((start[:, 0] + end[:, 0]).min()), 0, 0)
        spans = best_spans(start, end, context.offsets, self.options.max_answer_tokens, max(_COMPARED, self.top_k))
        if not spans:
            raise DataRefused("the model gives no finite logits for the text", expected="finite numbers")
        best = spans[0]
        if self.options.no_answer:
            best = null if null[0] - best[0] > self.options.no_answer_above else best
            spans = sorted([*spans, null], key=lambda span: -span[0])
        return self._result([best, *(span for span in spans if span is not best)], null[0], context.text)

    def _result(self, ranked: Sequence[tuple[float, int, int]], null: float, text: str) -> Answer:
        logits = np.array([score for score, _, _ in ranked], np.float64)
        powers = np.exp(logits - logits.max())
        shares = (powers / powers.sum()).tolist()
        spans = [
            _span(text, start, end, share)
            for (_, start, end), share in zip(ranked[: self.top_k], shares, strict=False)
        ]  # fmt: skip
        best, *others = spans
        score = null if np.isfinite(null) else None
        return Answer(best.text, best.start, best.end, best.score, score, tuple(others))

    def scorer(self) -> AnswerScorer:
        """Return a new scorer."""
        return AnswerScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> tuple[str, ...] | None:
        """Return the right answers; an empty tuple where the text holds none.

        Args:
            spec: Not used.
            raw: A text, texts, SQuAD's ``[{"text": …}]`` or the data sets library's ``{"text": […]}``.
            where: For messages.
        """
        if raw is None:
            return None
        listed = raw.get("text") if isinstance(raw, Mapping) else raw
        listed = [listed] if isinstance(listed, str) else listed
        if isinstance(listed, (list, tuple)):
            texts = [answer.get("text") if isinstance(answer, Mapping) else answer for answer in listed]
            if all(isinstance(text, str) for text in texts):
                return tuple(text for text in texts if text)
        raise DataRefused(f"{where}: answers {raw!r:.80}", expected='texts, or [{"text": …}, …]')


def best_spans(start: Array, end: Array, offsets: Array, max_tokens: int, count: int) -> list[tuple[float, int, int]]:
    """Find the spans of the text with the largest sum of logits.

    Args:
        start: ``(windows, tokens)`` logits of the first token.
        end: The same of the last token.
        offsets: ``(windows, tokens, 2)`` characters of each token; negative where it is not of the text.
        max_tokens: Longest span.
        count: Most spans returned.

    Returns:
        Sum of logits, first character and the one behind the last, best first, each span once.
    """
    parts = [
        _best_of(start[i : i + _CHUNK], end[i : i + _CHUNK], offsets[i : i + _CHUNK], max_tokens, count)
        for i in range(0, len(start), _CHUNK)
    ]
    found: dict[tuple[int, int], float] = {}
    for score, *span in sorted((span for part in parts for span in part), key=lambda span: -span[0]):
        found.setdefault((span[0], span[1]), score)
    return [(score, *span) for span, score in found.items()][:count]


def _best_of(start: Array, end: Array, offsets: Array, max_tokens: int, count: int) -> list[tuple[float, int, int]]:
    """As `best_spans`, but where windows overlap a span may come more than once."""
    tokens = start.shape[1]
    reach = min(max_tokens, tokens)
    inside = offsets[..., 1] > offsets[..., 0]
    first = np.where(inside, start, -np.inf)
    last = np.pad(np.where(inside, end, -np.inf), ((0, 0), (0, reach - 1)), constant_values=-np.inf)
    sums = first[:, :, None] + np.lib.stride_tricks.sliding_window_view(last, reach, axis=1)
    flat = sums.ravel()
    taken = min(flat.size, _REPEATED * count)
    order = np.argpartition(-flat, taken - 1)[:taken]
    order = order[np.lexsort((order, -flat[order]))]
    order = order[flat[order] > -np.inf]
    window, token, length = np.unravel_index(order, sums.shape)
    ends = offsets[window, token], offsets[window, token + length]
    # Where a tokenizer reorders accents the last token may begin before the first.
    begins, finishes = (pick(ends[0][:, i], ends[1][:, i]).tolist() for i, pick in enumerate((np.minimum, np.maximum)))
    return list(zip(flat[order].tolist(), begins, finishes, strict=True))


class AnswerScorer(ResultScorer):
    """Agreement: equal spans. Metric: F1 of the words, as SQuAD counts it."""

    def __init__(self, task: QuestionAnswering) -> None:
        super().__init__(task)
        self._equal: list[bool] = []
        self._f1: list[tuple[float, float]] = []

    def add(self, want: Answer, got: Answer | None, truth: tuple[str, ...] | None) -> None:
        """Compare two answers."""
        self._equal.append(got is not None and (want.start, want.end) == (got.start, got.end))
        if truth is not None:
            self._f1.append((token_f1(truth, want.text), 0.0 if got is None else token_f1(truth, got.text)))

    def missing(self, want: Answer, truth: tuple[str, ...] | None) -> None:
        """An artifact without an answer agrees with nothing."""
        self.add(want, None, truth)

    def agreement(self) -> Metric | None:
        """Questions that both answer with the same span."""
        return Proportion(sum(self._equal), len(self._equal), "span agreement") if self._equal else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Answer F1 of the original and of the artifact."""
        if not self._f1:
            return None
        table = np.array(self._f1)
        original, artifact = (
            bootstrapped("answer F1", len(table), lambda draw, side=side: float(table[draw, side].mean()))  # type: ignore[misc]
            for side in (0, 1)
        )
        return original, artifact


def _span(text: str, start: int, end: int, score: float) -> Span:
    start, end = stripped(text, start, end)
    return Span(text[start:end], start, end, score)


def _question_and_text(item: Any) -> tuple[str, str]:
    if isinstance(item, Mapping) and {"question", "context"} <= set(item):
        question, text = item["question"], item["context"]
    elif isinstance(item, (tuple, list)) and len(item) == 2:
        question, text = item
    else:
        raise DataRefused(f"{item!r:.80}", expected='{"question": …, "context": …} or a pair of both')
    return checked_text(question, "the question", 10_000), checked_text(text, "the context")


def _logits_outputs(spec: Spec) -> tuple[str, ...]:
    """Names of the outputs that hold the start and the end logits, or of the one that holds both."""
    flat = [output.name for output in spec.outputs if len(output.shape) == 2]
    named = [next((name for name in flat if part in name.lower()), None) for part in ("start", "end")]
    if named[0] and named[1] and named[0] != named[1]:
        return named[0], named[1]
    if len(flat) == 2 and named == [None, None]:
        return flat[0], flat[1]
    both = next((output.name for output in spec.outputs if len(output.shape) == 3 and output.shape[2] == 2), None)
    if both is not None:
        return (both,)
    raise SpecRefused(
        f"question-answering with outputs {[(output.name, list(output.shape)) for output in spec.outputs]}",
        expected="start_logits and end_logits of (batch, tokens), or one output of (batch, tokens, 2)",
    )
