"""What an entry of the zoo is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgekit.engine import Array

Kind = Literal["image", "tokens", "mask", "types", "audio", "features", "boxes", "series"]


@dataclass(frozen=True)
class Input:
    """One input and what its values are like.

    Attributes:
        kind: ``image``: smooth pictures with noise, about unit variance; ``tokens``: ids 1..vocabulary-1;
            ``mask``: ones with a padded end; ``types``: 0 or 1; ``audio``: sines with noise; ``features`` and
            ``series``: smooth along the next to last axis; ``boxes``: sorted corners 0..1000.
        shape: Dimensions without the batch.
        limit: Size of the vocabulary, for ``tokens``.
        scale: Factor for float values.
        offset: Added to float values.
    """

    kind: Kind
    shape: tuple[int, ...]
    limit: int = 0
    scale: float = 1.0
    offset: float = 0.0

    @property
    def dtype(self) -> str:
        """numpy dtype name."""
        return "float32" if self.kind in ("image", "audio", "features", "series") else "int64"

    def sample(self, rng: np.random.Generator, count: int, dtype: str | None = None) -> Array:
        """Draw a batch."""
        drawn = _DRAW[self.kind](self, rng, count)
        if self.dtype == "float32":
            drawn = drawn * self.scale + self.offset
        return drawn.astype(dtype or self.dtype)


def _smooth(item: Input, rng: np.random.Generator, count: int, axes: tuple[int, ...]) -> Array:
    """Running sums of noise along some axes, normalised a sample, with a little white noise."""
    values = rng.standard_normal((count, *item.shape))
    for axis in axes:
        values = np.cumsum(values, axis=axis)
    rest = tuple(range(1, values.ndim))
    values = (values - values.mean(rest, keepdims=True)) / (values.std(rest, keepdims=True) + 1e-6)
    noisy: Array = values + 0.1 * rng.standard_normal(values.shape)
    return noisy


def _image(item: Input, rng: np.random.Generator, count: int) -> Array:
    return _smooth(item, rng, count, (1, 2) if item.shape[-1] in (1, 3) else (2, 3))


def _audio(item: Input, rng: np.random.Generator, count: int) -> Array:
    time = np.arange(item.shape[-1]) / 16000
    pitch, gain = rng.uniform(80, 2000, (count, 5, 1)), rng.uniform(0.1, 1, (count, 5, 1))
    wave = (gain * np.sin(2 * np.pi * pitch * time)).sum(1).reshape(count, *item.shape)
    noisy: Array = wave / 2 + 0.05 * rng.standard_normal(wave.shape)
    return noisy


def _tokens(item: Input, rng: np.random.Generator, count: int) -> Array:
    return rng.integers(1, item.limit, (count, *item.shape))


def _mask(item: Input, rng: np.random.Generator, count: int) -> Array:
    lengths = rng.integers(item.shape[-1] // 2, item.shape[-1] + 1, (count, *[1] * len(item.shape)))
    return np.broadcast_to(np.arange(item.shape[-1]) < lengths, (count, *item.shape))


def _boxes(item: Input, rng: np.random.Generator, count: int) -> Array:
    corners = np.sort(rng.integers(0, 1000, (count, *item.shape[:-1], 2, 2)), axis=-2)
    return corners.reshape(count, *item.shape)


_DRAW: dict[str, Callable[[Input, np.random.Generator, int], Array]] = {
    "image": _image,
    "audio": _audio,
    "tokens": _tokens,
    "mask": _mask,
    "boxes": _boxes,
    "types": lambda item, rng, count: rng.integers(0, 2, (count, *item.shape)),
    "features": lambda item, rng, count: _smooth(item, rng, count, (-1,)),
    "series": lambda item, rng, count: _smooth(item, rng, count, (1,)),
}


@dataclass(frozen=True)
class Entry:
    """One architecture.

    Attributes:
        name: Unique name.
        family: ``keras`` or ``torch``.
        domain: Text, vision, detection, segmentation, depth, audio, decoder, multimodal or series.
        build: Makes the model with random weights.
        inputs: Input name -> input, in the model's order.
    """

    name: str
    family: Literal["keras", "torch"]
    domain: str
    build: Callable[[], Any]
    inputs: Mapping[str, Input]


def image(size: int, channels: int = 3, **values: float) -> Input:
    """A picture, channels first."""
    return Input("image", (channels, size, size), **values)  # type: ignore[arg-type]


def feeds(entry: Entry, count: int, seed: int, dtypes: Mapping[str, str] | None = None) -> dict[str, Array]:
    """A batch for all inputs of an entry."""
    rng = np.random.default_rng(seed)
    return {name: item.sample(rng, count, (dtypes or {}).get(name)) for name, item in entry.inputs.items()}
