"""From the tags of tokens to entities: BIO and BIOES tags, and what a word's tokens say together.

The strategies are those of the token classification pipeline of ``transformers`` (``simple``, ``first``, ``average``,
``max``), and so are the entities that they give for BIO tags and for plain labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from edgekit.engine import Array

Aggregation = Literal["simple", "first", "average", "max"]
_BEGINS, _GOES_ON, _ENDS, _SINGLE = "B", "I", "EL", "SU"


@dataclass(frozen=True)
class Entity:
    """A part of a text with a label.

    Attributes:
        label: Kind of entity, without ``B-`` and ``I-``.
        text: Its characters.
        start: Where it begins in the text, in characters: ``text[start:end]`` is the entity.
        end: Where it ends.
        score: Mean probability of its tokens or words, 0..1.
    """

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Entities:
    """The entities of a text, in its order.

    Attributes:
        entities: None, one or more.
    """

    entities: tuple[Entity, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"entities": [asdict(entity) for entity in self.entities]}

    def __str__(self) -> str:
        listed = (f"{one.label} {one.text!r} ({one.start}-{one.end}) {100 * one.score:.1f} %" for one in self.entities)
        return ", ".join(listed) or "no entities"


@dataclass(frozen=True)
class Piece:
    """A token, or a word with what its tokens say together.

    Attributes:
        tag: Its tag, e.g. ``B-PER``.
        score: Probability of the tag.
        start: In characters.
        end: In characters.
    """

    tag: str
    score: float
    start: int
    end: int


def tag_parts(tag: str, *, bioes: bool) -> tuple[str, str]:
    """Split a tag into its prefix and its label; a label without a prefix goes on (``I``).

    Args:
        tag: E.g. ``B-PER``, ``O``, ``PER``.
        bioes: Whether ``E-``, ``L-``, ``S-`` and ``U-`` are prefixes too.
    """
    known = _BEGINS + _GOES_ON + (_ENDS + _SINGLE if bioes else "")
    return (tag[0], tag[2:]) if tag[1:2] == "-" and tag[0] in known else ("I", tag)


def uses_bioes(tags: Iterable[str]) -> bool:
    """Whether tags are BIOES (or BILOU): they mark single tokens and ends of the labels that they begin."""
    listed = set(tags)
    begun = {tag[2:] for tag in listed if tag.startswith("B-")}
    return any(tag[1:2] == "-" and tag[0] in _ENDS + _SINGLE and tag[2:] in begun for tag in listed)


def grouped(pieces: Sequence[Piece], *, bioes: bool) -> Iterator[tuple[str, Sequence[Piece]]]:
    """Yield runs of neighbours that are one entity (or one stretch outside), with their label."""
    begin, open_label, closed = 0, "", True
    for place, piece in enumerate(pieces):
        prefix, label = tag_parts(piece.tag, bioes=bioes)
        if closed or label != open_label or prefix == _BEGINS or prefix in _SINGLE:
            if place > begin:
                yield open_label, pieces[begin:place]
            begin, open_label = place, label
        closed = prefix in _ENDS or prefix in _SINGLE
    if pieces:
        yield open_label, pieces[begin:]


def words(
    shares: Array, offsets: Array, subword: Sequence[bool], tags: Sequence[str], aggregation: Aggregation
) -> list[Piece]:
    """Join the tokens of each word.

    Args:
        shares: ``(tokens, tags)`` probabilities.
        offsets: ``(tokens, 2)`` characters.
        subword: Whether a token goes on with the word of the one before it.
        tags: Name of each tag.
        aggregation: ``simple`` joins nothing; ``first`` takes the tag of a word's first token, ``max`` that of its most
            probable token, ``average`` that of the mean of all.
    """
    if not len(shares):
        return []
    starts = [0, *(i for i in range(1, len(shares)) if aggregation == "simple" or not subword[i])]
    ends = [*starts[1:], len(shares)]
    if aggregation == "average":
        rows = np.add.reduceat(shares, starts, axis=0) / np.subtract(ends, starts)[:, None]
    elif aggregation == "max":
        highest = shares.max(axis=1)
        rows = shares[[a + int(highest[a:b].argmax()) for a, b in zip(starts, ends, strict=True)]]
    else:
        rows = shares[starts]
    best = rows.argmax(axis=1)
    scores = rows[np.arange(len(rows)), best].tolist()
    return [
        Piece(tags[tag], score, int(offsets[a, 0]), int(offsets[b - 1, 1]))
        for tag, score, a, b in zip(best.tolist(), scores, starts, ends, strict=True)
    ]


def without_overlaps(entities: Iterable[Entity]) -> list[Entity]:
    """Of entities that overlap, as windows give them, keep the longest, then the most probable; sorted by start."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda one: one.start):
        if not kept or entity.start >= kept[-1].end:
            kept.append(entity)
        elif (entity.end - entity.start, entity.score) > (kept[-1].end - kept[-1].start, kept[-1].score):
            kept[-1] = entity
    return kept


def tagged_spans(tags: Sequence[str], offsets: Sequence[tuple[int, int]], outside: str) -> list[tuple[int, int, str]]:
    """Return start, end and label of the entities that tags of tokens stand for.

    Args:
        tags: One a token.
        offsets: Characters of each token.
        outside: Label of what is no entity.
    """
    pieces = [Piece(tag, 1.0, *offset) for tag, offset in zip(tags, offsets, strict=True)]
    runs = grouped(pieces, bioes=uses_bioes(tags))
    return [(run[0].start, run[-1].end, label) for label, run in runs if label != outside]


Subword = Callable[[Any, str], Sequence[bool]]
"""Encoding and text to whether each token goes on with a word."""


def subword_rule(tokenizer: Any) -> Subword:
    """Return how to tell which tokens go on with the word before them.

    A tokenizer that marks them (WordPiece, ``##``) is believed: such a token is longer than what it stands for, unless
    it is the unknown one. For others a token begins a word where white space is beside its start.
    """
    model = tokenizer.model
    unknown = getattr(model, "unk_token", None)
    if getattr(model, "continuing_subword_prefix", None):
        return lambda encoding, text: [
            token != unknown and len(token) != end - start
            for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
        ]
    return lambda encoding, text: [
        token != unknown and start > 0 and " " not in text[start - 1 : start + 1]
        for token, (start, _) in zip(encoding.tokens, encoding.offsets, strict=True)
    ]
