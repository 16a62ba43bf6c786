"""Reading photos as people have them: rotated by EXIF, gray, with alpha, 16-bit, CMYK, truncated or not a photo.

What comes out is what Pillow's ``ImageOps.exif_transpose(image).convert("RGB")`` gives, decoded by OpenCV:

- EXIF orientation is applied (JPEG, PNG, WebP, TIFF);
- gray and palette become RGB; alpha is dropped, not blended (a transparent GIF pixel takes the background colour);
- 16 bits become 8 by keeping the high byte (``value // 256``), as Pillow and libpng do for RGB. Pillow clips
  16-bit *gray* to 255 instead, which is of no use to a model: here gray is scaled like colour;
- CMYK JPEGs, Adobe's inverted ones too, are converted as Pillow does, within 1 of 255;
- of an animation, the first frame.

A JPEG can also be decoded at a half, a quarter or an eighth of its size (libjpeg's scaled inverse DCT), at a fraction
of the time; `edgekit.preprocess.reduction` says when that leaves an input tensor the same within a stated error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataRefused
from edgekit.image_headers import Header, HeaderError, kind_of, read_header

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""File name endings, in lower case, that folders are searched for."""

MAX_PIXELS = 178_956_970
"""Largest picture decoded, in pixels: 512 MiB as RGB, the limit at which Pillow too refuses."""

MAX_FILE_BYTES = 1 << 30

Reduction = Literal[1, 2, 4, 8]
"""What a JPEG's height and width are divided by, rounded up, while it is decoded; 1: not reduced."""

Reducer = Callable[[int, int], Reduction]
"""Chooses the reduction from the height and width that a JPEG's header gives, before any EXIF rotation."""

_ASSOCIATED_ALPHA = 1
_SILENT = 0
_UPRIGHT_WEBP = (4, 13)


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS, reducer: Reducer | None = None) -> NDArray[np.uint8]:
    """Read a photo.

    Args:
        path: A JPEG, PNG, WebP, BMP, GIF or TIFF file, whatever its name.
        max_pixels: Refuse a picture whose header promises more, reduced or not.
        reducer: Asked for each JPEG by how much to reduce it; ``None`` decodes all of it. Other kinds of picture are
            never reduced.

    Returns:
        ``uint8`` array of shape ``(height, width, 3)``, RGB, upright; of a JPEG that was reduced by ``n``,
        ``(ceil(height / n), ceil(width / n), 3)``.

    Raises:
        DataRefused: Missing, not a picture, truncated, damaged or too large; names the file and the cause.
    """
    path = Path(path)
    return decode_image(_file_bytes(path), str(path), max_pixels=max_pixels, reducer=reducer)


def decode_image(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, reducer: Reducer | None = None
) -> NDArray[np.uint8]:
    """Decode a photo that is in memory.

    Args:
        data: The whole file.
        name: What to call it in messages.
        max_pixels: Refuse a picture whose header promises more, reduced or not.
        reducer: As for `read_image`.

    Returns:
        As `read_image`.

    Raises:
        DataRefused: Not a picture, truncated, damaged or too large; names the cause.
    """
    try:
        header = read_header(data)
    except HeaderError as error:
        raise _refused(name, f"is {error}", len(data)) from error
    pixels = header.width * header.height
    if pixels <= 0:
        raise _refused(name, f"is a {header.kind} whose header says {header.width} x {header.height}", len(data))
    if pixels > max_pixels:
        raise DataRefused(
            f"{name} would decode to {header.width} x {header.height} = {pixels} pixels",
            expected=f"at most {max_pixels} pixels",
            remedy="make it smaller first, if it is a photo at all and no decompression bomb",
        )
    if header.kind == "WebP":
        _check_webp(name)
    by: Reduction = reducer(header.height, header.width) if reducer is not None and header.kind == "JPEG" else 1
    image = _decode(data, header, by)
    if image is None:
        raise _refused(name, f"cannot be decoded: a damaged or truncated {header.kind}, or an unusual kind", len(data))
    return image


def _file_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
            if not start:
                raise _refused(path, "is empty", 0)
            if kind_of(start) is None:
                raise _refused(path, "is not a picture", path.stat().st_size)
            if path.stat().st_size > MAX_FILE_BYTES:
                raise _refused(path, "is too large for a photo", path.stat().st_size)
            return start + stream.read()
    except OSError as error:
        raise DataRefused(f"{path} cannot be read: {error.strerror}", expected="a readable picture file") from error


def _check_webp(name: str) -> None:
    """Refuse WebP photos where OpenCV would leave them unrotated: NumPy 1 goes with no newer OpenCV than 4.11."""
    import cv2

    version = str(cv2.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < _UPRIGHT_WEBP:
        raise DataRefused(
            f"{name} is a WebP photo, which OpenCV {version} does not turn upright",
            expected="OpenCV 4.13 or newer",
            remedy="pip install -U opencv-python-headless, or save it as JPEG",
        )


def _refused(name: str | Path, what: str, size: int) -> DataRefused:
    return DataRefused(
        f"{name} {what} ({size} bytes)",
        expected="a whole JPEG, PNG, WebP, BMP, GIF or TIFF file",
        remedy="copy it again or leave it out",
    )


def _decode(data: bytes, header: Header, by: Reduction) -> NDArray[np.uint8] | None:
    """Decode to upright RGB, or ``None`` where OpenCV cannot."""
    import cv2

    colour = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[by]
    encoded = np.frombuffer(_unmultiplied(data, header), np.uint8)
    with _quiet_opencv():
        try:
            image = cv2.imdecode(encoded, colour | cv2.IMREAD_ANYDEPTH)
        except cv2.error:
            return None
    if image is None or image.ndim != 3 or image.shape[2] != 3:
        return None
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        return None
    rgb: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return rgb


def _unmultiplied(data: bytes, header: Header) -> bytes | bytearray:
    """Mark a TIFF's alpha as already multiplied in, so that libtiff leaves the colours as they are stored."""
    if header.extra_samples is None:
        return data
    at, order = header.extra_samples
    changed = bytearray(data)
    struct.pack_into(order + "H", changed, at, _ASSOCIATED_ALPHA)
    return changed


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing what the caller turns into an error of its own."""
    import cv2

    # The functions moved between OpenCV 4.12 and 4.13.
    control = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = control.getLogLevel()
    control.setLogLevel(_SILENT)
    try:
        yield
    finally:
        control.setLogLevel(level)
