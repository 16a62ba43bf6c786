"""What `edgekit plan` measured of MobileNetV2 on a machine with two cores: 58 variants of two decades of latency."""

from __future__ import annotations

import json
from pathlib import Path

from edgekit_converters.plan.budget import Budget
from edgekit_converters.plan.choose import choose
from edgekit_converters.plan.store import PlanFile
from edgekit_converters.plan.variants import Piece, Variant

BUDGET = Budget(latency_ms=20, size_mb=5, memory_mb=150, drop_points=1)


def crowded_plan(budget: Budget = BUDGET) -> PlanFile:
    """The plan under a budget."""
    rows = json.loads(Path(__file__).with_suffix(".json").read_text())
    variants = tuple(_variant(name, latency, size, accuracy) for name, latency, size, accuracy in rows)
    return PlanFile(
        model="mobilenetv2.keras", name="mobilenetv2", budget=budget, device=None, machine={},
        baseline="onnx-int8/onnxruntime/2", finished=True, variants=variants, choice=choose(variants, budget),
    )  # fmt: skip


def _variant(name: str, latency: float | None, size: int, accuracy: float) -> Variant:
    artifact, engine, threads = name.split("/")
    kind, _, recipe = artifact.partition("-")
    recipe, small, _ = recipe.partition("-208x208")
    return Variant(
        Piece(kind, recipe, (208, 208) if small else None),
        engine,
        int(threads),
        bundle=f"variants/{artifact}",
        size_bytes=size,
        latency_ms=latency,
        memory_bytes=60_000_000,
        agreement=accuracy,
        metric={"name": "accuracy", "value": accuracy, "original": 0.85},
        drop_points=max(0.0, 100 * (0.85 - accuracy)),
    )
