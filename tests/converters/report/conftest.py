"""Manifests with everything that a report shows, without a conversion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edgekit.bundle import Artifact, Manifest
from edgekit.metrics import Metric, Proportion
from edgekit.parity import OutputParity, Parity
from edgekit.spec import Preprocess, Spec, TensorSpec

SPEC = Spec(
    task="image-classification",
    inputs=(TensorSpec("image", (None, 3, 224, 224), layout="NCHW"),),
    outputs=(TensorSpec("scores", (None, 3)),),
    preprocess=Preprocess("short-side", (256, 256), crop=True, scale=1 / 255, mean=(0.5,), std=(0.25,)),
    labels=("cat", "dog", "bird"),
)


def artifact(
    recipe: str, size: int, latency: float, agree: int = 100, right: int | None = None, **more: Any
) -> Artifact:
    """An artifact that agrees on so many of 100 samples, and is right on so many where the truth is known."""
    accuracy: Metric | None = None if right is None else Proportion(right, 100)
    original: Metric | None = None if right is None else Proportion(90, 100)
    output = OutputParity("scores", 1e-6 if recipe == "fp32" else 0.05, 0.999, 0.25)
    parity = Parity(100, (output,), Proportion(agree, 100, "top-1 agreement"), accuracy, original)
    kind = more.pop("format", "tflite")
    return Artifact(f"net.{recipe}.{kind}", kind, recipe, size, (), (), parity, parity, latency, **more)


@pytest.fixture
def manifest() -> Manifest:
    """Three artifacts; int8 is small, fast and as good as the original; fp16 missed its gate."""
    return Manifest(
        name="net",
        spec=SPEC,
        artifacts=(
            artifact("fp32", 4_000_000, 8.0, right=90),
            artifact("fp16", 2_000_000, 8.0, 99, right=89, degraded="relative L2 0.05, allowed 0.01"),
            artifact("int8", 1_000_000, 2.0, 98, right=89, notes=("softmax stays in float",)),
        ),
        source={
            "framework": "keras",
            "file": "net.keras",
            "bytes": 5_000_000,
            "parameters": 1234567,
            "sha256": "ab" * 32,
        },
        calibration={"samples": 50, "fingerprint": "cd" * 32},
        evaluation={"samples": 100, "origin": "evaluation data"},
        tools={"numpy": "2.0"},
        created="2026-01-02T03:04:05+00:00",
        edgekit_version="0.1.0",
    )


@pytest.fixture
def made(manifest: Manifest) -> Callable[..., Manifest]:
    """The manifest with other artifacts."""

    def make(*artifacts: Artifact, **more: Any) -> Manifest:
        return replace(manifest, artifacts=artifacts, **more)

    return make
