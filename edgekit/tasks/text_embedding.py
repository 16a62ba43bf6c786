"""Text embedding: a sentence (or a pair) in, a vector out whose angle to others says how alike they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.metrics import Estimate, Metric, Proportion, bootstrapped
from edgekit.spec import Spec
from edgekit.tasks.base import Encoded, ResultScorer, Takes, Task
from edgekit.tasks.tokens import checked_text, open_tokenizer, require_tokens, sequence_length, token_feeds

Pooling = Literal["none", "mean", "cls"]

_SHORTEST = 1e-12  # what a length is divided by at least, as torch.nn.functional.normalize does
_NEIGHBOURS_AT_ONCE = 256
_SHOWN = 4


@dataclass(frozen=True)
class EmbeddingOptions:
    """Settings of a text embedding.

    Attributes:
        pooling: How token states ``(batch, tokens, dimensions)`` become one vector: ``mean`` over the real tokens, or
            ``cls``, the first token's; ``none`` for a model that pools itself.
        normalize: Scale the vector to length 1.
        output: Name of the output; by default the first.
    """

    pooling: Pooling = "none"
    normalize: bool = False
    output: str | None = None

    def __post_init__(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise SpecRefused(f"options.pooling = {self.pooling!r}", expected=" or ".join(get_args(Pooling)))
        if not isinstance(self.normalize, bool):
            raise SpecRefused(f"options.normalize = {self.normalize!r}", expected="true or false")


@dataclass(frozen=True, eq=False)
class TokenMask:
    """The context of a text: which of its tokens are real.

    Attributes:
        mask: ``(tokens,)`` float32: 1 for tokens, 0 for padding.
    """

    mask: Array


@dataclass(frozen=True, eq=False)
class Embedding:
    """A text as a vector.

    Attributes:
        vector: ``(dimensions,)`` float32.
    """

    vector: Array

    def cosine(self, other: Embedding) -> float:
        """Cosine of the angle to another embedding, -1..1."""
        length = float(np.linalg.norm(self.vector) * np.linalg.norm(other.vector))
        return float(self.vector @ other.vector) / max(length, _SHORTEST)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"vector": self.vector.tolist()}

    def __str__(self) -> str:
        first = " ".join(f"{number:.4f}" for number in self.vector[:_SHOWN])
        more = " …" if len(self.vector) > _SHOWN else ""
        return f"{len(self.vector)} numbers, length {np.linalg.norm(self.vector):.4g}: {first}{more}"


class TextEmbedding(Task):
    """Takes a sentence or a pair of sentences; gives an `Embedding`.

    Attributes:
        options: Pooling and length.
        output: Name of the output.
    """

    name: ClassVar[str] = "text-embedding"
    takes: ClassVar[Takes] = "text"

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        super().__init__(spec, root)
        self.options = spec.options_as(EmbeddingOptions)
        self.output = _output(spec, self.options)
        self.needs_context = self.options.pooling == "mean"
        require_tokens(spec)
        assert spec.text is not None  # noqa: S101  checked by require_tokens
        self._tokenizer = open_tokenizer((root or Path()) / spec.text.tokenizer, sequence_length(spec))

    def encode(self, item: str | tuple[str, str]) -> Encoded:
        """Turn a sentence into token tensors ``(1, length)``; longer ones are cut, shorter ones padded.

        Raises:
            DataRefused: It is no text, empty, or longer than `tokens.MAX_CHARACTERS`.
        """
        texts = (item,) if isinstance(item, str) else item
        if not isinstance(texts, (tuple, list)) or len(texts) not in (1, 2):
            raise DataRefused(f"{item!r:.80}", expected="a sentence or a pair of sentences")
        encoding = self._tokenizer.encode(*(checked_text(text, "the text") for text in texts))
        mask = TokenMask(np.array(encoding.attention_mask, np.float32))
        return Encoded(token_feeds(self.spec, [encoding]), mask)

    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Embedding]:
        """Pool, normalize and return an `Embedding` for each text.

        Args:
            outputs: ``(batch, dimensions)``, or ``(batch, tokens, dimensions)`` where the options pool.
            contexts: The `TokenMask` of each text; needed for ``mean``.

        Raises:
            DataRefused: NaN in the output, or a number of masks that is not the batch's.
        """
        found = np.asarray(outputs[self.output], np.float32)
        if not np.isfinite(found).all():
            raise DataRefused(f"output {self.output!r} holds NaN or infinity", expected="finite numbers")
        vectors = found.reshape(len(found), -1) if self.options.pooling == "none" else self._pooled(found, contexts)
        if self.options.normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST)
        return [Embedding(vector) for vector in vectors]

    def _pooled(self, states: Array, contexts: Sequence[Any] | None) -> Array:
        """Mean of the real tokens' states (Reimers and Gurevych 2019, Sentence-BERT), or the first token's."""
        if self.options.pooling == "cls":
            first: Array = states[:, 0]
            return first
        if contexts is None or len(contexts) != len(states) or any(one is None for one in contexts):
            given = 0 if contexts is None else len([one for one in contexts if one is not None])
            raise DataRefused(
                f"{given} attention masks for {len(states)} texts", expected="one for each, for mean pooling"
            )
        masks = np.stack([one.mask for one in contexts]).astype(np.float32)
        totals = np.einsum("btd,bt->bd", states, masks)
        means: Array = totals / np.maximum(masks.sum(axis=1, keepdims=True), 1e-9)
        return means

    def scorer(self) -> EmbeddingScorer:
        """Cosine to the original's vectors; with truths, whether the nearest other text has the same label."""
        return EmbeddingScorer(self)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> str | None:
        """Return the label of a text as it stands: classes need no numbers here."""
        return None if raw in (None, "") else str(raw)


def _output(spec: Spec, options: EmbeddingOptions) -> str:
    names = [tensor.name for tensor in spec.outputs]
    if options.output is not None and options.output not in names:
        raise SpecRefused(f"options.output = {options.output!r}", expected=" or ".join(names))
    tensor = spec.outputs[0] if options.output is None else spec.outputs[names.index(options.output)]
    axes = len([size for size in tensor.shape[1:] if size != 1]) if options.pooling == "none" else len(tensor.shape) - 1
    wanted = 1 if options.pooling == "none" else 2
    if axes != wanted:
        raise SpecRefused(
            f"pooling {options.pooling!r} for output {tensor.name!r} of shape {list(tensor.shape)}",
            expected="[batch, tokens, dimensions] for mean and cls, [batch, dimensions] for none",
            remedy='set pooling = "mean" or "cls" in [options] for token states, leave it out for one vector a text',
        )
    return tensor.name


class EmbeddingScorer(ResultScorer):
    """Keeps the vectors of both sides: cosine, and the label of the nearest other text.

    Args:
        task: Decodes.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._cosines: list[float] = []
        self._labelled: list[tuple[Array, Array | None, Any]] = []

    def add(self, want: Any, got: Any, truth: Any) -> None:
        """Take the original's embedding, the artifact's, and the text's label."""
        self._cosines.append(want.cosine(got))
        if truth is not None:
            self._labelled.append((want.vector, got.vector, truth))

    def missing(self, want: Any, truth: Any) -> None:
        """An artifact without a vector agrees by nothing, and finds no neighbour."""
        self._cosines.append(0.0)
        if truth is not None:
            self._labelled.append((want.vector, None, truth))

    def agreement(self) -> Estimate | None:
        """Mean cosine of the original's and the artifact's vectors."""
        if not self._cosines:
            return None
        cosines = np.array(self._cosines, np.float64)
        return bootstrapped("cosine", len(cosines), lambda chosen: float(cosines[chosen].mean()))

    def metrics(self) -> tuple[Metric, Metric] | None:
        """Share of texts whose nearest other text, by cosine, has the same label."""
        if len(self._labelled) < 2:
            return None
        labels = [label for _, _, label in self._labelled]
        sides = zip(*[(want, got) for want, got, _ in self._labelled], strict=True)
        original, artifact = (_same_neighbour(list(side), labels) for side in sides)
        return original, artifact


def _same_neighbour(vectors: Sequence[Array | None], labels: Sequence[Any]) -> Proportion:
    """Leave-one-out accuracy of the nearest neighbour by cosine; a text without a vector has none."""
    there = [place for place, vector in enumerate(vectors) if vector is not None]
    right = 0
    if len(there) > 1:
        matrix = np.stack([np.asarray(vectors[place], np.float32) for place in there])
        matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), _SHORTEST)
        for begin in range(0, len(there), _NEIGHBOURS_AT_ONCE):
            alike = matrix[begin : begin + _NEIGHBOURS_AT_ONCE] @ matrix.T
            rows = np.arange(len(alike))
            alike[rows, begin + rows] = -np.inf
            nearest = alike.argmax(axis=1)
            right += sum(labels[there[begin + row]] == labels[there[best]] for row, best in enumerate(nearest))
    return Proportion(right, len(vectors), "nearest-neighbour accuracy")
