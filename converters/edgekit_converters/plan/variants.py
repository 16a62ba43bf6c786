"""Variants: an artifact on an engine with a number of threads, and which of them are promising."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit_converters.input_size import Size, sides_below
from edgekit_converters.plan.budget import Budget

ORDER = ("fp32", "int8", "dynamic-int8", "fp16", "mixed", "int8-int16")
"""Recipes in the order they are tried: each one's size and answers say whether a later one can be of use."""
_SHARES = (7 / 8, 3 / 4, 1 / 2)
_RESCUES = ("mixed", "int8-int16")
_LEAST_SHARE = {"fp16": 0.45, "dynamic-int8": 0.2, "int8": 0.2, "mixed": 0.2, "int8-int16": 0.2}
"""Of the float artifact's bytes, what no file of the recipe goes below: half or a quarter of the weights, less a
margin for what the float file stores besides them."""


@dataclass(frozen=True)
class Piece:
    """One artifact to make.

    Attributes:
        format: ``tflite`` or ``onnx``.
        recipe: Named precision.
        resolution: Input size; ``None`` is the model's own.
    """

    format: str
    recipe: str
    resolution: Size | None = None

    @property
    def name(self) -> str:
        """For people and file names, e.g. ``tflite-int8-168x168``."""
        words = [self.format, self.recipe]
        if self.resolution is not None:
            words.append("x".join(map(str, self.resolution)))
        return "-".join(words)


@dataclass(frozen=True)
class Miss:
    """An axis on which a variant is beyond the budget.

    Attributes:
        axis: ``latency``, ``size``, ``memory``, ``drop``, ``agreement``, ``parity`` or ``cosine``.
        measured: What it takes: milliseconds, megabytes, points, percent, relative L2, cosine.
        allowed: What it may take.
    """

    axis: str
    measured: float
    allowed: float

    @property
    def excess(self) -> float:
        """How many times too much it is, above 1; infinite where nothing is allowed."""
        whole = {"agreement": 100.0, "cosine": 1.0}.get(self.axis)  # where more is better
        if whole is not None:
            return (whole - self.measured) / (whole - self.allowed) if self.allowed < whole else float("inf")
        return self.measured / self.allowed if self.allowed > 0 else float("inf")


@dataclass(frozen=True)
class Variant:
    """An artifact on an engine with a number of threads, and what is known of it.

    Attributes:
        piece: The artifact.
        engine: Name of the engine.
        threads: Threads of the engine.
        bundle: Folder of the artifact's own bundle, relative to the plan's; ``None`` when it was not made.
        artifact: File name.
        size_bytes: Of the file.
        agreement: How often it answers as the original does, 0..1.
        metric: ``name``, ``value`` and ``original``, of the user's metric.
        drop_points: Points of that metric lost against the original.
        relative_l2: Of the worst output.
        quality: How it misses the quality that is asked for.
        latency_ms: Median of the rounds; ``None`` until it is measured.
        memory_bytes: Peak of the whole process, median of the rounds.
        rounds: Milliseconds and bytes of each round.
        key: What the rounds were measured of, on what.
        error: Why it could not be made or measured.
    """

    piece: Piece
    engine: str
    threads: int
    bundle: str | None = None
    artifact: str | None = None
    size_bytes: int | None = None
    agreement: float | None = None
    metric: Mapping[str, Any] | None = None
    drop_points: float | None = None
    relative_l2: float | None = None
    quality: Miss | None = None
    latency_ms: float | None = None
    memory_bytes: int | None = None
    rounds: tuple[tuple[float, int | None], ...] = ()
    key: str | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """For people, unique in a plan, e.g. ``tflite-int8/litert/2``."""
        return f"{self.piece.name}/{self.engine}/{self.threads}"

    @property
    def measured(self) -> bool:
        """Whether it ran."""
        return self.latency_ms is not None

    @property
    def loss(self) -> float:
        """How much worse it answers than the original: points of the metric, else of agreement, else relative L2.

        A metric above the original's is luck, no merit: it counts as no loss.
        """
        if self.drop_points is not None:
            return max(0.0, self.drop_points)
        if self.agreement is not None:
            return 100 * (1 - self.agreement)
        return self.relative_l2 or 0.0

    def cost(self, axis: str) -> float:
        """What it takes on an axis: milliseconds, points, bytes."""
        costs = {"latency": self.latency_ms, "drop": self.loss, "size": self.size_bytes, "memory": self.memory_bytes}
        return float(costs[axis] or 0.0)


def unpromising(recipe: str, float_bytes: int | None, int8: Variant | None, budget: Budget) -> str | None:
    """Return why an artifact need not be made, or ``None`` when it should be.

    Args:
        recipe: The artifact's.
        float_bytes: Size of the float artifact in the same format and resolution, where it is known.
        int8: The int8 variant of the same format and resolution, where it was made.
        budget: What it may cost.
    """
    share = _LEAST_SHARE.get(recipe)
    if share is not None and float_bytes is not None and budget.size_mb is not None:
        least = share * float_bytes / 1e6
        if least > budget.size_mb:
            return f"not made: it would be at least {least:.3g} MB, a part of fp32's {float_bytes / 1e6:.3g} MB"
    if recipe in _RESCUES and int8 is not None and int8.quality is None and int8.error is None:
        return "not made: int8 keeps the answers and is smaller and faster"
    return None


def waits_for(recipe: str, *, sized: bool) -> tuple[str, ...]:
    """Return the recipes whose artifacts, of the same format and resolution, `unpromising` judges another by.

    Args:
        recipe: The other's.
        sized: Whether the budget has a size.
    """
    of_size = ("fp32",) if sized and recipe in _LEAST_SHARE else ()
    return (*of_size, "int8") if recipe in _RESCUES else of_size


def thread_counts(cores: int) -> tuple[int, ...]:
    """Return 1, 2, 4, … up to the cores, and the cores."""
    counts = {1 << power for power in range(cores.bit_length())}
    return tuple(sorted(count for count in counts | {cores} if count <= cores))


def smaller_sides(own: Size) -> tuple[Size, ...]:
    """Return the sizes next to seven eighths, three quarters and half of a resolution, largest first."""
    below = sides_below(own)
    if not below:
        return ()
    wanted = [own[0] * share for share in _SHARES]
    return tuple(dict.fromkeys(min(below, key=lambda size: abs(size[0] - side)) for side in wanted))
