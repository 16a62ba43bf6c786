"""What a folder of the Hugging Face hub says of its model, for the spec and for calling it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.spec import Spec
from edgekit_converters.sources.base import SourceOptions

if TYPE_CHECKING:
    from edgekit_converters.sources._torch_graph import Inputs


@dataclass(frozen=True)
class OpenModel:
    """A model that transformers has opened.

    Attributes:
        transformers: The library.
        folder: Where the model and its tokenizer or image processor lie.
        model: The model.
        options: The user's.
    """

    transformers: Any
    folder: Path
    model: Any
    options: SourceOptions


@dataclass(frozen=True)
class Offer:
    """What the folder says, and the inputs that follow from it.

    Attributes:
        spec: Task, labels, text, preprocessing.
        inputs: Names, shapes and dtypes to call the model with.
        files: For the bundle.
        notes: For the user.
    """

    spec: Spec
    inputs: Inputs
    files: dict[str, bytes]
    notes: tuple[str, ...] = ()
