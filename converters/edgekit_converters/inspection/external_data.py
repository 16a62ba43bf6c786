"""Check the files that hold an ONNX model's external data, without reading them."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from edgekit.errors import ModelRefused


def check_external_data(model: Path, tensor: Any, needed: int) -> tuple[str, int]:
    """Check that a tensor's external data is a long enough regular file in the model's folder.

    Args:
        model: The `.onnx` file.
        tensor: An ``onnx.TensorProto`` whose data is external.
        needed: Bytes that its shape and dtype ask for.

    Returns:
        Location relative to the model, and the size of that file in bytes.

    Raises:
        ModelRefused: The location leaves the folder, is a link or no regular file, or is too short.
    """
    entries = {item.key: item.value for item in tensor.external_data}
    location = entries.get("location", "")
    offset, length = int(entries.get("offset", 0)), int(entries.get("length", needed))
    fault, size = _fault(model, location, offset, length, needed)
    if fault:
        raise ModelRefused(
            f"{model}: external data {location!r} of tensor {tensor.name!r} {fault}",
            expected="a regular file in the model's folder, as long as its tensors",
            remedy="keep the data file next to the .onnx file, or save the model as one file",
        )
    return location, size


def _fault(model: Path, location: str, offset: int, length: int, needed: int) -> tuple[str | None, int]:
    """Return what is wrong, or ``None``, and the file's size."""
    parts = PurePosixPath(location).parts
    if not parts or ".." in parts or parts[0] == "/" or "\\" in location or "\0" in location:
        return "points outside the model's folder", 0
    folder = model.parent.resolve()
    target = folder.joinpath(*parts)
    try:
        found = os.lstat(target)
    except OSError as error:
        return f"cannot be read ({error.strerror})", 0
    if not stat.S_ISREG(found.st_mode) or target.parent.resolve() != target.parent:
        return "is a link or no regular file", 0
    if offset < 0 or length < needed or found.st_size < offset + length:
        return f"is too short ({found.st_size:,} bytes, {offset + max(length, needed):,} needed)", 0
    return None, found.st_size
