"""Times of a bundle's artifacts: what `edgekit bench` says, asked in a child, on a board where one is named."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.errors import EnvironmentFault
from edgekit_converters.benching import NotMeasured, asked
from edgekit_converters.report import words
from edgekit_converters.report.findings import Benched, Timing
from edgekit_converters.runtime import processor

_PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Way:
    """How a plan runs what it chose.

    Attributes:
        engine: Name of the engine.
        threads: Of the engine; ``None`` for its own number.
        latency_ms: Median that the plan measured; ``None`` where it did not.
        where: Board on which it did; ``None`` for the machine that planned.
    """

    engine: str
    threads: int | None
    latency_ms: float | None = None
    where: str | None = None

    def __str__(self) -> str:
        return words.run_by(self.engine, self.threads)


def bench(bundle: Path, seconds: float, device: str | None, way: Way | None = None) -> Benched:
    """Measure all artifacts of a bundle.

    Args:
        bundle: The bundle.
        seconds: Timed, at least, of each artifact.
        device: Name of a board; ``None`` measures here.
        way: Engine and threads; ``None`` takes those of ``edgekit run``.

    Raises:
        EnvironmentFault: No engine is installed, the board cannot be reached, or it takes too long.
    """
    try:
        raw = asked(
            bundle, "--all", "--operators", "--roofline", "--runs", "20", seconds=seconds, device=device,
            engine=way.engine if way else None, threads=[way.threads] if way and way.threads else (),
            timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
    except NotMeasured as reason:
        raise EnvironmentFault(str(reason), remedy="mend it, or pass --no-measure") from reason
    found = read_bench(raw, device or this_machine())
    return replace(found, how=f"{way}, as the plan chose") if way else found


def read_bench(raw: Mapping[str, Any], where: str) -> Benched:
    """Read the JSON form of ``edgekit bench --all``."""
    timings = {item["artifact"]: Timing.from_dict(item) for item in raw["measurements"]}
    notes = [*(f"not measured: {line}" for line in raw.get("not_measured", ())), *raw.get("no_roofline", ())]
    return Benched(where, timings, raw.get("machine_peak") or {}, tuple(notes))


def this_machine(root: Path = Path("/")) -> str:
    """The processor and the system in a few words; never the machine's name."""
    return ", ".join((processor(root), f"{platform.system()} {platform.machine()}"))
