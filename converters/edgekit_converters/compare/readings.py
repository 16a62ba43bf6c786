"""Ways to turn pixels into an input that published models are trained with, and from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgekit.engine import Array
from edgekit.presets import PRESETS
from edgekit.spec import Preprocess, TensorSpec

Axes = Literal["as they are", "height and width swapped", "channels first read as channels last"]
FACTORS = ("values", "colour", "axes", "framing", "filter")

_IMAGENET_STD = (0.229, 0.224, 0.225)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
# Caffe's means of ImageNet, of red, green and blue pixels 0..255; nothing is divided.
_CAFFE_MEAN = (123.68, 116.779, 103.939)
VALUES: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "0..255": (1.0, (0.0,), (1.0,)),
    "0..1": (1 / 255, (0.0,), (1.0,)),
    "-1..1": (1 / 127.5, (1.0,), (1.0,)),
    "ImageNet mean and std": (1 / 255, _IMAGENET_MEAN, _IMAGENET_STD),
    "Caffe's ImageNet mean": (1.0, _CAFFE_MEAN, (1.0,)),
    "(x - 127) / 128": (1.0, (127.0,), (128.0,)),
}
"""Name -> scale, mean and std, the two in the order red, green, blue."""
_FRAMINGS: tuple[tuple[str, float | None, bool], ...] = (
    ("stretch", None, False), ("short-side", 256 / 224, True), ("short-side", None, True), ("letterbox", None, False),
)  # fmt: skip
_FILTERS = (
    ("bilinear", True), ("bilinear", False), ("bicubic", True), ("bicubic", False), ("nearest", True), ("area", True),
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How a photo becomes an input.

    Attributes:
        how: Framing, filter, colour order and values.
        axes: What was done to the axes afterwards; anything but ``as they are`` is a mistake somewhere.
    """

    how: Preprocess
    axes: Axes = "as they are"

    def part(self, factor: str) -> str:
        """One factor in words."""
        how = self.how
        if factor == "values":
            return values_name(how)
        if factor == "colour":
            return how.color.upper()
        if factor == "axes":
            return self.axes
        if factor == "framing":
            size = f" to {how.size[0]}" if how.size and how.resize == "short-side" else ""
            return f"{how.resize}{size}{', centre crop' if how.crop else ''}"
        return how.interpolation + ("" if how.antialias or how.interpolation == "nearest" else " without antialias")

    def with_part(self, factor: str, other: Reading) -> Reading:
        """This reading with one factor of another."""
        a, b = self.how, other.how
        if factor == "values":  # means belong to channels: in the order of this reading's colours
            mean, std = _ordered(b.mean, b.color, a.color), _ordered(b.std, b.color, a.color)
            return replace(self, how=replace(a, scale=b.scale, mean=mean, std=std))
        if factor == "colour":
            mean, std = _ordered(a.mean, a.color, b.color), _ordered(a.std, a.color, b.color)
            return replace(self, how=replace(a, color=b.color, mean=mean, std=std))
        if factor == "axes":
            return replace(self, axes=other.axes)
        if factor == "framing":
            return replace(self, how=replace(a, resize=b.resize, size=b.size, crop=b.crop))
        return replace(self, how=replace(a, interpolation=b.interpolation, antialias=b.antialias))


def values_name(how: Preprocess) -> str:
    """What the values are called."""
    mean, std = (_ordered(side, how.color, "rgb") for side in (how.mean, how.std))
    for name, (scale, wanted_mean, wanted_std) in VALUES.items():
        ours = (how.scale, *_filled(mean), *_filled(std))
        if np.allclose(ours, (scale, *_filled(wanted_mean), *_filled(wanted_std)), rtol=1e-3, atol=1e-6):
            return name
    return f"x * {how.scale:.6g}, mean {_short(how.mean)}, std {_short(how.std)}"


def recolourings(current: Reading, tensor: TensorSpec) -> Iterator[Reading]:
    """All values, colour orders and axes; the frame stays."""
    colours = ("gray",) if current.how.color == "gray" else ("rgb", "bgr")
    floats = np.dtype(tensor.dtype).kind == "f"
    ranges = [(scale, mean, std) for scale, mean, std in VALUES.values() if len(mean) == 1 or colours != ("gray",)]
    how = current.how
    own = (how.scale, _ordered(how.mean, how.color, "rgb"), _ordered(how.std, how.color, "rgb"))
    if not floats:
        ranges = [own]
    elif values_name(current.how) not in VALUES:
        ranges.append(own)
    axes: list[Axes] = ["as they are", "channels first read as channels last"]
    if tensor.height_width[0] == tensor.height_width[1]:
        axes.append("height and width swapped")
    for scale, mean, std in ranges:
        for colour in colours:
            sides = {"mean": _ordered(mean, "rgb", colour), "std": _ordered(std, "rgb", colour)}
            changed = replace(current.how, color=colour, scale=scale, **sides)  # type: ignore[arg-type]
            for order in axes:
                yield Reading(changed, order)


def reframings(current: Reading, tensor: TensorSpec) -> Iterator[Reading]:
    """Other ways to bring a photo to the input's size."""
    target = min(tensor.height_width)
    for resize, ratio, crop in _FRAMINGS:
        size = None if ratio is None else (round(target * ratio), round(target * ratio))
        yield replace(current, how=replace(current.how, resize=resize, size=size, crop=crop))  # type: ignore[arg-type]


def refilterings(current: Reading) -> Iterator[Reading]:
    """Other filters for the same frame."""
    for interpolation, antialias in _FILTERS:
        how = replace(current.how, interpolation=interpolation, antialias=antialias)  # type: ignore[arg-type]
        yield replace(current, how=how)


def converted(values: Array, have: Preprocess, want: Reading, tensor: TensorSpec) -> Array:
    """An encoded input as another reading would have encoded it; both with the same frame.

    Args:
        values: ``(1, H, W, C)`` or ``(1, C, H, W)``.
        have: How it was encoded.
        want: How it should have been.
        tensor: The input.
    """
    nchw = tensor.layout == "NCHW"
    picture = values.transpose(0, 2, 3, 1) if nchw else values
    pixels = (picture.astype(np.float32) * _row(have.std) + _row(have.mean)) / np.float32(have.scale)
    if have.color != want.how.color:
        pixels = pixels[..., ::-1]
    changed = (pixels * np.float32(want.how.scale) - _row(want.how.mean)) / _row(want.how.std)
    if np.dtype(tensor.dtype).kind in "iu":
        changed = np.rint(changed)
    changed = _moved(changed, want.axes)
    return np.ascontiguousarray(changed.transpose(0, 3, 1, 2) if nchw else changed, dtype=tensor.dtype)


def _moved(picture: Array, axes: Axes) -> Array:
    if axes == "height and width swapped":
        return picture.transpose(0, 2, 1, 3)
    if axes == "channels first read as channels last":
        return picture.transpose(0, 3, 1, 2).reshape(picture.shape)
    return picture


def guessed(feeds: Iterator[Array]) -> Preprocess:
    """The values of arrays that come without preprocessing, by the range they cover."""
    low, high = 0.0, 0.0
    for values in feeds:
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low < 0:
        name = "-1..1" if max(-low, high) <= 1.01 else "ImageNet mean and std"
    else:
        name = "0..1" if high <= 1.01 else "0..255"
    scale, mean, std = VALUES[name]
    return Preprocess(scale=scale, mean=mean, std=std)


def remedy(found: Reading) -> str:
    """How to tell edgekit of a reading."""
    how = found.how
    name = next((name for name, (_, spec) in PRESETS.items() if spec.preprocess == how), None)
    if name is not None:
        return f"--preset {name}"
    plain = Preprocess()
    said = {key: getattr(how, key) for key in ("resize", "size", "interpolation", "antialias", "crop", "color")}
    lines = [f"{key} = {_toml(value)}" for key, value in said.items() if value != getattr(plain, key)]
    lines += [f"scale = {how.scale:.10g}", f"mean = {_toml(how.mean)}", f"std = {_toml(how.std)}"]
    return "--spec with [preprocess] " + ", ".join(lines)


def described(reading: Reading, factors: Mapping[str, object] | tuple[str, ...]) -> str:
    """Some factors of a reading in words."""
    return ", ".join(reading.part(factor) for factor in FACTORS if factor in factors)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"{value[0]:.6g}" if len(value) == 1 else "[" + ", ".join(f"{item:.6g}" for item in value) + "]"
    return f'"{value}"'


def _ordered(values: tuple[float, ...], have: str, want: str) -> tuple[float, ...]:
    return values[::-1] if have != want and "gray" not in (have, want) else values


def _row(values: tuple[float, ...]) -> Array:
    return np.array(values, np.float32)


def _filled(values: tuple[float, ...]) -> tuple[float, ...]:
    return values * 3 if len(values) == 1 else values


def _short(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:.4g}" for value in values)
