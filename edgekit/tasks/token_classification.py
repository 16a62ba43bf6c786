"""Token classification: a sentence in, the entities in it out (named entities, parts of speech, amounts …).

A text that is longer than the model takes becomes windows that overlap by ``stride`` tokens; of entities that two
windows see differently the longer one is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Metric, bootstrapped
from edgekit.spec import Spec
from edgekit.tasks.base import Encoded, ResultScorer, Takes
from edgekit.tasks.entities import (
    Aggregation,
    Entities,
    Entity,
    grouped,
    subword_rule,
    tag_parts,
    uses_bioes,
    without_overlaps,
    words,
)
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

Spans = frozenset[tuple[int, int, str]]
"""Start, end and label of entities."""


@dataclass(frozen=True)
class TokenClassificationOptions:
    """The ``[options]`` of a spec.

    Attributes:
        aggregation: How the tokens of a word agree: ``simple`` (not at all), ``first``, ``average`` or ``max``.
        stride: Tokens that neighbouring windows share; ``None``: a quarter of a window.
        outside: Label of tokens that belong to no entity.
    """

    aggregation: Aggregation = "simple"
    stride: int | None = None
    outside: str = "O"

    def __post_init__(self) -> None:
        if self.aggregation not in get_args(Aggregation):
            raise SpecRefused(
                f"options.aggregation = {self.aggregation!r}", expected=" or ".join(get_args(Aggregation))
            )
        if self.stride is not None and (not isinstance(self.stride, int) or self.stride < 0):
            raise SpecRefused(f"options.stride = {self.stride!r}", expected="a whole number from 0")
        if not isinstance(self.outside, str):
            raise SpecRefused(f"options.outside = {self.outside!r}", expected="a label")


@dataclass(frozen=True)
class SentenceContext:
    """What decoding has to know of a sentence.

    Attributes:
        text: The sentence.
        offsets: ``(windows, tokens, 2)`` int32: characters that each token stands for; -1 for special tokens.
        subword: ``(windows, tokens)`` bool: tokens that go on with the word before them.
    """

    text: str
    offsets: Array
    subword: Array

    @property
    def windows(self) -> int:
        """Samples that the sentence became."""
        return len(self.offsets)


class TokenClassification(WindowedTextTask):
    """Takes a sentence or a longer text; gives its `Entities`.

    The output is that of a BERT-like tagger: logits or probabilities ``(batch, tokens, labels)``.
    """

    name: ClassVar[str] = "token-classification"
    takes: ClassVar[Takes] = "text"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        require_tokens(spec)
        assert spec.text is not None  # noqa: S101  checked by require_tokens
        self.options = spec.options_as(TokenClassificationOptions)
        self._output = _tags_output(spec)
        self._tags = spec.labels or ()
        self._bioes = uses_bioes(self._tags)
        length = sequence_length(spec)
        stride = length // 4 if self.options.stride is None else self.options.stride
        self._tokenizer = open_tokenizer((root or Path()) / spec.text.tokenizer, length)
        most = length - self._tokenizer.num_special_tokens_to_add(False) - max(length // 8, 1)
        if stride > most:
            raise SpecRefused(f"options.stride = {stride} for windows of {length} tokens", expected=f"at most {most}")
        self._tokenizer.enable_truncation(length, stride=stride)
        self._subword = subword_rule(self._tokenizer)

    def encode(self, item: Any) -> dict[str, Array]:
        """Turn a text into token tensors ``(windows, length)``.

        Raises:
            DataRefused: It is empty or too long, or the tokenizer finds nothing in it.
        """
        text = checked_text(item, "the text")
        encodings = windows_of(self._tokenizer.encode(text))
        offsets = character_offsets(encodings)
        if not (offsets[..., 1] > offsets[..., 0]).any():
            raise DataRefused(f"the text {text!r:.40} holds no tokens", expected="a text with words")
        subword = np.array([self._subword(one, text) for one in encodings], bool)
        return Encoded(token_feeds(self.spec, encodings), SentenceContext(text, offsets, subword))

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Entities]:
        """Return the `Entities` of each text."""
        if contexts is None or any(not isinstance(context, SentenceContext) for context in contexts):
            raise DataRefused("outputs without their text", expected="the context that encode gave")
        logits = np.asarray(outputs[self._output], np.float32)
        if np.isnan(logits).any() or np.isposinf(logits).any():
            raise DataRefused(f"the model gives NaN or infinity in {self._output!r}", expected="finite numbers")
        parts = zip(by_context(logits, contexts), contexts, strict=True)
        return [self._entities(_shares(own), context) for own, context in parts]

    def _entities(self, shares: Array, context: SentenceContext) -> Entities:
        if shares.shape[:2] != context.subword.shape or shares.shape[2] != len(self._tags):
            expected = [*context.subword.shape, len(self._tags)]
            raise DataRefused(f"logits of shape {list(shares.shape)}", expected=f"{expected} for this text")
        found = [
            entity
            for window in zip(shares, context.offsets, context.subword, strict=True)
            for entity in self._of_window(*window, context.text)
        ]
        return Entities(tuple(without_overlaps(found) if context.windows > 1 else found))

    def _of_window(self, shares: Array, offsets: Array, subword: Array, text: str) -> list[Entity]:
        mine = offsets[:, 0] >= 0
        pieces = words(shares[mine], offsets[mine], subword[mine].tolist(), self._tags, self.options.aggregation)
        found = []
        for label, run in grouped(pieces, bioes=self._bioes):
            start, end = stripped(text, run[0].start, run[-1].end)
            if label != self.options.outside and end > start:
                score = sum(piece.score for piece in run) / len(run)
                found.append(Entity(label, text[start:end], start, end, score))
        return found

    def scorer(self) -> EntityScorer:
        """Return a new scorer."""
        return EntityScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> Spans | None:
        """Return the right entities.

        Args:
            spec: With the tags as labels.
            raw: ``[{"start", "end", "label"}, …]`` or triples of them; offsets in characters.
            where: For messages.
        """
        if raw is None:
            return None
        bioes = uses_bioes(spec.labels or ())
        known = {tag_parts(tag, bioes=bioes)[1] for tag in spec.labels or ()}
        spans = [_triple(one) for one in raw] if isinstance(raw, (list, tuple)) else [None]
        for span in spans:
            if span is None or (known and span[2] not in known):
                raise DataRefused(
                    f"{where}: entities {raw!r:.80}",
                    expected='[{"start": 0, "end": 5, "label": …}, …]'
                    + (f" with labels {', '.join(sorted(known))}" if known else ""),
                )
        return frozenset(span for span in spans if span is not None)


class EntityScorer(ResultScorer):
    """Agreement: F1 between the original's entities and the artifact's. Metric: F1 against the right ones.

    An entity is the same where start, end and label are (exact match, as in CoNLL 2003).
    """

    def __init__(self, task: TokenClassification) -> None:
        super().__init__(task)
        self._agreed: list[tuple[int, int, int]] = []
        self._original: list[tuple[int, int, int]] = []
        self._artifact: list[tuple[int, int, int]] = []

    def add(self, want: Entities, got: Entities | None, truth: Spans | None) -> None:
        """Compare the entities of two results."""
        wanted, given = spans_of(want), frozenset() if got is None else spans_of(got)
        self._agreed.append(_counts(wanted, given))
        if truth is not None:
            self._original.append(_counts(truth, wanted))
            self._artifact.append(_counts(truth, given))

    def missing(self, want: Entities, truth: Spans | None) -> None:
        """An artifact without a result has found nothing."""
        self.add(want, None, truth)

    def agreement(self) -> Metric | None:
        """F1 between both sides' entities."""
        return _f1("entity agreement", self._agreed) if self._agreed else None

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Entity F1 of the original and of the artifact."""
        return (_f1("entity F1", self._original), _f1("entity F1", self._artifact)) if self._original else None


def spans_of(result: Entities) -> Spans:
    """Return start, end and label of each entity."""
    return frozenset((one.start, one.end, one.label) for one in result.entities)


def _counts(right: Spans, given: Spans) -> tuple[int, int, int]:
    return len(right & given), len(right), len(given)


def _f1(name: str, counts: Sequence[tuple[int, int, int]]) -> Metric:
    """Micro-averaged F1 with its bootstrap interval; nothing wanted and nothing found is all right."""
    table = np.array(counts)

    def statistic(draw: Array) -> float:
        same, right, given = table[draw].sum(axis=0).tolist()
        return 2 * same / (right + given) if right + given else 1.0

    return bootstrapped(name, len(table), statistic)


def _triple(raw: Any) -> tuple[int, int, str] | None:
    parts = [raw.get(key) for key in ("start", "end", "label")] if isinstance(raw, Mapping) else raw
    if not isinstance(parts, (list, tuple)) or len(parts) != 3:
        return None
    start, end, label = parts
    whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
    return (start, end, label) if whole and 0 <= start < end and isinstance(label, str) else None


def _shares(logits: Array) -> Array:
    """Softmax over the tags; what is probabilities already stays."""
    if logits.min() >= 0 and np.all(np.abs(logits.sum(axis=-1) - 1) < 0.05):
        return logits
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _tags_output(spec: Spec) -> str:
    """Name of the output that holds the tags. Raises SpecRefused when there is none, or labels do not fit."""
    tagged = [output for output in spec.outputs if len(output.shape) == 3]
    output = next((one for one in tagged if one.name == "logits"), tagged[0] if tagged else None)
    if output is None:
        raise SpecRefused(
            f"token-classification with outputs {[(one.name, list(one.shape)) for one in spec.outputs]}",
            expected="logits of (batch, tokens, labels)",
        )
    if not spec.labels or output.shape[2] not in (None, len(spec.labels)):
        raise SpecRefused(
            f"{len(spec.labels or ())} labels for output {output.name!r} of shape {list(output.shape)}",
            expected="one tag for each of its last axis, such as O, B-PER, I-PER",
            remedy="pass the tags with --labels, one a line, in the order of the model's config.json",
        )
    return output.name
