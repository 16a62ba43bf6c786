"""What one gets without a plan: int8 on the engine that is faster on the machine that is measured on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import Bundle, write_manifest
from edgekit_converters.api import build_request, convert
from edgekit_converters.plan import planner
from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.measuring import Target
from edgekit_converters.plan.variants import Piece
from edgekit_converters.progress import Silent, Stages

HERE_MS = {"onnx": 3.0, "tflite": 2.0}
ELSEWHERE_MS = {"onnx": 0.2, "tflite": 0.3}


class Elsewhere:
    """Two artifacts whose manifests have the times of other machines."""

    def __init__(self, *_: Any, planned: planner.Planner, **__: Any) -> None:
        self.planned = planned

    def run(self) -> None:
        for kind in HERE_MS:
            self.planned.made(Piece(kind, "int8"), Bundle(self.folder / f"{kind}.bundle"))

    folder: Path


def test_the_baseline_is_the_faster_one_here_and_measured_once(
    colour_model: Path, colour_photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, photos = tmp_path / "p", str(colour_photos[0].parent)
    one = convert(str(colour_model), tmp_path / "b", to=("onnx",), recipes=("fp32",), preset="unit", evaluation=photos)
    for kind, milliseconds in ELSEWHERE_MS.items():
        path = shutil.copytree(one.path, folder / f"{kind}.bundle")
        (artifact,) = one.artifacts
        write_manifest(path, replace(one.manifest, artifacts=(replace(artifact, latency_ms=milliseconds),)))
    (folder / "plan.json").write_text("{}")
    asked: list[tuple[str, tuple[int, ...]]] = []

    def bench(bundle: Path, _: str, *, threads: tuple[int, ...], **__: Any) -> list[dict[str, Any]]:
        asked.append((bundle.stem, tuple(threads)))
        latency = {"p50": HERE_MS[bundle.stem]}
        machine = {"before": {}, "others_share": 0.0}
        row = {"latency_ms": latency, "memory_bytes": {"peak": 1}, "machine": machine}
        return [{**row, "threads": count} for count in threads or (2,)]

    monkeypatch.setattr(Elsewhere, "folder", folder, raising=False)
    monkeypatch.setattr(planner, "Agenda", Elsewhere)
    monkeypatch.setattr(planner, "bench", bench)
    request = build_request(
        str(colour_model), folder, to=("onnx", "tflite"), recipes=("int8",), preset="unit", calibration=photos
    )
    target = Target(None, ("litert", "onnxruntime"), (1, 2), 0.01)
    job = planner.Job(request, Budget(latency_ms=1000), "latency", target, rounds=1, vary=False)
    assert planner.Planner(job, Stages(Silent())).run().baseline == "tflite-int8/litert/2"
    assert [word for word in asked if not word[1]] == [("onnx", ()), ("tflite", ())]
    asked.clear()
    assert planner.Planner(job, Stages(Silent())).run().baseline == "tflite-int8/litert/2"
    assert not asked
