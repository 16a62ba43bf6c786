"""A tiny model, and one that is quantized."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit_runtimes.doctor import models
from tests.runtimes.engines.quantized import quantized


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(models.ONNX)
    return path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A float model and its int8 form."""
    return quantized(tmp_path_factory.mktemp("small"))
