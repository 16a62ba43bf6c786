"""Small networks to prune, and photos to learn from."""

from __future__ import annotations

import warnings
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
        "input_shapes": ["1,3,32,32"] if changed.get("model", TINY) == TINY else [],
        "calibration": photos,
        "max_drop": 20.0,
    }
    conversion |= {key: changed.pop(key) for key in ("max_drop",) if key in changed}
    asked = build_request(changed.pop("model", TINY), output, to=("tflite",), recipes=("int8",), **conversion)
    return CompressRequest(asked, **{**options, **changed})


@pytest.fixture(scope="session")
def tiny_keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network with its weights as a Keras model: a ``.keras`` file, input ``photo``, output ``colour``."""
    from edgekit_converters.sources import InputHint, SourceOptions, open_source
    from edgekit_converters.sources._quiet import import_keras

    layers, path = import_keras().layers, tmp_path_factory.mktemp("keras") / "tiny.keras"
    made = import_keras().Sequential(
        [
            import_keras().Input((32, 32, 3), name="photo"),
            layers.ZeroPadding2D(1),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
            layers.ZeroPadding2D(1),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="colour"),
        ]
    )
    with open_source(TINY, SourceOptions(inputs=(InputHint((1, 3, 32, 32)),))) as source:
        weights = [weight.detach().numpy() for weight in source.exportable.parameters()]  # type: ignore[attr-defined]
    orders: dict[int, tuple[int, ...]] = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    made.set_weights([weight.transpose(orders[weight.ndim]) for weight in weights])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.save(path)
    return path


@pytest.fixture(scope="session")
def small(colour_photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """The tiny network at three tenths of its MACs, and what was done to it. Not to be changed by a test."""
    output = tmp_path_factory.mktemp("small") / "small.pt2"
    record, _ = compress(request(colour_photos[0].parent, output))
    return output, record
