"""What starting on a board costs: no training framework, and only the engine that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit_runtimes.emulated.root import BoardRoot
from tests.benchmarks.arm.startup import traced

pytestmark = pytest.mark.xdist_group("arm")


def test_help_needs_nothing(pi5: BoardRoot) -> None:
    start = traced(pi5, "--help")
    assert (start.code, start.errors) == (0, "")
    assert start.packages == ("click", "edgekit")
    assert any(Path(file).name == "cli.py" for file in start.files)


def test_a_run_needs_one_engine_and_no_framework(pi5: BoardRoot, person_bundle: Bundle, photos: list[Path]) -> None:
    start = traced(pi5, "run", str(person_bundle.path), str(photos[0]), "--recipe", "int8")
    assert start.code == 0
    assert re.fullmatch(r"model\.int8\.tflite on litert [\d.]+\n", start.errors)  # libraries say nothing
    assert not start.frameworks
    assert {"ai_edge_litert", "cv2"} <= set(start.packages)
    assert "onnxruntime" not in start.packages
    assert str(photos[0]) in start.files
