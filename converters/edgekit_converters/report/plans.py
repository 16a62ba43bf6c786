"""Plans that `edgekit plan` wrote: read without trust in what they say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle import MANIFEST
from edgekit.errors import InputRefused
from edgekit_converters.plan.store import CHOSEN, PLAN, SCHEMA

_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Variant:
    """One way to convert and run the model.

    Attributes:
        name: Of the variant.
        format: ``tflite`` or ``onnx``.
        recipe: Named precision.
        engine: Engine that ran it; ``None`` where it was not run.
        threads: Threads of the engine.
        resolution: Height and width of the input; ``None`` for the model's own.
        bundle: Folder relative to the plan; ``None`` where it could not be made.
        latency_ms: Median milliseconds; ``None`` where it was not measured.
        size_bytes: Size of the artifact.
        memory_bytes: Peak resident memory.
        agreement: How often it answers as the original does, 0..1.
        metric: Name, value and the original's value.
        drop_points: Points of the metric, or of agreement, that it loses.
        fits: Whether it was measured and keeps the budget.
        misses: Whether it is known not to keep the budget.
        front: Whether it is on the Pareto front.
        why: Why it won or lost, in a sentence: what it does not keep, or why it could not be made or measured.
        failed: Whether it could not be made or measured.
    """

    name: str
    format: str
    recipe: str
    engine: str | None
    threads: int | None
    resolution: tuple[int, int] | None
    bundle: str | None
    latency_ms: float | None
    size_bytes: int | None
    memory_bytes: int | None
    agreement: float | None
    metric: tuple[str, float, float | None] | None
    drop_points: float | None
    fits: bool
    misses: bool
    front: bool
    why: str
    failed: bool

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Variant:
        """Read the JSON form."""
        metric, resolution = raw.get("metric"), raw.get("resolution")
        return cls(
            name=str(raw["name"]),
            format=str(raw.get("format", "")),
            recipe=str(raw.get("recipe", "")),
            engine=raw.get("engine"),
            threads=raw.get("threads"),
            resolution=None if resolution is None else (int(resolution[0]), int(resolution[1])),
            bundle=raw.get("bundle"),
            latency_ms=raw.get("latency_ms"),
            size_bytes=raw.get("size_bytes"),
            memory_bytes=raw.get("memory_bytes"),
            agreement=raw.get("agreement"),
            metric=None if metric is None else (str(metric["name"]), metric["value"], metric.get("original")),
            drop_points=raw.get("drop_points"),
            fits=bool(raw.get("fits")),
            misses=bool(raw.get("misses")),
            front=bool(raw.get("front")),
            why=str(raw.get("why") or raw.get("error") or ""),
            failed=raw.get("error") is not None,
        )


@dataclass(frozen=True)
class Plan:
    """What `edgekit plan` found.

    Attributes:
        folder: Where it lies.
        model: The source model.
        name: Of the model.
        budget: Limit -> value, only those given.
        device: Board on which it was measured; ``None`` for the machine that planned.
        chosen: Name of the best variant that fits; ``None`` when none does.
        baseline: Name of the int8 variant that a person would have picked.
        finished: Whether everything was tried.
        variants: All that were looked at.
    """

    folder: Path
    model: str
    name: str
    budget: Mapping[str, float]
    device: str | None
    chosen: str | None
    baseline: str | None
    finished: bool
    variants: tuple[Variant, ...]

    def variant(self, name: str | None) -> Variant | None:
        """The variant of a name; ``None`` for none."""
        return next((variant for variant in self.variants if variant.name == name), None)

    @property
    def chosen_bundle(self) -> Path | None:
        """Folder of the chosen variant, where it is at hand. Raises InputRefused when it is outside of the plan's.

        A finished plan has a copy for people, judged by the plan's budget.
        """
        chosen = self.variant(self.chosen)
        if chosen is None or not chosen.bundle:
            return None
        if self.finished and (self.folder / CHOSEN / MANIFEST).is_file():
            return self.folder / CHOSEN
        folder = (self.folder / chosen.bundle).resolve()
        if not folder.is_relative_to(self.folder.resolve()):
            raise InputRefused(f"{self.folder / PLAN} names the bundle {chosen.bundle!r}", expected="one inside it")
        return folder if (folder / MANIFEST).is_file() else None


def is_plan(folder: Path) -> bool:
    """Whether a folder is a plan's."""
    return (folder / PLAN).is_file()


def read_plan(folder: Path) -> Plan:
    """Read a plan. Raises InputRefused for a newer schema or a damaged file."""
    path = folder / PLAN
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputRefused(f"{path} has {path.stat().st_size} bytes", expected=f"at most {_MAX_BYTES}")
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            raise InputRefused(f"{path} has schema {raw['schema']!r}", expected=f"{SCHEMA}")
        return Plan(
            folder=folder,
            model=Path(str(raw["model"])).name,
            name=str(raw["name"]),
            budget=dict(raw.get("budget") or {}),
            device=raw.get("device"),
            chosen=raw.get("chosen"),
            baseline=raw.get("baseline"),
            finished=bool(raw.get("finished", True)),
            variants=tuple(Variant.from_dict(item) for item in raw["variants"]),
        )
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputRefused(f"{path} is damaged: {type(error).__name__}: {error}") from error
