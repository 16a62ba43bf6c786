"""The graph behind text generation: one step of a decoder with a key-value cache of fixed size.

It takes a chunk of tokens, how many tokens the cache holds and the cache, and gives the logits of the chunk and its
keys and values. Shapes are static, as TFLite has them: a chunk that is not full is padded, and what the padding leaves
in the cache is masked until real tokens are written over it.

| tensor | shape | |
|---|---|---|
| ``input_ids`` | ``(batch, chunk)`` | tokens; padding is 0 |
| ``position`` | ``(batch, 1)`` | tokens in the cache |
| ``past_NAME`` | ``(batch, heads, slots, width)`` | keys or values of a layer, all slots |
| ``logits`` | ``(batch, chunk, vocabulary)`` | of the token after each of the chunk |
| ``present_NAME`` | ``(batch, heads, chunk, width)`` | keys or values of the chunk |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.spec import Spec, TensorSpec
from edgekit.tasks.base import Run

IDS, POSITION, LOGITS = "input_ids", "position", "logits"
_PAST, _PRESENT = "past_", "present_"
_EXPECTED = (
    "input_ids (batch, chunk), position (batch, 1), past_NAME (batch, heads, slots, width), "
    "logits (batch, chunk, vocabulary) and a present_NAME for each past_NAME"
)


@dataclass(frozen=True)
class StepGraph:
    """What a spec says of the graph.

    Attributes:
        chunk: Tokens a step.
        slots: Tokens that the cache holds.
        vocabulary: Number of different tokens.
        caches: Inputs that hold the cache.
    """

    chunk: int
    slots: int
    vocabulary: int
    caches: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, spec: Spec) -> StepGraph:
        """Read the graph's sizes from a spec. Raises SpecRefused when it is another graph."""
        inputs = {tensor.name: tensor for tensor in spec.inputs}
        outputs = {tensor.name: tensor for tensor in spec.outputs}
        caches = tuple(tensor for tensor in spec.inputs if tensor.name.startswith(_PAST))
        wanted = {IDS, POSITION, *(tensor.name for tensor in caches)}
        given = {LOGITS, *(present(tensor) for tensor in caches)}
        if set(inputs) != wanted or not given <= set(outputs) or not caches:
            raise _other_graph(spec)
        chunk, logits = inputs[IDS].shape[-1], outputs[LOGITS].shape
        slots = {tensor.shape[2] for tensor in caches if len(tensor.shape) == 4}
        if not chunk or len(slots) != 1 or None in slots or len(logits) != 3 or not logits[2]:
            raise _other_graph(spec)
        return cls(chunk, int(slots.pop() or 0), logits[2], caches)

    def empty(self, batch: int = 1) -> dict[str, Array]:
        """An empty cache that takes no memory; it can be read only."""
        return {
            tensor.name: np.broadcast_to(np.zeros((), tensor.dtype), (batch, *map(int, _sizes(tensor))))
            for tensor in self.caches
        }

    def chunks(self, ids: Sequence[int]) -> Array:
        """Tokens in chunks, ``(chunks, chunk)`` int64, padded with 0."""
        padded = np.zeros(-(-len(ids) // self.chunk) * self.chunk, np.int64)
        padded[: len(ids)] = ids
        return padded.reshape(-1, self.chunk)


class Decoder:
    """The model with the cache of one text.

    Args:
        graph: Its sizes.
        run: The model.

    Attributes:
        length: Tokens in the cache.
    """

    def __init__(self, graph: StepGraph, run: Run) -> None:
        self._graph, self._run = graph, run
        self._cache = {name: array.copy() for name, array in graph.empty().items()}
        self.length = 0

    def feed(self, ids: Sequence[int]) -> Array:
        """Take in tokens, at least one.

        Returns:
            Logits of the token after the last one, ``(vocabulary,)`` float32.

        Raises:
            DataRefused: More tokens than there are slots, or logits that are NaN.
        """
        row = np.zeros(0, np.float32)
        for _, logits in self.steps(ids):
            row = logits[-1]
        return row

    def steps(self, ids: Sequence[int]) -> Iterator[tuple[dict[str, Array], Array]]:
        """Take in tokens chunk by chunk.

        Yields:
            What the model was given, to be copied if kept, and the logits of the chunk's tokens,
            ``(tokens, vocabulary)``.

        Raises:
            DataRefused: As for `feed`.
        """
        if self.length + len(ids) > self._graph.slots:
            raise DataRefused(f"{self.length + len(ids)} tokens", expected=f"at most {self._graph.slots}, the context")
        left = len(ids)
        for chunk in self._graph.chunks(ids):
            count = min(left, self._graph.chunk)
            feeds = {IDS: chunk[None], POSITION: np.array([[self.length]], np.int64), **self._cache}
            outputs = self._run(feeds)
            logits = np.asarray(outputs[LOGITS][0, :count], np.float32)
            refuse_nan(logits)
            yield feeds, logits
            self._keep(outputs, count)
            left -= count

    def _keep(self, outputs: Mapping[str, Array], count: int) -> None:
        at = slice(self.length, self.length + count)
        for tensor in self._graph.caches:
            self._cache[tensor.name][:, :, at] = outputs[present(tensor)][:, :, :count]
        self.length += count


def present(tensor: TensorSpec) -> str:
    """Name of the output that holds the new part of a cache."""
    return _PRESENT + tensor.name.removeprefix(_PAST)


def refuse_nan(logits: Array) -> None:
    """Raise DataRefused for logits of which none can be chosen from."""
    if np.isnan(logits).any() or np.isposinf(logits).any() or np.isneginf(logits).all(axis=-1).any():
        raise DataRefused(
            "the model gives logits that are not finite",
            expected="finite scores for the next token",
            remedy="run edgekit verify on this machine, or use another recipe",
        )


def _sizes(tensor: TensorSpec) -> list[int]:
    return [size or 1 for size in tensor.shape[1:]]


def _other_graph(spec: Spec) -> SpecRefused:
    tensors = [f"{tensor.name} {list(tensor.shape)}" for tensor in (*spec.inputs[:3], *spec.outputs[:3])]
    return SpecRefused(
        f"text-generation with {', '.join(tensors)} …",
        expected=_EXPECTED,
        remedy="convert the model's Hugging Face folder: edgekit convert FOLDER --preset text-generation",
    )
