"""What was measured of one configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.machine import State, Verdict, merged
from edgekit_runtimes.bench.operators import Profile
from edgekit_runtimes.bench.process import Answer, run_job
from edgekit_runtimes.bench.stats import Latency, summarize
from edgekit_runtimes.engines.common import thread_count

if TYPE_CHECKING:
    from edgekit_runtimes.bench.roofline.bound import Roofline

_PROFILED_SECONDS = 1.0
_PROFILED_RUNS = 1000
"""Profilers keep every event in memory: of 1000 runs of 200 operators some ten megabytes."""

PARTS = ("encode", "inference", "decode", "whole")


@dataclass(frozen=True)
class Request:
    """What to measure of each artifact.

    Attributes:
        effort: How long.
        item: A real input as on the command line; ``None`` measures the engine alone.
        operators: Whether to profile operators too.
        root: Where the machine's ``/proc`` and ``/sys`` lie.
    """

    effort: Effort
    item: str | None = None
    operators: bool = False
    root: Path = Path("/")


@dataclass(frozen=True)
class Memory:
    """Resident memory of the measuring process, in bytes; ``None`` where the system does not say.

    Attributes:
        before: Before the artifact was opened: Python and edgekit.
        loaded: After it was opened.
        peak: The most there ever was.
    """

    before: int | None
    loaded: int | None
    peak: int | None

    @property
    def added(self) -> int | None:
        """What the engine's library and the loaded artifact added."""
        return None if self.before is None or self.loaded is None else self.loaded - self.before


@dataclass(frozen=True)
class Measurement:
    """One artifact on one engine with one number of threads.

    Attributes:
        target: The artifact.
        engine: Name of the engine that ran.
        version: Version of its library.
        threads: Threads of the engine.
        inputs: Where the inputs came from.
        load_ms: Opening it in a fresh process, import of the engine's library included.
        load_again_ms: Opening it once more, the library being there.
        first_ms: First inference.
        latency: Steady latency of the engine.
        samples: Times of the steady runs in seconds, in order.
        steady: Whether the warm-up ended with an even latency.
        memory: Resident memory.
        parts: Part of the way from a real input to a result -> its latency; empty without a real input.
        profile: Operators; ``None`` when not asked for.
        states: State of the machine before, during and after.
        machine: What that means for the times.
        roofline: How far the latency is from what the machine could do; ``None`` where that was not asked for or is
            not known.
    """

    target: Target
    engine: str
    version: str
    threads: int
    inputs: str
    load_ms: float
    load_again_ms: float
    first_ms: float
    latency: Latency
    samples: tuple[float, ...]
    steady: bool
    memory: Memory
    parts: Mapping[str, Latency]
    profile: Profile | None
    states: tuple[State, ...]
    machine: Verdict
    roofline: Roofline | None = None

    @property
    def valid(self) -> bool:
        """Whether the times hold: the machine was not throttled."""
        return not self.machine.invalid

    @property
    def uneven(self) -> str | None:
        """A warning where the latency never became steady."""
        return None if self.steady else f"{self.target.name}: the latency was still uneven when the warm-up ended"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the times should know."""
        return tuple(text for text in (*self.machine.warnings, self.machine.busy, self.uneven) if text)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; times in milliseconds, memory in bytes."""
        return {
            "artifact": self.target.name,
            "bundle": str(self.target.bundle) if self.target.bundle else None,
            "recipe": self.target.recipe,
            "engine": self.engine,
            "engine_version": self.version,
            "threads": self.threads,
            "inputs": self.inputs,
            "valid": self.valid,
            "invalid": list(self.machine.invalid),
            "warnings": list(self.warnings),
            "load_ms": self.load_ms,
            "load_again_ms": self.load_again_ms,
            "first_ms": self.first_ms,
            "latency_ms": asdict(self.latency),
            "per_second": self.latency.per_second,
            "steady": self.steady,
            "memory_bytes": {**asdict(self.memory), "added_by_loading": self.memory.added},
            "end_to_end_ms": {name: asdict(latency) for name, latency in self.parts.items()} or None,
            "operators": self.profile.to_dict() if self.profile else None,
            **({"roofline": self.roofline.to_dict()} if self.roofline else {}),
            "machine": {
                "before": self.states[0].to_dict(),
                "during": [state.to_dict() for state in self.states[1:-1]],
                "after": self.states[-1].to_dict(),
                "others_share": self.machine.others_share,
            },
        }


def measure(target: Target, threads: int | None, request: Request) -> Measurement:
    """Measure one configuration; each job runs in a process of its own.

    Raises:
        EdgeKitError: The artifact or the input is refused, the engine is not installed, or the process was killed.
    """
    engine = _run("engine", target, threads, request)
    answers = [engine]
    parts: dict[str, Latency] = {}
    if request.item is not None:
        pipeline = _run("pipeline", target, threads, request)
        answers.append(pipeline)
        parts = {name: summarize(pipeline.result[name]) for name in PARTS}
    profile = None
    if request.operators:
        effort = replace(request.effort, runs=profiled_runs(request.effort, engine.result["samples"]))
        profiled = _run("operators", target, threads, replace(request, effort=effort))
        answers.append(profiled)
        profile = Profile.from_dict(profiled.result)
    return _measurement(target, threads, answers, parts, profile)


def profiled_runs(effort: Effort, samples: Sequence[float]) -> int:
    """Return the number of runs to profile: what was asked for, and of a fast artifact more, for about a second."""
    return max(effort.runs, min(_PROFILED_RUNS, int(_PROFILED_SECONDS / summarize(samples).mean * 1000)))


def _run(kind: str, target: Target, threads: int | None, request: Request) -> Answer:
    return run_job(kind, target, threads=threads, effort=request.effort, item=request.item, root=request.root)


def _measurement(
    target: Target,
    threads: int | None,
    answers: list[Answer],
    parts: Mapping[str, Latency],
    profile: Profile | None,
) -> Measurement:
    found = answers[0].result
    return Measurement(
        target=target,
        engine=found["engine"],
        version=found["version"],
        threads=thread_count(threads),
        inputs=found["inputs"],
        load_ms=found["load"] * 1000,
        load_again_ms=found["load_again"] * 1000,
        first_ms=found["first"] * 1000,
        latency=summarize(found["samples"]),
        samples=tuple(found["samples"]),
        steady=found["steady"],
        memory=Memory(found["rss_before"], found["rss_loaded"], found["rss_peak"]),
        parts=parts,
        profile=profile,
        states=tuple(state for answer in answers for state in answer.states),
        machine=merged([answer.machine for answer in answers]),
    )
