"""Two artifacts against each other: in turn, in one process, several times over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.machine import Verdict, merged
from edgekit_runtimes.bench.measurement import Request
from edgekit_runtimes.bench.process import run_job
from edgekit_runtimes.bench.stats import ROUNDS, Latency, Ratio, compare_rounds, summarize
from edgekit_runtimes.engines.common import thread_count


@dataclass(frozen=True)
class Comparison:
    """What interleaved runs of A and B showed.

    Attributes:
        targets: A and B.
        engines: Name and version of the engine of each.
        threads: Threads of both engines.
        latencies: Of A and B.
        ratio: A over B.
        machine: What the machine's state means for the times.
    """

    targets: tuple[Target, Target]
    engines: tuple[str, str]
    threads: int
    latencies: tuple[Latency, Latency]
    ratio: Ratio
    machine: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; times in milliseconds."""
        sides = {
            letter: {"file": str(target.path), "recipe": target.recipe, "engine": engine, "latency_ms": asdict(latency)}
            for letter, target, engine, latency in zip("ab", self.targets, self.engines, self.latencies, strict=True)
        }
        return {
            **sides,
            "threads": self.threads,
            **asdict(self.ratio),
            "verdict": self.ratio.verdict,
            "valid": not self.machine.invalid,
            "invalid": list(self.machine.invalid),
            "warnings": [text for text in (*self.machine.warnings, self.machine.busy) if text],
            "others_share": self.machine.others_share,
        }


def compare(a: Target, b: Target, threads: int | None, request: Request) -> Comparison:
    """Compare two artifacts on the same machine at the same time, in `ROUNDS` processes that share the effort.

    Raises:
        EdgeKitError: One is refused, an engine is not installed, or the process was killed.
    """
    effort = request.effort
    part = Effort(-(-effort.runs // ROUNDS), effort.seconds / ROUNDS, effort.warmup)
    answers = [
        run_job("compare", a, other=b, threads=threads, effort=part, seed=number, root=request.root)
        for number in range(ROUNDS)
    ]
    results = [answer.result for answer in answers]
    first, second = (f"{about['engine']} {about['version']}" for about in results[0]["about"])
    return Comparison(
        targets=(a, b),
        engines=(first, second),
        threads=thread_count(threads),
        latencies=(_together(results, "a"), _together(results, "b")),
        ratio=compare_rounds([(result["a"], result["b"]) for result in results]),
        machine=merged([answer.machine for answer in answers]),
    )


def _together(results: Sequence[Mapping[str, Any]], side: str) -> Latency:
    return summarize([seconds for result in results for seconds in result[side]])
