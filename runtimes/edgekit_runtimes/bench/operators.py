"""Which operators the time goes to: what both engines' own profilers say, in one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.engine import format_of
from edgekit.errors import UsageError
from edgekit_runtimes.bench.job import Target

PROFILERS = {"tflite": "litert", "onnx": "onnxruntime"}
"""Format -> the engine whose profiler is asked."""


@dataclass(frozen=True)
class Node:
    """One operator of the graph as the engine runs it: after fusion, layout changes and delegation.

    Attributes:
        name: What the engine calls this node.
        kind: Operator type.
        milliseconds: Mean time in one run.
    """

    name: str
    kind: str
    milliseconds: float


@dataclass(frozen=True)
class Kind:
    """All nodes of one operator type.

    Attributes:
        kind: Operator type.
        nodes: How many there are.
        milliseconds: Mean time of all of them together in one run.
        share: Of the time of all operators.
    """

    kind: str
    nodes: int
    milliseconds: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Where the time of one artifact goes.

    Attributes:
        source: Which profiler said it, for people.
        runs: Number of profiled runs.
        run_ms: Mean time of a whole run while profiling, in milliseconds.
        nodes: In the order in which they run.
    """

    source: str
    runs: int
    run_ms: float
    nodes: tuple[Node, ...]

    @property
    def operators_ms(self) -> float:
        """Time of all operators in one run."""
        return sum(node.milliseconds for node in self.nodes)

    def kinds(self) -> list[Kind]:
        """Return the operator types, the most expensive first; their shares sum to 1."""
        return by_kind(self.nodes)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        whole = self.operators_ms
        return {
            "source": self.source,
            "runs": self.runs,
            "run_ms": self.run_ms,
            "operators_ms": whole,
            "kinds": [asdict(kind) for kind in self.kinds()],
            "nodes": [asdict(node) for node in self.nodes],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Profile:
        """Read the JSON form."""
        return cls(raw["source"], raw["runs"], raw["run_ms"], tuple(Node(**node) for node in raw["nodes"]))


def by_kind(nodes: Iterable[Node]) -> list[Kind]:
    """Add nodes up by operator type, the most expensive first."""
    groups: dict[str, list[float]] = {}
    for node in nodes:
        groups.setdefault(node.kind, []).append(node.milliseconds)
    whole = sum(map(sum, groups.values()))
    kinds = [Kind(kind, len(times), sum(times), sum(times) / whole if whole else 0.0) for kind, times in groups.items()]
    return sorted(kinds, key=lambda kind: (-kind.milliseconds, kind.kind))


def profile(target: Target, threads: int | None, runs: int) -> Profile:
    """Profile one artifact with its engine's own profiler.

    Args:
        target: The artifact.
        threads: Threads of the engine; ``None`` lets it choose.
        runs: Number of profiled runs.

    Raises:
        UsageError: The engine asked for has no profiler here.
        EnvironmentFault: The installed library has none.
    """
    kind = format_of(target.path)
    if target.engine not in (None, PROFILERS[kind]):
        raise UsageError(f"--operators with engine {target.engine!r}", expected=f"{PROFILERS[kind]} for {target.name}")
    if kind == "onnx":
        from edgekit_runtimes.bench.profile_onnxruntime import profile_onnx

        return profile_onnx(target, threads, runs)
    from edgekit_runtimes.bench.profile_litert import profile_tflite

    return profile_tflite(target, threads, runs)
