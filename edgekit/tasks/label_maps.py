"""Label maps and mattes as files: the truth of a segmentation, ``NAME_mask.png`` beside the photo ``NAME.jpg``."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.images import MAX_PIXELS

MASK_ENDING = "_mask"
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
"""Kinds of files that keep every pixel's number; JPEG does not."""

_EXPECTED = "an 8-bit file with a class number for each pixel (PNG, BMP or TIFF, gray or with a palette)"


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A map of numbers 0..255, read when it is needed.

    Attributes:
        where: For messages.
        path: The file; ``None`` for a map in memory.
        array: The map in memory, ``(height, width)`` uint8.
    """

    where: str
    path: Path | None = None
    array: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, raw: Any, where: str) -> LabelMap:
        """Wrap a path or an array. Raises DataRefused for anything else."""
        if isinstance(raw, (str, Path)):
            if not Path(raw).is_file():
                raise DataRefused(f"{where}: {str(raw)!r} is no file", expected=_EXPECTED)
            return cls(where, Path(raw))
        array = np.asarray(raw)
        if array.ndim != 2 or array.dtype.kind not in "iub" or array.size == 0 or array.min() < 0 or array.max() > 255:
            raise DataRefused(f"{where}: a map of shape {list(array.shape)}, {array.dtype}", expected=_EXPECTED)
        return cls(where, array=array.astype(np.uint8))

    def read(self) -> NDArray[np.uint8]:
        """Return the map, ``(height, width)`` uint8. Raises DataRefused when the file holds no map."""
        return read_label_map(self.path) if self.path is not None else np.asarray(self.array, np.uint8)

    def of_size(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the map of a photo of ``(height, width)``. Raises DataRefused when it has another size."""
        found = self.read()
        if found.shape != shape:
            raise DataRefused(
                f"{self.where}: the map has {found.shape[1]} x {found.shape[0]} pixels",
                expected=f"the photo's {shape[1]} x {shape[0]}",
                remedy="resize the map to the photo with nearest neighbours",
            )
        return found


def mask_beside(picture: Path) -> Path | None:
    """Return ``NAME_mask.png`` (or .bmp, .tif) beside the photo; ``None`` where there is none."""
    candidates = (picture.with_name(picture.stem + MASK_ENDING + suffix) for suffix in MASK_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def is_mask(picture: Path) -> bool:
    """Whether an image of a folder is the mask of a photo."""
    return picture.stem.endswith(MASK_ENDING) and picture.suffix.lower() in MASK_SUFFIXES


def read_label_map(path: Path) -> NDArray[np.uint8]:
    """Read a map of class numbers.

    Of a PNG with a palette, as Pascal VOC has them, the numbers are the palette's indices; where two entries have the
    same color, the first of them.

    Returns:
        ``(height, width)`` uint8.

    Raises:
        DataRefused: It cannot be read, has colors or more than 8 bits.
    """
    import cv2

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataRefused(f"{path}: {error.strerror}", expected=_EXPECTED) from error
    _bounded(path, data)
    palette = _palette(data)
    flags = cv2.IMREAD_UNCHANGED if palette is None else cv2.IMREAD_COLOR
    found = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if found is None:
        raise DataRefused(f"{path} ({len(data)} bytes) is no picture", expected=_EXPECTED)
    if palette is not None:
        return _indices(found, palette)
    if found.ndim == 3 and found.shape[2] == 3 and not np.ptp(found, axis=2).any():
        found = found[..., 0]  # gray that was stored as color
    if found.ndim != 2 or found.dtype != np.uint8:
        raise DataRefused(f"{path}: pixels of {found.shape[2:] or 1} channels, {found.dtype}", expected=_EXPECTED)
    gray: NDArray[np.uint8] = found
    return gray


def png_text(plane: NDArray[np.uint8]) -> str:
    """Return ``(height, width)`` uint8 as an 8-bit gray PNG file in base64."""
    import cv2

    done, encoded = cv2.imencode(".png", plane)
    if not done:
        raise DataRefused(f"a map of {plane.shape[1]} x {plane.shape[0]} cannot be written as PNG")
    return base64.b64encode(encoded.tobytes()).decode("ascii")


def _bounded(path: Path, data: bytes) -> None:
    """Refuse what would decode to more pixels than any photo may have."""
    from edgekit.image_headers import HeaderError, kind_of, read_header

    kind = kind_of(data)
    try:
        header = read_header(data) if kind else None
    except HeaderError as error:
        raise DataRefused(f"{path} ({len(data)} bytes): {error}", expected=_EXPECTED) from error
    if header is not None and header.width * header.height > MAX_PIXELS:
        raise DataRefused(f"{path}: {header.width} x {header.height} pixels", expected=f"at most {MAX_PIXELS}")


def _palette(data: bytes) -> Array | None:
    """Colors ``(entries, 3)`` RGB of a PNG with a palette; ``None`` for other files."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33 or data[25] != 3:
        return None
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"PLTE":
            return np.frombuffer(data[at + 8 : at + 8 + length - length % 3], np.uint8).reshape(-1, 3)
        at += 12 + length
    return None


def _indices(bgr: Array, palette: Array) -> NDArray[np.uint8]:
    def code(rgb: Array) -> Array:
        parts = rgb.astype(np.int32)
        joined: Array = parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]
        return joined

    known, first = np.unique(code(palette), return_index=True)
    return first[np.searchsorted(known, code(bgr[..., ::-1]))].astype(np.uint8)
