"""``NAME.compression.json``: what was done to a model, and how close to the original it was after each step."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.parity import Parity
from edgekit_converters.input_size import Size

SCHEMA = 1


@dataclass(frozen=True)
class Step:
    """A step, and the parity that it left.

    Attributes:
        kind: ``resize``, ``prune``, ``recover`` or ``train-quantized``.
        macs: Multiply-accumulates for one input.
        parameters: Weights.
        agreement: Share of held-out samples answered as the original does; ``None`` where nothing is decided.
        relative_l2: Of the worst output on held-out samples; ``None`` where it is not finite.
        metric: The user's metric, where labels are known.
        seconds: The step took, with its measurement.
        steps: Training steps in it.
        rate: Largest learning rate of a recovery.
        loss: Distance to the original, as it is learned, on samples kept aside from training; ``None`` for training by
            the user's function.
        removed: Layer that names a set -> channels removed.
    """

    kind: str
    macs: int
    parameters: int
    agreement: float | None
    relative_l2: float | None
    metric: float | None
    seconds: float
    steps: int = 0
    rate: float | None = None
    loss: float | None = None
    removed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A compression.

    Attributes:
        original: Name of the model it started from.
        sha256: Of the original's file; ``None`` for a folder or a live object.
        macs: Before and after.
        parameters: Before and after.
        photo: Height and width of the photos before and after; ``None`` where they stayed.
        goal: What was asked for, in words.
        reached: Whether it was reached.
        steps: What was done.
        samples: Unlabelled samples learned from.
        held_out: Samples that parity was measured on.
        origin: Where these come from.
        metric: Name of the user's metric and its value for the original and the result; ``None`` without labels.
        drop_allowed: Points that might be lost.
        missed: Why the result is not good enough; ``None`` when it is.
        interrupted: Whether Ctrl-C ended the training.
        notes: For the user.
        tools: Versions.
    """

    original: str
    sha256: str | None
    macs: tuple[int, int]
    parameters: tuple[int, int]
    photo: tuple[Size, Size] | None
    goal: str
    reached: bool
    steps: tuple[Step, ...]
    samples: int
    held_out: int
    origin: str
    metric: dict[str, Any] | None
    drop_allowed: float
    missed: str | None
    interrupted: bool
    notes: tuple[str, ...]
    tools: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"schema": SCHEMA, **asdict(self)}

    def write(self, path: Path) -> None:
        """Write the JSON form in one step."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def record_path(model: Path) -> Path:
    """Where the record of a compressed model lies: beside it, under its name."""
    return model.with_name(f"{model.stem}.compression.json")


def in_millions(count: int) -> str:
    """For people: ``300.8``, or ``0.0472`` of a network that is very small."""
    return f"{count / 1e6:,.1f}" if count >= 1e7 else f"{count / 1e6:.3g}"


def measured_step(kind: str, sizes: tuple[int, int], parity: Parity, seconds: float, **more: Any) -> Step:
    """A step with its parity."""
    worst = parity.worst.relative_l2
    return Step(
        kind=kind,
        macs=sizes[0],
        parameters=sizes[1],
        agreement=None if parity.agreement is None else round(parity.agreement.value, 4),
        relative_l2=round(worst, 5) if math.isfinite(worst) else None,
        metric=None if parity.metric is None else round(parity.metric.value, 4),
        seconds=round(seconds, 1),
        **more,
    )
