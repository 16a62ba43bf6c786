"""What a model says of every place of its input, brought back to the photo: letterbox, stretch and crop undone.

A plane covers the whole input, whatever its own resolution; places are pixel centres (half-pixel convention), as in
``torch.nn.functional.interpolate(align_corners=False)`` and ``cv2.resize``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.preprocess import Placement, placement
from edgekit.spec import Preprocess, TensorSpec
from edgekit.tasks.picture import PictureSize


@dataclass(frozen=True)
class PhotoGrid:
    """The pixels of a photo, and where each lies in the model's input.

    Attributes:
        photo: Height and width of the photo, pixels.
        tensor: Height and width of the input, pixels.
        placement: Of the photo in the input.
    """

    photo: tuple[int, int]
    tensor: tuple[int, int]
    placement: Placement

    @classmethod
    def of(cls, size: PictureSize | None, tensor: TensorSpec, how: Preprocess) -> PhotoGrid:
        """Return the grid of a photo; without its size, that of the input itself."""
        target = tensor.height_width
        if size is None:
            return cls(target, target, Placement((1.0, 1.0), (0, 0), target))
        return cls((size.height, size.width), target, placement((size.height, size.width), tensor, how))

    @property
    def whole(self) -> bool:
        """Whether photo and input show the same: nothing was cropped or padded."""
        return self.placement.size == self.tensor

    @property
    def seen(self) -> tuple[slice, slice]:
        """Rows and columns of the photo that the model saw; the rest was cropped."""
        rows, columns = (_inside(*side) for side in zip(*self._sides, strict=True))
        return rows, columns

    def bilinear(self, plane: Array, region: tuple[int, int, int, int] | None = None) -> NDArray[np.float32]:
        """Resample a plane at the photo's pixels.

        Args:
            plane: ``(rows, columns)`` float32.
            region: Left, top, right, bottom in photo pixels, right and bottom excluded; ``None`` is the whole photo.

        Returns:
            ``(height, width)`` of the photo or region; outside the input the edge goes on.
        """
        import cv2

        plane = np.ascontiguousarray(plane, np.float32)
        height, width = self.photo
        if region is None and self.whole:
            if plane.shape == self.photo:
                return plane
            stretched: NDArray[np.float32] = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
            return stretched
        left, top, right, bottom = region or (0, 0, width, height)
        (down, row), (across, column) = self._affine(plane.shape)
        matrix = np.array([[across, 0, column + across * left], [0, down, row + down * top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (right - left, bottom - top)
        warped: NDArray[np.float32] = cv2.warpAffine(plane, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return warped

    def nearest(self, plane: Array) -> Array:
        """Pick the nearest place of a plane ``(rows, columns)`` for each pixel of the photo."""
        if self.whole and plane.shape == self.photo:
            return plane
        rows, columns = (
            np.clip(np.rint(factor * np.arange(count) + start), 0, have - 1).astype(np.intp)
            for (factor, start), count, have in zip(self._affine(plane.shape), self.photo, plane.shape, strict=True)
        )
        picked: Array = plane[rows[:, None], columns[None, :]]
        return picked

    def points(self, places: Array) -> Array:
        """Turn places of the input into places of the photo.

        Args:
            places: ``(…, 2)`` x and y in input pixels, the corner of the first pixel being 0.

        Returns:
            The same shape in photo pixels.
        """
        offset = np.array(self.placement.offset[::-1], np.float64)
        scale = np.array(self.placement.scale[::-1], np.float64)
        moved: Array = (np.asarray(places, np.float64) - offset) / scale
        return moved

    @property
    def _sides(self) -> tuple[tuple[int, int], tuple[int, int], tuple[float, float], tuple[int, int]]:
        return self.photo, self.tensor, self.placement.scale, self.placement.offset

    def _affine(self, shape: tuple[int, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
        """Factor and start of ``place in the plane = factor * pixel of the photo + start``, vertical and horizontal."""
        vertical, horizontal = (
            (scale * have / whole, (0.5 * scale + offset) * have / whole - 0.5)
            for scale, offset, have, whole in zip(
                self.placement.scale, self.placement.offset, shape, self.tensor, strict=True
            )
        )
        return vertical, horizontal


def planes_last(shape: Sequence[int | None], tensor: TensorSpec) -> bool:
    """Whether planes are counted by the last of three axes: where rows and columns have the input's proportions.

    Args:
        shape: ``(planes, rows, columns)`` or ``(rows, columns, planes)``.
        tensor: The input.

    Returns:
        Where the proportions leave it open, whether the last is smaller than the first.
    """
    height, width = tensor.height_width
    first, middle, last = shape
    if first and middle and last:
        fits_first, fits_last = middle * width == last * height, first * width == middle * height
        if fits_first != fits_last:
            return fits_last
    return (last or 0) < (first or 0)


def _inside(photo: int, tensor: int, scale: float, offset: int) -> slice:
    places = (np.arange(photo) + 0.5) * scale + offset
    inside = np.flatnonzero((places >= 0) & (places < tensor))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def without_nan(name: str, array: Array) -> Array:
    """Return an output as it is. Raises DataRefused when it holds NaN or nothing at all."""
    if array.size == 0:
        raise DataRefused(f"output {name!r} is empty, shape {list(array.shape)}", expected="a number for each place")
    if array.dtype.kind == "f" and np.isnan(array.min()):
        raise DataRefused(
            f"output {name!r} holds NaN",
            expected="finite numbers",
            remedy="compare the artifact with the original: edgekit compare",
        )
    return array
