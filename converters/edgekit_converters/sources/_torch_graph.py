"""Give every PyTorch module one form: positional tensors in, a flat tuple of tensors out.

Imports torch when imported; ``pytorch`` imports it late.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from edgekit.errors import ModelRefused, UsageError
from edgekit.spec import TensorSpec
from edgekit_converters.sources._files import first_line
from edgekit_converters.sources._tensors import image_layout, match_hints, unique
from edgekit_converters.sources.base import InputHint

Caller = Callable[..., Any]


class Exportable(torch.nn.Module):  # type: ignore[misc]
    """A module whose ``forward`` takes one tensor for each input and returns a tuple of tensors.

    ``None`` and everything that is no tensor is left out of what the wrapped module returns.

    Args:
        model: The module.
        names: Names under which ``model`` takes the tensors; an empty name means by position.
        call: How to call the module; by default with the tensors by position and name.
    """

    def __init__(self, model: Any, names: Sequence[str], call: Caller | None = None) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.call = call

    def forward(self, *tensors: Any) -> tuple[Any, ...]:
        """Call the module and flatten its answer."""
        return tuple(leaf for _, leaf in tensor_leaves(self.answer(*tensors)))

    def answer(self, *tensors: Any) -> Any:
        """Call the module and return its answer as it is."""
        if self.call is not None:
            return self.call(self.model, *tensors)
        by_place = [tensor for name, tensor in zip(self.names, tensors, strict=True) if not name]
        by_name = {name: tensor for name, tensor in zip(self.names, tensors, strict=True) if name}
        return self.model(*by_place, **by_name)


def _children(value: Any) -> Iterator[tuple[str, Any]] | None:
    """The named parts of a container; ``None`` for a leaf."""
    if isinstance(value, Mapping):
        return ((str(key), item) for key, item in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return iter(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return ((str(place), item) for place, item in enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
    return None


def tensor_leaves(answer: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every tensor of a nested answer with its path, in order."""
    if isinstance(answer, torch.Tensor):
        yield path, answer
        return
    for name, item in _children(answer) or ():
        yield from tensor_leaves(item, (*path, name))


def left_out(answer: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """What of an answer is neither tensor nor ``None``, as ``path (type)``."""
    children = _children(answer)
    if children is None and answer is not None and not isinstance(answer, torch.Tensor):
        yield f"{'.'.join(path) or 'the answer'} ({type(answer).__name__})"
    for name, item in children or ():
        yield from left_out(item, (*path, name))


def output_names(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Names from paths: keys joined by underscores, ``output_0`` for a place in a tuple, ``output`` alone."""
    names = ["_".join(path) or "output" for path in paths]
    return unique(f"output_{name}" if name[0].isdigit() else name for name in names)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a module is called with.

    Attributes:
        names: Names of the inputs.
        call_names: Names to call by; empty where by position.
        shapes: Dimensions, batch first; ``None`` only for an open batch.
        dtypes: numpy dtype names.
    """

    names: tuple[str, ...]
    call_names: tuple[str, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    dtypes: tuple[str, ...]

    def examples(self, batch: int) -> tuple[Any, ...]:
        """Example tensors; ``batch`` fills a leading dimension that is open or 1."""
        made = []
        for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True):
            sizes = (batch if shape[0] in (None, 1) else shape[0], *shape[1:])
            made.append(example(name, sizes, dtype))
        return tuple(made)

    def specs(self, *, open_batch: bool) -> tuple[TensorSpec, ...]:
        """The tensors' specs, with the batch open or as given."""
        found = []
        for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True):
            batch = (None if open_batch else 1) if shape[0] in (None, 1) else shape[0]
            full = (batch, *shape[1:])
            found.append(TensorSpec(name, full, dtype, image_layout(full, dtype, "NCHW")))
        return tuple(found)


def example(name: str, sizes: Sequence[int | None], dtype: str) -> Any:
    """A harmless tensor to trace with: floats 0..1, token ids 0, masks 1. The same every time."""
    kind = getattr(torch, dtype)
    if kind.is_floating_point:
        return torch.rand(tuple(sizes), generator=torch.Generator().manual_seed(0)).to(kind)
    fill = torch.ones if "mask" in name or kind is torch.bool else torch.zeros
    return fill(tuple(sizes), dtype=kind)


def declared_inputs(module: Any, hints: Sequence[InputHint]) -> Inputs:
    """Match the user's shapes with the arguments of ``forward``.

    Raises:
        UsageError: No shape for a required argument, an open dimension other than the batch, or an unknown dtype.
    """
    parameters = list(inspect.signature(module.forward).parameters.values())
    named = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    named += [item for item in parameters if item.kind is item.KEYWORD_ONLY]
    names = [item.name for item in named]
    if any(item.kind is item.VAR_POSITIONAL for item in parameters):
        names += [f"input_{place}" for place in range(len(names), len(hints))]
    required = [item.name for item in named if item.default is item.empty]
    given = match_hints(names, hints)
    missing = [name for name in required if name not in given]
    if missing or not given:
        raise _shapes_missing(module, missing or names[:1])
    chosen = [name for name in names if name in given]
    by_place = _leading(names, chosen, keyword_only={item.name for item in named if item.kind is item.KEYWORD_ONLY})
    for name in chosen:
        _check_hint(name, given[name])
    return Inputs(
        names=tuple(chosen),
        call_names=tuple("" if name in by_place else name for name in chosen),
        shapes=tuple(given[name].shape for name in chosen),
        dtypes=tuple(given[name].dtype or "float32" for name in chosen),
    )


def _leading(names: Sequence[str], chosen: Sequence[str], *, keyword_only: set[str]) -> set[str]:
    """The chosen names that stand in one row at the front of the signature: they go by position."""
    row: set[str] = set()
    for name in names:
        if name not in chosen or name in keyword_only:
            break
        row.add(name)
    return row


def _check_hint(name: str, hint: InputHint) -> None:
    if not hint.shape or any(size is None for size in hint.shape[1:]):
        raise UsageError(
            f"input shape {['any' if size is None else size for size in hint.shape]} for {name!r}",
            expected="numbers; only the first dimension, the batch, may be open",
            remedy="give the size that the device will use, e.g. --input-shape 1,3,224,224",
        )
    if hint.dtype is not None and not isinstance(getattr(torch, hint.dtype, None), torch.dtype):
        raise UsageError(f"dtype {hint.dtype!r} for {name!r}", expected="float32, int64, int32, uint8 or bool")


def _shapes_missing(module: Any, names: Sequence[str]) -> UsageError:
    ids = any(word in name for name in names for word in ("ids", "mask", "tokens"))
    first = "1,128:int64" if ids else "1,3,224,224"
    sample = first if len(names) == 1 and not ids else " --input-shape ".join(f"{name}={first}" for name in names)
    return UsageError(
        f"{type(module).__name__} does not say the shapes of its inputs: {', '.join(names)} of forward()",
        expected="a shape for each, the batch first",
        remedy=f"pass --input-shape, e.g. --input-shape {sample}",
    )


def call_example(exportable: Exportable, tensors: Sequence[Any], names: Sequence[str]) -> Any:
    """Call once without gradients. Raises ModelRefused with the module's own message when it fails."""
    try:
        with torch.no_grad():
            return exportable.answer(*tensors)
    except Exception as error:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in zip(names, tensors, strict=True))
        raise ModelRefused(
            f"the PyTorch model fails on {shapes}: {type(error).__name__}: {first_line(error)}",
            expected="shapes and dtypes that its forward() accepts",
            remedy="check --input-shape and the dtypes (token ids are int64)",
        ) from error
