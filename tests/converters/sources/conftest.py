"""What the tests of opening trained models share."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgekit_converters.sources import InputHint, Source, SourceOptions, open_source

ARCHITECTURES = Path(__file__).parents[2] / "fixtures"
# Three ways in which a copy goes wrong.
CUTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
}


@pytest.fixture(params=list(CUTS))
def cut_short(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """Cut a file short and return the pattern that the refusal must match: its name and its size."""

    def cut(path: Path) -> str:
        path.write_bytes(CUTS[request.param](path.read_bytes()))
        return rf"{re.escape(path.name)} \({path.stat().st_size:,} bytes\) cannot be read"

    return cut


@pytest.fixture(scope="session")
def architectures() -> Path:
    """Folder of the PyTorch architectures that belong to realpack's state dicts."""
    return ARCHITECTURES


@pytest.fixture(scope="session")
def architecture() -> Callable[[str], ModuleType]:
    """Import one of them."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"fixture_{name}", ARCHITECTURES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras, imported as the converters import it."""
    from edgekit_converters.sources._quiet import import_keras

    return import_keras()


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, imported as the converters import it."""
    from edgekit_converters.sources._quiet import import_torch

    return import_torch()


@pytest.fixture(scope="session")
def torch_mobilenet(realpack: Path) -> Iterator[Source]:
    """MobileNetV2 in PyTorch with its real weights."""
    options = SourceOptions(
        weights=realpack / "models/torch/mobilenet_v2-b0353104.pth", inputs=(InputHint((1, 3, 224, 224)),)
    )
    with open_source(f"{ARCHITECTURES / 'mobilenet_v2.py'}:build", options) as source:
        yield source


@pytest.fixture(scope="session")
def keras_mobilenet(realpack: Path) -> Iterator[Source]:
    """The same network in Keras."""
    with open_source(realpack / "models/keras/mobilenetv2_port.keras") as source:
        yield source


@pytest.fixture(scope="session")
def photos(realpack: Path) -> Callable[[slice], tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Evaluation photos as the network wants them, NHWC, and their classes."""
    folder = realpack / "imagenet_like"
    with (folder / "eval.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def load(which: slice) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        chosen = rows[which]
        pictures = np.stack([_preprocess(folder / row["file"]) for row in chosen])
        return pictures, np.array([int(row["label"]) for row in chosen])

    return load


def _preprocess(path: Path) -> NDArray[np.float32]:
    with Image.open(path) as picture:
        photo = picture.convert("RGB")
    factor = 256 / min(photo.size)
    photo = photo.resize((round(photo.width * factor), round(photo.height * factor)), Image.Resampling.BILINEAR)
    left, top = (photo.width - 224) // 2, (photo.height - 224) // 2
    pixels = np.asarray(photo.crop((left, top, left + 224, top + 224)), np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    return ((pixels - mean) / std).astype(np.float32, copy=False)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of the test's own, so that what a file would write in it is seen."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
