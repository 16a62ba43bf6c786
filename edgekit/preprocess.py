"""From a photo to an input tensor, as the spec says: resize, crop, channel order, scaling, layout.

Defined once and used by calibration, parity, the runtime and serving.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgekit.engine import Array
from edgekit.errors import SpecRefused
from edgekit.images import Reduction
from edgekit.resample import resize
from edgekit.spec import Preprocess, TensorSpec

REDUCED_OVER_RESIZED = 2.0
"""Least ratio of a reduced JPEG's sides to what it is then resized to, see `reduction`."""

_REDUCTIONS: tuple[Reduction, ...] = (8, 4, 2)
_MOST_SHIFT = 1 / 16  # pixels of the resized picture


@dataclass(frozen=True)
class Placement:
    """Where the photo lies in the input tensor, to undo it for boxes and masks.

    Attributes:
        scale: Input pixels per photo pixel, vertical and horizontal.
        offset: Position of the photo's top left corner in the input, pixels; negative when cropped.
        size: Height and width of the photo after resizing, before crop or padding, input pixels.
    """

    scale: tuple[float, float]
    offset: tuple[int, int]
    size: tuple[int, int]


def encode_image(image: Array, tensor: TensorSpec, how: Preprocess) -> Array:
    """Turn a photo into an input tensor.

    Args:
        image: ``(height, width, 3)`` uint8, RGB.
        tensor: The input; its shape gives height and width, its layout the order of axes.
        how: The spec's preprocessing.

    Returns:
        ``(1, H, W, C)`` or ``(1, C, H, W)`` in the tensor's dtype.
    """
    pixels, _ = place(_channels(image, how), tensor, how)
    return normalise(pixels, tensor, how)[None]


def place(image: Array, tensor: TensorSpec, how: Preprocess) -> tuple[Array, Placement]:
    """Resize, crop or pad to the input's height and width.

    Returns:
        ``(H, W, C)`` uint8 and where the photo lies in it.
    """
    target = tensor.height_width
    where = placement(image.shape[:2], tensor, how)
    size, offset = where.size, where.offset
    image = resize(image, size, how.interpolation, antialias=how.antialias)
    if size == target:
        return image, where
    fill = how.pad_value if how.resize == "letterbox" else 0
    canvas = np.full((*target, image.shape[2]), fill, np.uint8)
    source = tuple(slice(max(0, -o), max(0, -o) + min(s, t)) for o, s, t in zip(offset, size, target, strict=True))
    goal = tuple(slice(max(0, o), max(0, o) + min(s, t)) for o, s, t in zip(offset, size, target, strict=True))
    canvas[goal] = image[source]
    return canvas, where


def placement(have: tuple[int, ...], tensor: TensorSpec, how: Preprocess) -> Placement:
    """Return where a photo lies in the input, without touching a pixel.

    Args:
        have: Height and width of the photo, in pixels.
        tensor: The input.
        how: The spec's preprocessing.

    Raises:
        SpecRefused: The photo becomes another size than the input's and is neither cropped nor padded.
    """
    target = tensor.height_width
    size = _resized(have, target, how)
    if size != target and not how.crop and how.resize != "letterbox":
        raise SpecRefused(
            f"a photo of {have[0]} x {have[1]} becomes {size[0]} x {size[1]} by resize = {how.resize!r}",
            expected=f"the input's {target[0]} x {target[1]}",
            remedy="set crop = true, or resize = 'stretch' or 'letterbox'",
        )
    scale = (size[0] / have[0], size[1] / have[1])
    starts = [_start(have, want, floor=how.crop_floor) for have, want in zip(size, target, strict=True)]
    return Placement(scale, (starts[0], starts[1]), size)


def reducible(how: Preprocess) -> bool:
    """Whether photos may be reduced while they are decoded: the spec shrinks them by a smooth antialiasing filter.

    The area filter weighs whole pixels up to a sharp edge, which falls between those of a reduced photo: with it the
    pixels of a photo differed by up to 3.1 of 255 on average.
    """
    return how.resize != "none" and how.antialias and how.interpolation in ("bilinear", "bicubic", "lanczos")


def reduction(have: tuple[int, int], tensor: TensorSpec, how: Preprocess) -> Reduction:
    """Choose by how much a JPEG may be reduced while it is decoded, so that its input tensor stays nearly the same.

    The reduced picture stays at least `REDUCED_OVER_RESIZED` times as large as what it is resized to; the size it is
    resized to stays that of the whole picture; and the columns and rows by which a reduction rounds up shift no pixel
    of the resized picture by more than a sixteenth of a pixel. All of it holds for the photo turned by 90 degrees
    too, as its EXIF orientation may ask.

    Measured on 33 large photos with inputs of 224 x 224, the pixels of the input then differ from those of the whole
    photo by 0.2 to 0.4 of 255 on average, by 1.3 in the worst photo, a single pixel by 23. See
    ``tests/benchmarks/fast_decode.py``.

    Args:
        have: Height and width of the photo, in pixels.
        tensor: The input.
        how: The spec's preprocessing.

    Returns:
        1, 2, 4 or 8; 1 where the photo is too small or the spec not `reducible`.
    """
    if not reducible(how):
        return 1
    target = tensor.height_width
    return next((by for by in _REDUCTIONS if _keeps(have, by, target, how) and _keeps(have[::-1], by, target, how)), 1)


def _keeps(have: tuple[int, int], by: int, target: tuple[int, int], how: Preprocess) -> bool:
    size = _resized(have, target, how)
    reduced = tuple(-(-side // by) for side in have)
    if _resized(reduced, target, how) != size:
        return False
    return all(
        small >= REDUCED_OVER_RESIZED * goal and (small * by - side) * goal <= _MOST_SHIFT * side
        for side, small, goal in zip(have, reduced, size, strict=True)
    )


def normalise(pixels: Array, tensor: TensorSpec, how: Preprocess) -> Array:
    """Apply ``(x * scale - mean) / std`` and the layout to ``(H, W, C)`` uint8 pixels.

    Returns:
        ``(H, W, C)`` or ``(C, H, W)`` in the tensor's dtype.
    """
    plain = how.scale == 1.0 and set(how.mean) == {0.0} and set(how.std) == {1.0}
    values = pixels if plain else _scaled(pixels, how)
    if tensor.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values, dtype=tensor.dtype)


def _scaled(pixels: Array, how: Preprocess) -> Array:
    """``(x * scale - mean) / std``.

    With values of its own for each channel numpy takes ten times as long as looking up the 256 that a byte can have.
    """
    if len(how.mean) == len(how.std) == 1:
        return _formula(pixels, how.scale, how.mean, how.std)
    import cv2

    table = _table(how.scale, how.mean, how.std, pixels.shape[2])
    values: Array = cv2.LUT(np.ascontiguousarray(pixels), table)
    return values.reshape(pixels.shape)


def _formula(pixels: Array, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    values: Array = (pixels * np.float32(scale) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return values


@lru_cache(maxsize=16)
def _table(scale: float, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> Array:
    """``(1, 256, channels)`` float32."""
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, axis=1)
    return _formula(every, scale, mean, std)[None]


def _channels(image: Array, how: Preprocess) -> Array:
    if how.color == "bgr":
        import cv2

        # A view with the axis reversed would be copied again and again further on, ten times as slowly.
        swapped: Array = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
        return swapped
    if how.color == "gray":
        # ITU-R BT.601 luma in 16-bit fixed point, rounded as Pillow's convert("L") rounds.
        luma = image.astype(np.int32) @ np.array([19595, 38470, 7471], np.int32)
        return ((luma + 0x8000) >> 16).astype(np.uint8)[..., None]
    return image


def _resized(have: tuple[int, ...], target: tuple[int, int], how: Preprocess) -> tuple[int, int]:
    """Height and width after resizing, before crop or padding."""
    size = how.size or target
    if how.resize == "none":
        return have[0], have[1]
    if how.resize == "stretch":
        return size
    if how.resize == "letterbox":
        ratio = min(target[0] / have[0], target[1] / have[1])
        return max(1, round(have[0] * ratio)), max(1, round(have[1] * ratio))
    short = size[0] if how.size else min(target)
    # torchvision truncates the longer side, so a 4:3 photo at 256 becomes 256 x 341.
    if have[0] <= have[1]:
        return short, max(1, int(short * have[1] / have[0]))
    return max(1, int(short * have[0] / have[1])), short


def _start(size: int, target: int, *, floor: bool) -> int:
    """Offset that centres ``size`` in ``target``; torchvision rounds a crop's half pixel to even."""
    if floor and size > target:
        return -((size - target) // 2)
    return round((target - size) / 2) if size > target else (target - size) // 2
