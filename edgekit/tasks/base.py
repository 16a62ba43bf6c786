"""What every task does: encode a real input into tensors, decode tensors into a typed result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from edgekit.engine import Array
from edgekit.errors import SpecRefused
from edgekit.spec import Spec


class Result(Protocol):
    """A frozen typed result."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""

    def __str__(self) -> str:
        """One line for a person."""


class Task(ABC):
    """Encodes and decodes for one spec.

    Args:
        spec: The spec.
        root: Folder of the files that the spec names (the bundle).
    """

    name: ClassVar[str]
    decides: str | None = None
    """Output whose largest entry is the decision; ``None`` where the task decides nothing."""

    def __init__(self, spec: Spec, root: Path | None = None) -> None:
        self.spec = spec
        self.root = root

    @abstractmethod
    def encode(self, item: Any) -> dict[str, Array]:
        """Turn one real input into input tensors.

        Args:
            item: Path of a photo, a picture array, a sentence or named arrays, as the task says.

        Returns:
            Spec input name -> array with a batch of 1.
        """

    @abstractmethod
    def decode(self, outputs: Mapping[str, Array]) -> list[Result]:
        """Turn output tensors into one result for each sample of the batch.

        Args:
            outputs: Spec output name -> array, batch first.
        """


_TASKS = {
    "image-classification": "edgekit.tasks.image_classification:ImageClassification",
    "text-classification": "edgekit.tasks.text_classification:TextClassification",
    "tensors": "edgekit.tasks.tensors:Tensors",
}


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
    module, _, name = _TASKS[spec.task].partition(":")
    found: Task = getattr(import_module(module), name)(spec, root)
    return found
