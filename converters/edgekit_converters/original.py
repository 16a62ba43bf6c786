"""The model that a source was made from, where another one than the source itself judges the artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from edgekit.bundle import file_sha256
from edgekit.engine import Array, Feeds
from edgekit.errors import UsageError
from edgekit.spec import TensorSpec
from edgekit_converters.input_size import photo_size, with_size
from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source


class Original(Source):
    """An original that answers under the names of the source that was made from it.

    Args:
        original: The open original; closed with this.
        source: The open source.

    Raises:
        UsageError: Their inputs or outputs differ in number or shape; only one photo may be of another size.

    Attributes:
        photo_size: Height and width of its photos, where the source takes them at another size.
    """

    framework: ClassVar[str] = "original"

    def __init__(self, original: Source, source: Source) -> None:
        theirs, own = photo_size(original.inputs), photo_size(source.inputs)
        self.photo_size = theirs if own is not None and theirs != own else None
        at_own = [tensor if own is None else with_size(tensor, own) for tensor in original.inputs]
        _refuse_other_shapes("input", at_own, source.inputs, said=original.inputs)
        _refuse_other_shapes("output", original.outputs, source.outputs, said=original.outputs)
        self._original = original
        self.name, self.path = original.name, original.path
        self.inputs = tuple(
            TensorSpec(own.name, theirs.shape, own.dtype, own.layout)
            for own, theirs in zip(source.inputs, original.inputs, strict=True)
        )
        self.outputs = source.outputs
        self.parameters, self.size_bytes, self.notes = original.parameters, original.size_bytes, original.notes

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Answer as the original does; see :meth:`Source.run`."""
        pairs = zip(self._original.inputs, self.inputs, strict=True)
        answers = self._original.run({theirs.name: feeds[own.name] for theirs, own in pairs})
        return {
            own.name: answers[theirs.name] for own, theirs in zip(self.outputs, self._original.outputs, strict=True)
        }

    def about(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return about(self._original)

    def close(self) -> None:
        """Release the original."""
        self._original.close()


def open_original(model: Any, options: SourceOptions, source: Source) -> Original:
    """Open the model that a source was made from.

    Input shapes that the user did not say are the source's, but for the size of photos where its file knows better.

    Raises:
        EdgeKitError: As `open_source`, and UsageError where its inputs or outputs differ from the source's.
    """
    size = source.original_size
    known = [tensor if size is None else with_size(tensor, size) for tensor in source.inputs]
    said = options.inputs
    if size is not None and [hint.shape[1:] for hint in said] == [tensor.shape[1:] for tensor in source.inputs]:
        said = ()  # those of the source
    hints = said or tuple(
        InputHint(tuple(1 if size is None else size for size in tensor.shape), dtype=tensor.dtype) for tensor in known
    )
    opened = open_source(model, SourceOptions(options.weights, hints, options.trust_pickle))
    try:
        return Original(opened, source)
    except UsageError:
        opened.close()
        raise


def about(source: Source) -> dict[str, Any]:
    """Framework, parameters, bytes, file and SHA-256 of a source, for the manifest."""
    file = source.path if source.path is not None and source.path.is_file() else None
    return {
        "framework": source.framework,
        "parameters": source.parameters,
        "bytes": source.size_bytes,
        "file": source.path.name if source.path else None,
        "sha256": file_sha256(file) if file else None,
    }


def _refuse_other_shapes(
    what: str, original: Sequence[TensorSpec], source: Sequence[TensorSpec], *, said: Sequence[TensorSpec]
) -> None:
    if _shapes(original) != _shapes(source):
        raise UsageError(
            f"--original with {what}s {_shapes(said)}, batch aside",
            expected=f"the model's {_shapes(source)}",
            remedy="name the model that this one was made from",
        )


def _shapes(tensors: Sequence[TensorSpec]) -> list[list[int | None]]:
    return [list(tensor.shape[1:]) for tensor in tensors]
