"""Batches to learn from: unlabelled samples, pictures changed at random.

The original answers whatever it is shown, so a changed picture needs no label: every change is allowed that leaves a
picture in the range of what the model takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from edgekit.engine import Array
from edgekit.spec import Spec, TensorSpec
from edgekit_converters.input_size import Size, photo_size
from edgekit_converters.store import SampleStore, batches, stack

_IN_MEMORY = 1 << 29
"""Bytes of samples that are kept in memory; what is beyond is read again each time."""
_LEAST_AREA, _GAIN, _SHIFT, _MIXED = 0.35, 0.15, 0.15, 0.25
_MOST_CHANNELS = 4


Pair = tuple[dict[str, Array], dict[str, Array]]
"""The same inputs for the network and for its original, which may take larger photos."""


class Samples:
    """Encoded samples of a data set.

    Args:
        store: The samples.
        spec: For the inputs that are pictures.
        indices: Which samples; all by default.
        originals: The same samples as the original takes them; ``store`` by default.
    """

    def __init__(
        self,
        store: SampleStore,
        spec: Spec,
        indices: Sequence[int] | None = None,
        *,
        originals: SampleStore | None = None,
    ) -> None:
        self._store, self._originals = store, store if originals is None else originals
        self._size = None if originals is None else photo_size(spec.inputs)
        self.indices = list(range(len(store)) if indices is None else indices)
        self._cache: dict[int, dict[str, Array]] = {}
        self._room = _IN_MEMORY
        self._pictures = {tensor.name: tensor for tensor in spec.inputs if _is_picture(tensor)}

    def __len__(self) -> int:
        return len(self.indices)

    def feeds(self, place: int) -> dict[str, Array]:
        """The encoded inputs of one sample as the original takes it, a batch of 1."""
        index = self.indices[place]
        if index in self._cache:
            return self._cache[index]
        found = self._originals[index].feeds
        size = sum(array.nbytes for array in found.values())
        if size <= self._room:
            self._room -= size
            self._cache[index] = found
        return found

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """All samples as they are, in order, as the network takes them."""
        for group in batches((self._store[index] for index in self.indices), size):
            yield stack(sample.feeds for sample in group)

    def pairs(self, size: int) -> Iterator[Pair]:
        """All samples as they are, in order, in batches."""
        if self._originals is self._store:
            yield from ((feeds, feeds) for feeds in self.batches(size))
            return
        wanted = batches((self._originals[index] for index in self.indices), size)
        for feeds, group in zip(self.batches(size), wanted, strict=True):
            yield feeds, stack(sample.feeds for sample in group)

    def endless(self, size: int, seed: int = 0) -> Iterator[Pair]:
        """Random batches for ever: each sample once in every round, pictures changed anew.

        Args:
            size: Samples a batch.
            seed: The same batches for the same seed.
        """
        random = np.random.default_rng(seed)
        queue: list[int] = []
        while True:
            while len(queue) < size:
                queue += random.permutation(len(self)).tolist()
            chosen, queue = queue[:size], queue[size:]
            group = [self._changed(self.feeds(place), random) for place in chosen]
            same = [feeds for feeds in group if _shapes(feeds) == _shapes(group[0])]
            wanted = self._mixed(stack(same), random)
            yield (wanted if self._size is None else self._shrunk(wanted, self._size)), wanted

    def _changed(self, feeds: dict[str, Array], random: np.random.Generator) -> dict[str, Array]:
        return {
            name: changed_picture(array, self._pictures[name], random) if name in self._pictures else array
            for name, array in feeds.items()
        }

    def _shrunk(self, feeds: dict[str, Array], size: Size) -> dict[str, Array]:
        def resized(name: str, array: Array) -> Array:
            tensor = self._pictures.get(name)
            if tensor is None:
                return array
            return np.concatenate([shrunk_picture(picture[None], tensor, size) for picture in array])

        return {name: resized(name, array) for name, array in feeds.items()}

    def _mixed(self, feeds: dict[str, Array], random: np.random.Generator) -> dict[str, Array]:
        """Lay another picture of the batch over some (mixup: Zhang et al., 2018, arXiv:1710.09412)."""
        count = len(next(iter(feeds.values())))
        share = np.where(random.random(count) < _MIXED, random.uniform(0.1, 0.5, count), 0.0).astype(np.float32)
        other = random.permutation(count)

        def blend(name: str, array: Array) -> Array:
            if name not in self._pictures:
                return array
            part = share.reshape(-1, *([1] * (array.ndim - 1)))
            return np.asarray((1 - part) * array + part * array[other], array.dtype)

        return {name: blend(name, array) for name, array in feeds.items()}


def _shapes(feeds: dict[str, Array]) -> list[tuple[int, ...]]:
    return [array.shape for array in feeds.values()]


def _is_picture(tensor: TensorSpec) -> bool:
    if tensor.layout is None or tensor.dtype != "float32":
        return False
    channels = tensor.shape[3 if tensor.layout == "NHWC" else 1]
    return channels is not None and channels <= _MOST_CHANNELS


def changed_picture(array: Array, tensor: TensorSpec, random: np.random.Generator) -> Array:
    """Cut a random part out, enlarge it to the whole, mirror it at times, change contrast and brightness.

    Args:
        array: ``[1, h, w, c]`` or ``[1, c, h, w]`` as ``tensor`` says, float32, normalized.
        tensor: The input.
        random: Source of the choices.

    Returns:
        An array of the same shape.
    """
    picture = _channels_last(array, tensor)
    height, width = picture.shape[:2]
    warped = cv2.warpAffine(
        picture,
        _placement(height, width, random),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    ).reshape(picture.shape)
    spread = float(picture.std())
    gain, shift = random.normal(1.0, _GAIN), random.normal(0.0, _SHIFT) * spread
    lit = (warped * gain + shift).clip(picture.min(), picture.max()).astype(np.float32)
    return _as_tensor(lit, tensor)


def shrunk_picture(array: Array, tensor: TensorSpec, size: Size) -> Array:
    """Resize a picture; every pixel is the mean of those that it covers.

    Args:
        array: ``[1, h, w, c]`` or ``[1, c, h, w]`` as ``tensor`` says, float32.
        tensor: The input.
        size: Height and width.
    """
    picture = _channels_last(array, tensor)
    small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return _as_tensor(small.reshape(*size, picture.shape[2]), tensor)


def _channels_last(array: Array, tensor: TensorSpec) -> Array:
    return np.ascontiguousarray(array[0].transpose(1, 2, 0) if tensor.layout == "NCHW" else array[0])


def _as_tensor(picture: Array, tensor: TensorSpec) -> Array:
    return np.ascontiguousarray(picture.transpose(2, 0, 1) if tensor.layout == "NCHW" else picture)[None]


def _placement(height: int, width: int, random: np.random.Generator) -> Any:
    """Affine map from the new picture's pixels to the old one's: a random crop, perhaps mirrored."""
    area, ratio = random.uniform(_LEAST_AREA, 1.0), np.exp(random.uniform(-0.25, 0.25))
    x_scale, y_scale = min(1.0, np.sqrt(area * ratio)), min(1.0, np.sqrt(area / ratio))
    left, top = random.uniform(0, width * (1 - x_scale)), random.uniform(0, height * (1 - y_scale))
    if random.random() < 0.5:
        return np.array([[-x_scale, 0, left + x_scale * (width - 1)], [0, y_scale, top]])
    return np.array([[x_scale, 0, left], [0, y_scale, top]])
