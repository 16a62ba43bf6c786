"""Names, shapes, hints and feeds: what is the same for every framework."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgekit.engine import Array, Feeds
from edgekit.errors import DataRefused, UsageError
from edgekit.spec import Layout, TensorSpec
from edgekit_converters.sources.base import InputHint

IMAGE_CHANNELS = (1, 3, 4)
Shape = tuple[int | None, ...]


def image_layout(shape: Shape, dtype: str, prefer: Layout) -> Layout | None:
    """Layout of a tensor that looks like a picture: four dimensions and 1, 3 or 4 channels.

    Args:
        shape: Dimensions, batch first.
        dtype: numpy dtype name.
        prefer: The framework's own layout, taken when both places could hold the channels.

    Returns:
        ``NHWC`` or ``NCHW``; ``None`` for anything that is no picture.
    """
    if len(shape) != 4 or not (dtype.startswith("float") or dtype == "uint8"):
        return None
    last, second = shape[3] in IMAGE_CHANNELS, shape[1] in IMAGE_CHANNELS
    if last and second:
        return prefer
    if last:
        return "NHWC"
    return "NCHW" if second else None


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Give later ones of equal names a number: ``y, y`` becomes ``y, y_1``."""
    taken: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.append(candidate)
    return tuple(taken)


def match_hints(names: Sequence[str], hints: Sequence[InputHint]) -> dict[str, InputHint]:
    """Give each hint to the input it names, or, without a name, to the one in its place.

    Raises:
        UsageError: A hint for an input that the model does not have, or two for one.
    """
    found: dict[str, InputHint] = {}
    for place, hint in enumerate(hints):
        if hint.name is None and place >= len(names):
            raise UsageError(f"{len(hints)} input shapes", expected=f"at most {len(names)}: {', '.join(names)}")
        name = hint.name or names[place]
        if name not in names or name in found:
            what = "given twice" if name in found else "not an input of the model"
            raise UsageError(f"input shape for {name!r}: {what}", expected=", ".join(names))
        found[name] = hint
    return found


def refine_shape(name: str, own: Shape, hint: InputHint | None) -> Shape:
    """Fill the open dimensions of a model's own shape from a hint.

    A leading 1 in the hint does not close an open batch: it is how people write "one sample".

    Raises:
        UsageError: The hint contradicts the model.
    """
    if hint is None:
        return own
    fits = len(own) == len(hint.shape) and all(
        mine in (None, asked) or asked is None or (place == 0 and asked == 1)
        for place, (mine, asked) in enumerate(zip(own, hint.shape, strict=False))
    )
    if not fits:
        raise UsageError(
            f"input shape {_shown(hint.shape)} for {name!r}",
            expected=f"{_shown(own)}, as the model has it",
            remedy="leave --input-shape out, or give numbers only where the model leaves a dimension open",
        )
    batch = own[0] if own[0] is not None or hint.shape[0] in (None, 1) else hint.shape[0]
    inner = (mine if mine is not None else asked for mine, asked in zip(own[1:], hint.shape[1:], strict=True))
    return (batch, *inner)


def ordered_feeds(inputs: Sequence[TensorSpec], feeds: Feeds) -> list[Array]:
    """Return the arrays in the model's order and dtype.

    Raises:
        DataRefused: A missing or unknown name, or a wrong shape.
    """
    names = [tensor.name for tensor in inputs]
    if set(feeds) != set(names):
        raise DataRefused(f"arrays for {sorted(feeds)}", expected=f"one for each of {names}")
    return [_cast(tensor, np.asarray(feeds[tensor.name])) for tensor in inputs]


def _cast(tensor: TensorSpec, array: Array) -> Array:
    fits = array.ndim == len(tensor.shape) and all(
        want in (None, got) for want, got in zip(tensor.shape, array.shape, strict=True)
    )
    if not fits:
        raise DataRefused(f"input {tensor.name!r} has shape {list(array.shape)}", expected=_shown(tensor.shape))
    if array.dtype.kind == "f" and np.dtype(tensor.dtype).kind in "iub":
        raise DataRefused(f"input {tensor.name!r} has dtype {array.dtype}", expected=tensor.dtype)
    return np.ascontiguousarray(array, dtype=tensor.dtype)


def to_answer(array: Array) -> Array:
    """Floats of every width as float32; integers and booleans as they are."""
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    return array


def _shown(shape: Shape) -> str:
    return str(["any" if size is None else size for size in shape])
