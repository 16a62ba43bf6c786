"""What every kind of trained model looks like once it is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar

from edgekit.engine import Array, Feeds
from edgekit.spec import Spec, TensorSpec


@dataclass(frozen=True)
class InputHint:
    """What the user said about one input, where the model itself does not say it.

    Attributes:
        shape: Dimensions with the batch first; ``None`` marks a dynamic one.
        name: Input name; ``None`` means by position.
        dtype: numpy dtype name; ``None`` means what the model takes, or float32.
    """

    shape: tuple[int | None, ...]
    name: str | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class SourceOptions:
    """How to open a source model.

    Attributes:
        weights: Weights for a PyTorch factory.
        inputs: Input shapes and dtypes given by the user.
        trust_pickle: Whether a pickled PyTorch module may run its code (in a child process).
        signature: SavedModel signature; ``None`` means ``serving_default``.
        max_length: Tokens a sample of a Hugging Face text model; ``None`` means what its folder says.
    """

    weights: Path | None = None
    inputs: tuple[InputHint, ...] = field(default=())
    trust_pickle: bool = False
    signature: str | None = None
    max_length: int | None = None


class Source(ABC):
    """A trained model, opened and ready to answer as the reference. Use as a context manager.

    Attributes:
        framework: ``keras``, ``savedmodel``, ``pytorch``, ``onnx`` or ``tflite``.
        name: Short name for files, e.g. ``mobilenetv2_port``.
        path: File or folder it came from; ``None`` for a live object.
        inputs: Input tensors in the model's order, batch first (``None`` where the batch is dynamic); image
            inputs carry their layout: NHWC for Keras and SavedModel, NCHW for PyTorch.
        outputs: Output tensors in the model's order.
        parameters: Number of weights.
        size_bytes: Bytes of the files it came from, or of the weights in memory for a live object.
        notes: What was repaired, left out or assumed while opening it; for the user to read.
        offered: What the model's own files say of task, preprocessing, text and labels, where they say it; what the
            user says goes first.
        files: Name in the bundle -> content, of the files that ``offered`` names.
        task_options: Task -> options that the model itself says; those of the user's spec come before.
        original_size: Height and width of the photos of the model that this one was compressed from, where they are
            larger than its own: what the user says of preprocessing is meant for those.
    """

    framework: ClassVar[str]
    name: str
    path: Path | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    size_bytes: int
    notes: tuple[str, ...] = ()
    offered: Spec | None = None
    files: Mapping[str, bytes] = MappingProxyType({})
    task_options: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    original_size: tuple[int, int] | None = None

    @abstractmethod
    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer as the original does.

        Args:
            feeds: Input name -> array of the declared shape (any batch where the batch is dynamic).

        Returns:
            Output name -> array, in float32 or the model's integer dtype.
        """

    def close(self) -> None:  # noqa: B027 - not every source holds something
        """Release what the source holds."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
