"""What the machine can do at best, measured once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.errors import EnvironmentFault
from edgekit_runtimes.bench.job import Effort, Target
from edgekit_runtimes.bench.machine import BUSY_SHARE, State, Verdict, read_state
from edgekit_runtimes.bench.process import run_job
from edgekit_runtimes.bench.roofline.bandwidth import Level
from edgekit_runtimes.bench.roofline.peak_models import MACS

_CPUINFO = ("model name", "CPU implementer", "CPU part", "CPU revision", "Features", "flags")


@dataclass(frozen=True)
class MachinePeak:
    """What a machine does at best with one engine and one number of threads.

    Attributes:
        engine: Name of the engine.
        version: Version of its library.
        threads: Threads of the engine, and of the passes through memory.
        gmacs_per_s: ``fp32`` and ``int8`` -> 10^9 multiply-accumulate operations a second; what the engine refuses is
            missing.
        levels: Bandwidths, the closest cache first, the memory last; none where the kernel does not list the caches.
    """

    engine: str
    version: str
    threads: int
    gmacs_per_s: Mapping[str, float]
    levels: tuple[Level, ...]

    @property
    def gbytes_per_s(self) -> float | None:
        """Bandwidth of the main memory."""
        return self.levels[-1].gbytes_per_s if self.levels else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        raw = {**asdict(self), "levels": [asdict(level) for level in self.levels]}
        return raw if self.gbytes_per_s is None else {**raw, "gbytes_per_s": self.gbytes_per_s}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> MachinePeak:
        """Read the JSON form. Raises KeyError, TypeError or ValueError for another one."""
        rates = {str(name): float(rate) for name, rate in raw["gmacs_per_s"].items()}
        levels = tuple(Level(str(one["name"]), int(one["below"]), float(one["gbytes_per_s"])) for one in raw["levels"])
        return cls(raw["engine"], raw["version"], int(raw["threads"]), rates, levels)

    def or_better(self, other: MachinePeak) -> MachinePeak:
        """Take the higher of each rate: a machine is never faster than it can be."""
        rates = {name: max(rate, other.gmacs_per_s.get(name, 0.0)) for name, rate in self.gmacs_per_s.items()}
        paired = zip(self.levels, other.levels, strict=False)
        levels = tuple(max(pair, key=lambda level: level.gbytes_per_s) for pair in paired) or self.levels
        return replace(self, gmacs_per_s={**other.gmacs_per_s, **rates}, levels=levels)


def together(peaks: Sequence[MachinePeak]) -> dict[str, Any]:
    """The highest rates of several, as JSON: what the machine is known to do, whatever the engine."""
    rates: dict[str, float] = {}
    for peak in peaks:
        for name, rate in peak.gmacs_per_s.items():
            rates[name] = max(rate, rates.get(name, 0.0))
    memory = [peak.gbytes_per_s for peak in peaks if peak.gbytes_per_s is not None]
    return {"gmacs_per_s": rates, **({"gbytes_per_s": max(memory)} if memory else {})}


def machine_peak(
    target: Target, engine: str, version: str, threads: int, *, root: Path = Path("/"), afresh: bool = False
) -> MachinePeak:
    """Return what this machine does at best; measured in about two seconds where it is not known.

    What was measured on a busy or throttled machine is not kept.

    Args:
        target: What is compared with it: its format and its engine count.
        engine: Name of the engine that ran.
        version: Version of its library.
        threads: Its threads.
        root: Where the machine's ``/proc`` and ``/sys`` lie.
        afresh: Measure again, and take the better of each rate.

    Raises:
        EdgeKitError: The engine is not installed, or the measuring process was killed.
    """
    state = read_state(root)
    path = _cache_file([target.path.suffix, engine, version, threads, *_machine(root, state)])
    known = _read(path)
    if known is not None and not afresh:
        return known
    answer = run_job("peak", target, threads=threads, effort=Effort(), root=root)
    found = MachinePeak.from_dict({**answer.result, "engine": engine, "version": version, "threads": threads})
    if known is not None:
        found = found.or_better(known)
    if worth_keeping(answer.machine):
        with suppress(EnvironmentFault), atomic_file(path) as temporary:  # without a cache it is measured again
            temporary.write_text(json.dumps(found.to_dict()), encoding="utf-8")
    return found


def worth_keeping(machine: Verdict) -> bool:
    """Whether the machine was quiet, and as fast as it can be."""
    return not machine.invalid and (machine.others_share or 0.0) <= BUSY_SHARE


def _cache_file(key: Sequence[Any]) -> Path:
    digest = hashlib.sha256(json.dumps([*key, sorted(MACS.items())]).encode()).hexdigest()[:20]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "edgekit" / "peaks" / f"{digest}.json"


def _machine(root: Path, state: State) -> list[Any]:
    """What a machine's peaks depend on: processors, which of them may be used, and how fast they may run."""
    lines: list[str] = []
    with suppress(OSError):
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        lines = sorted({line for line in text.splitlines() if line.partition(":")[0].strip() in _CPUINFO})
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [lines, usable, state.limits_mhz, state.governors]


def _read(path: Path) -> MachinePeak | None:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return MachinePeak.from_dict(json.loads(path.read_text(encoding="utf-8")))
    return None
