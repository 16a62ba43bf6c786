"""What every task does: encode a real input into tensors, decode tensors into a typed result, and score results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused, SpecRefused
from edgekit.parity import DecisionScorer, Scorer
from edgekit.spec import TASKS, Spec

Takes = Literal["picture", "text", "question", "sound", "row", "arrays"]
"""What an input is: readers of data and of inputs go by it."""
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Spec input name -> array to spec output name -> array, batch first: an engine, or the original."""


class Result(Protocol):
    """A frozen typed result."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""

    def __str__(self) -> str:
        """One line for a person."""


@runtime_checkable
class Drawable(Protocol):
    """A result that can be drawn into the picture it was found in."""

    def draw(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a copy with the result drawn in.

        Args:
            picture: ``(height, width, 3)`` uint8, RGB, of the input's proportions; it may have been enlarged.
        """


@runtime_checkable
class Streams(Protocol):
    """A task whose result is a text that comes piece by piece."""

    def stream(self, run: Run, feeds: Mapping[str, Array]) -> Generator[str, None, Any]:
        """Yield the pieces of one input's text; return the result."""


class Encoded(dict[str, Array]):
    """Input tensors of one input, and what decoding has to know of it.

    Attributes:
        context: A frozen value, such as the size of the photo or the text with its offsets; ``None`` where outputs say
            it all. The batch axis counts the windows of the input, of which most tasks have one.
    """

    def __init__(self, feeds: Mapping[str, Array], context: Any = None) -> None:
        super().__init__(feeds)
        self.context = context

    @property
    def windows(self) -> int:
        """How many samples the input became."""
        return len(next(iter(self.values())))


def context_of(feeds: Mapping[str, Array]) -> Any:
    """Return the context of encoded tensors; ``None`` for tensors without."""
    return feeds.context if isinstance(feeds, Encoded) else None


def joined(feeds: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """Concatenate the tensors of several inputs along the batch axis."""
    if len(feeds) == 1:
        return feeds[0]
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


class Task(ABC):
    """Encodes and decodes for one spec.

    Args:
        spec: The spec.
        root: Folder of the files that the spec names (the bundle).

    Attributes:
        needs_context: Whether results can be had only with what ``encode`` knew of the input.
    """

    name: ClassVar[str]
    takes: ClassVar[Takes]
    decides: str | None = None
    """Output whose largest entry is the decision; ``None`` where the task decides between no classes."""
    needs_context: bool = False

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        self.spec = spec
        self.root = root

    @abstractmethod
    def encode(self, item: Any) -> dict[str, Array]:
        """Turn one real input into input tensors.

        Args:
            item: Path of a photo, a picture array, a sentence, a question with its text or named arrays, as the task
                says.

        Returns:
            Spec input name -> array with a batch of 1, or of as many windows as the input needs; an `Encoded` where
            decoding has to know more.
        """

    @abstractmethod
    def decode(self, outputs: Mapping[str, Array], contexts: Sequence[Any] | None = None) -> list[Any]:
        """Turn output tensors into one `Result` for each input of the batch.

        Args:
            outputs: Spec output name -> array, batch first.
            contexts: The ``context`` of each input; ``None`` where nothing is known, then each sample is an input.

        Raises:
            DataRefused: The outputs hold NaN, or cannot be those of this task.
        """

    def samples(self, item: Any, run: Run) -> dict[str, Array]:
        """Turn one item of a data set into input tensors for conversion.

        As `encode`, except for tasks whose model is fed with what it gave before: they ask the original for that.

        Args:
            item: As for `encode`.
            run: The original.
        """
        return self.encode(item)

    def answer(self, run: Run, feeds: Sequence[Mapping[str, Array]]) -> list[Any]:
        """Infer encoded inputs and decode them; tasks that ask the model more than once say how.

        Args:
            run: The model.
            feeds: What ``encode`` made of each input.

        Returns:
            One `Result` an input.
        """
        return self.decode(run(joined(feeds)), [context_of(one) for one in feeds])

    def scorer(self) -> Scorer | None:
        """Return a new scorer for the parity of one artifact; ``None`` where only numbers can be compared."""
        return None if self.decides is None else DecisionScorer(self.decides)

    @classmethod
    def truth(cls, spec: Spec, raw: Any, where: str) -> Any:
        """Turn what a data set says of an input into what the task's scorer takes.

        Args:
            spec: For names of classes.
            raw: A class number or name, a list of boxes, a path, as the data set has it; ``None`` where it is silent.
            where: File and line for messages.

        Raises:
            DataRefused: It cannot be the truth of this task.
        """
        from edgekit.tasks.classification import class_number

        return class_number(spec, raw, where)


class ResultScorer(Scorer):
    """Decodes both sides and compares result by result.

    Args:
        task: Decodes.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def update(
        self,
        reference: Mapping[str, Array],
        candidate: Mapping[str, Array],
        truths: Sequence[Any] | None = None,
        contexts: Sequence[Any] | None = None,
    ) -> None:
        """Decode and `add`; a candidate that cannot be decoded counts as `missing`."""
        if self.task.needs_context and (contexts is None or any(context is None for context in contexts)):
            return
        expected = self.task.decode(reference, contexts)
        try:
            given: list[Any] = self.task.decode(candidate, contexts)
        except DataRefused:
            given = [None] * len(expected)
        known: Iterator[Any] = iter(truths) if truths is not None else repeat(None)
        for want, got, truth in zip(expected, given, known, strict=False):
            if got is None:
                self.missing(want, truth)
            else:
                self.add(want, got, truth)

    @abstractmethod
    def add(self, want: Any, got: Any, truth: Any) -> None:
        """Take the original's result, the artifact's, and the truth (``None`` where unknown)."""

    def missing(self, want: Any, truth: Any) -> None:
        """Take note that the artifact has no result."""


def task_class(name: str) -> type[Task]:
    """Return the class of a task. Raises SpecRefused for an unknown name."""
    if name not in TASKS:
        raise SpecRefused(f"task {name!r}", expected=" or ".join(TASKS))
    module, _, attribute = TASKS[name].partition(":")
    found: type[Task] = getattr(import_module(module), attribute)
    return found


def task_for(spec: Spec, root: Path | None = None) -> Task:
    """Return the task that a spec names.

    Args:
        spec: The spec, with inputs and outputs.
        root: Folder of the files that the spec names (the bundle).

    Raises:
        SpecRefused: The spec lacks what the task needs.
    """
    if not spec.inputs or not spec.outputs:
        raise SpecRefused("the spec has no inputs or no outputs", expected="both")
    return task_class(spec.task)(spec, root)
