"""Scale and zero point of an ``.onnx`` file's integer inputs and outputs: metadata, for ONNX has no place for them."""

from __future__ import annotations

import json
import math
from pathlib import Path

from edgekit.engine import ONNX_IO_METADATA
from edgekit.errors import ModelRefused


def parse_io_quantization(path: Path, text: str) -> dict[str, tuple[float, int]]:
    """Read the metadata entry `ONNX_IO_METADATA`.

    Args:
        path: The file, for messages.
        text: JSON: tensor name -> ``{"scale": …, "zero_point": …}``.

    Returns:
        Tensor name -> scale and zero point.

    Raises:
        ModelRefused: The text is damaged.
    """
    try:
        stored = json.loads(text)
        found = {str(name): (float(entry["scale"]), int(entry["zero_point"])) for name, entry in stored.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelRefused(f"{path}: metadata {ONNX_IO_METADATA!r} is damaged: {text[:80]!r}") from error
    if not all(math.isfinite(scale) and scale > 0 for scale, _ in found.values()):
        raise ModelRefused(f"{path}: metadata {ONNX_IO_METADATA!r} has a scale that is not positive")
    return found
