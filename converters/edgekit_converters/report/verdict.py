"""The verdict: which artifact answers as the original does, how sure that is, how small and how fast it is."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.metrics import Metric
from edgekit_converters.report import words
from edgekit_converters.report.findings import Case, Findings

_ALIKE = 0.95
"""Agreement from which on answers count as the original's."""
_FASTER = 1.1
"""Less is within the noise of a measurement."""
_WIDE = 0.05
"""Width of an interval of agreement from which on more samples are advised."""


@dataclass(frozen=True)
class Figure:
    """A number to be seen first.

    Attributes:
        label: What it is.
        value: The number.
        detail: Its interval, or what it is compared with.
    """

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What a person should take from a report.

    Attributes:
        case: The artifact to use; ``None`` when none reached its gate.
        headline: Its name and whether it answers as the original does.
        reasons: The rest of the sentence.
        caution: What limits it.
        figures: The numbers.
    """

    case: Case | None
    headline: str
    reasons: str
    caution: str | None
    figures: tuple[Figure, ...]


def best_case(findings: Findings) -> Case | None:
    """Of the artifacts that reached their gate, the one with the least size times latency."""
    passed = [case for case in findings.cases if case.artifact.degraded is None]
    return min(passed, key=lambda case: case.artifact.bytes * case.latency_ms, default=None)


def judged(findings: Findings) -> Verdict:
    """Find the verdict of a bundle."""
    case = best_case(findings)
    if case is None:
        missed = findings.cases[0].artifact.degraded if findings.cases else "it holds no artifact"
        return Verdict(None, "No artifact answers as the original does", f"; the first: {missed}", None, ())
    parity = case.artifact.parity
    parts = [_sure(parity.agreement) if parity.agreement else _close(case), *_accuracy(case), _small(findings, case)]
    reasons = f": {'; '.join(parts)}; {_fast(findings, case)}."
    return Verdict(case, f"{case.title} {_kept(case)}", reasons, _caution(case), tuple(_figures(findings, case)))


def _kept(case: Case) -> str:
    """An artifact that reached its gate may still answer some inputs otherwise, as often better as worse."""
    agreement = case.artifact.parity.agreement
    alike = agreement is None or agreement.value >= _ALIKE
    return "answers as the original does" if alike else "keeps the original's quality"


def _sure(agreement: Metric) -> str:
    return (
        f"{agreement.name} {words.measured(agreement)} (95 % interval {words.interval(agreement)}, "
        f"{agreement.counts if agreement.counts.count('%') == 0 else f'{agreement.total} samples'})"
    )


def _close(case: Case) -> str:
    worst = case.artifact.parity.worst
    return f"relative L2 {words.error(worst.relative_l2)} on {case.artifact.parity.samples} samples"


def _accuracy(case: Case) -> list[str]:
    metric, original = case.artifact.parity.metric, case.artifact.parity.reference_metric
    if metric is None or original is None:
        return []
    return [f"{metric.name} {words.measured(metric)}, the original's {words.measured(original)}"]


def _small(findings: Findings, case: Case) -> str:
    whole = findings.original_bytes
    text = words.size(case.artifact.bytes)
    return f"{text}, {100 * case.artifact.bytes / whole:.0f} % of the original" if whole else text


def _fast(findings: Findings, case: Case) -> str:
    text = f"{words.milliseconds(case.latency_ms)} an input"
    factor = speed(findings, case)
    return text if factor is None else f"{text}, {_pace(factor)}"


def _pace(factor: float) -> str:
    if factor >= _FASTER:
        return f"{words.times(factor)} times the speed of fp32"
    return "as fast as fp32" if factor >= 1 / _FASTER else f"{factor:.2f} of the speed of fp32, which is faster"


def speed(findings: Findings, case: Case) -> float | None:
    """How many times as fast as the float artifact of the same format, both measured alike; ``None`` if unknown."""
    base = findings.floats(case)
    if base is None or (base.timing is None) != (case.timing is None) or case.latency_ms <= 0:
        return None
    return base.latency_ms / case.latency_ms


def _caution(case: Case) -> str | None:
    agreement = case.artifact.parity.agreement
    if agreement is None:
        return None
    low, high = agreement.interval()
    if high - low <= _WIDE:
        return None
    return (
        f"The interval is {100 * (high - low):.0f} points wide, because {agreement.total} answers were compared; "
        "convert with more --eval data to make it narrower."
    )


def _figures(findings: Findings, case: Case) -> list[Figure]:
    parity, whole = case.artifact.parity, findings.original_bytes
    found = []
    if parity.agreement is not None:
        found.append(Figure(parity.agreement.name, words.measured(parity.agreement), words.interval(parity.agreement)))
    else:
        found.append(Figure("relative L2", words.error(parity.worst.relative_l2), f"{parity.samples} samples"))
    if parity.metric is not None and parity.reference_metric is not None:
        detail = f"original {words.measured(parity.reference_metric)}"
        found.append(Figure(parity.metric.name, words.measured(parity.metric), detail))
    share = f"{100 * case.artifact.bytes / whole:.0f} % of the original" if whole else "one file"
    found.append(Figure("size", words.size(case.artifact.bytes), share))
    factor = speed(findings, case)
    than = "median" if factor is None else _pace(factor)
    found.append(Figure("latency", words.milliseconds(case.latency_ms), than))
    return found
