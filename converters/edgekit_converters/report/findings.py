"""What a report knows of one bundle: its manifest, and what was measured for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.bundle import Artifact, Manifest
from edgekit_converters.compare.comparison import Comparison

FORMATS = {"tflite": "TFLite", "onnx": "ONNX"}


@dataclass(frozen=True)
class Operator:
    """All operators of one type.

    Attributes:
        kind: Operator type, as the engine's profiler calls it.
        nodes: How many there are.
        milliseconds: Mean time of all of them in one run.
        share: Of the time of all operators, 0..1.
    """

    kind: str
    nodes: int
    milliseconds: float
    share: float


@dataclass(frozen=True)
class Timing:
    """What `edgekit bench` measured of one artifact.

    Attributes:
        engine: Engine and version.
        threads: Threads of the engine.
        p50: Median latency in milliseconds.
        p90: 90th percentile.
        p99: 99th percentile.
        load_ms: Opening it in a fresh process.
        peak_bytes: Most resident memory of the process; ``None`` where the system does not say.
        operators: Types, the most expensive first.
        warnings: What a reader of the times should know.
        roofline: Milliseconds that the measured machine could reach, and what limits it; empty when not known.
    """

    engine: str
    threads: int
    p50: float
    p90: float
    p99: float
    load_ms: float
    peak_bytes: int | None
    operators: tuple[Operator, ...]
    warnings: tuple[str, ...]
    roofline: Mapping[str, Any]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Timing:
        """Read one measurement of ``edgekit bench --json``."""
        latency, operators = raw["latency_ms"], raw.get("operators") or {}
        return cls(
            engine=f"{raw['engine']} {raw['engine_version']}",
            threads=raw["threads"],
            p50=latency["p50"],
            p90=latency["p90"],
            p99=latency["p99"],
            load_ms=raw["load_ms"],
            peak_bytes=(raw.get("memory_bytes") or {}).get("peak"),
            operators=tuple(Operator(**kind) for kind in operators.get("kinds", ())),
            warnings=tuple(raw.get("invalid", ())) + tuple(raw.get("warnings", ())),
            roofline=raw.get("roofline") or {},
        )


@dataclass(frozen=True)
class Benched:
    """What `edgekit bench` measured of a bundle.

    Attributes:
        where: Machine that measured, for people.
        timings: Artifact file -> what was measured.
        peak: What the machine was measured to do at most; empty when not known.
        notes: What could not be measured, and why.
        how: Engine and threads, where they were given; empty for those of ``edgekit run``.
    """

    where: str
    timings: Mapping[str, Timing]
    peak: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    how: str = ""


@dataclass(frozen=True)
class Example:
    """An input that the artifact answers otherwise than the original.

    Attributes:
        name: Of the input.
        truth: What is right, where it is known.
        original: The original's answer, in words.
        artifact: The artifact's answer, in words.
        agreement: How far both agree, 0..1.
        text: The input itself, of tasks on text.
        photos: ``data:`` addresses of small JPEGs: the photo, or both answers drawn into it.
        size: Width and height of each in pixels.
    """

    name: str
    truth: str | None
    original: str
    artifact: str
    agreement: float
    text: str | None = None
    photos: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Swap:
    """Two classes that changed places.

    Attributes:
        original: Class that the original gave.
        artifact: Class that the artifact gave.
        count: How often.
    """

    original: str
    artifact: str
    count: int


@dataclass(frozen=True)
class Changes:
    """How an artifact's answers differ from the original's, input by input.

    Attributes:
        file: The artifact.
        reference: What answered in the original's place.
        origin: Where the inputs come from.
        samples: Inputs that could be compared.
        changed: Inputs with another answer.
        lost: Right answers that became wrong; ``None`` where the truth is not known.
        gained: Wrong answers that became right.
        swaps: Of tasks that decide between classes, the most frequent first.
        examples: Inputs whose answers differ most.
    """

    file: str
    reference: str
    origin: str
    samples: int
    changed: int
    lost: int | None
    gained: int | None
    swaps: tuple[Swap, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Case:
    """One artifact with everything that is known of it.

    Attributes:
        artifact: From the manifest.
        timing: Measured for the page; ``None`` where it was not.
        layers: Its error by layer; ``None`` where it was not compared.
        changes: Answers that changed; ``None`` without data.
    """

    artifact: Artifact
    timing: Timing | None = None
    layers: Comparison | None = None
    changes: Changes | None = None

    @property
    def title(self) -> str:
        """Recipe and format, for people."""
        return f"{self.artifact.recipe} {FORMATS.get(self.artifact.format, self.artifact.format)}"

    @property
    def latency_ms(self) -> float:
        """Median milliseconds: measured for the page, or at conversion."""
        return self.timing.p50 if self.timing else self.artifact.latency_ms


@dataclass(frozen=True)
class Findings:
    """What a report knows of one bundle.

    Attributes:
        folder: Name of the bundle's folder.
        manifest: What the bundle says of itself.
        cases: Its artifacts.
        benched: What was measured for the page; ``None`` for nothing.
        notes: What was left out of the page, and why.
    """

    folder: str
    manifest: Manifest
    cases: tuple[Case, ...]
    benched: Benched | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of_manifest(cls, folder: str, manifest: Manifest) -> Findings:
        """What the manifest alone says."""
        return cls(folder, manifest, tuple(Case(artifact) for artifact in manifest.artifacts))

    @property
    def original_bytes(self) -> int | None:
        """Size of the original model; ``None`` where it is not known."""
        return self.manifest.source.get("bytes") or None

    def floats(self, case: Case) -> Case | None:
        """The float artifact of the same format, other than the case itself."""
        same = (other for other in self.cases if other.artifact.format == case.artifact.format)
        return next((other for other in same if other.artifact.recipe == "fp32" and other is not case), None)


def by_time(operators: Sequence[Operator], limit: int) -> tuple[Operator, ...]:
    """The most expensive types, the rest put together."""
    kept, rest = tuple(operators[:limit]), operators[limit:]
    if not rest:
        return kept
    others = Operator(
        f"{len(rest)} other types",
        sum(item.nodes for item in rest),
        sum(item.milliseconds for item in rest),
        sum(item.share for item in rest),
    )
    return (*kept, others)
