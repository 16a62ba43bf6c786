"""Small networks to prune, and photos to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.api import build_request
from edgekit_converters.compress.compressor import compress
from edgekit_converters.compress.record import Record
from edgekit_converters.compress.request import CompressRequest

TINY = f"{Path(__file__).parents[2] / 'fixtures' / 'tiny.py'}:build"


def request(photos: Path, output: Path, **changed: Any) -> CompressRequest:
    """A compression of the tiny network that learns for a few steps."""
    options: dict[str, Any] = {"goal": "macs", "target": 0.3, "steps": 12, "rounds": 1, "round_to": 2}
    options |= {"own_resolution": "resolutions" not in changed}
    conversion: dict[str, Any] = {
        "preset": "unit",
        "input_shapes": ["1,3,32,32"],
        "calibration": photos,
        "max_drop": 20.0,
    }
    conversion |= {key: changed.pop(key) for key in ("max_drop",) if key in changed}
    asked = build_request(changed.pop("model", TINY), output, to=("tflite",), recipes=("int8",), **conversion)
    return CompressRequest(asked, **{**options, **changed})


@pytest.fixture(scope="session")
def small(colour_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """The tiny network at three tenths of its MACs, and what was done to it. Not to be changed by a test."""
    output = tmp_path_factory.mktemp("small") / "small.pt2"
    record, _ = compress(request(colour_photos[0].parent, output))
    return output, record
