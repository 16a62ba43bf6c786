"""What the page shows of each bundle and plan: texts, rows and drawings, ready for the template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.parity import Parity
from edgekit_converters.report import words
from edgekit_converters.report.findings import FORMATS, Case, Findings
from edgekit_converters.report.layer_bars import Bars, layer_drawings
from edgekit_converters.report.plans import Plan, Variant
from edgekit_converters.report.reproduce import commands
from edgekit_converters.report.scatter import LATENCY, SIZE, Cost, Datum, Quality, Scatter, drawn
from edgekit_converters.report.verdict import Verdict, judged


@dataclass(frozen=True)
class Panel:
    """Drawings with the same vertical axis.

    Attributes:
        quality: The axis.
        charts: Against size and against latency.
    """

    quality: Quality
    charts: tuple[Scatter, ...]


@dataclass(frozen=True)
class Key:
    """One entry of a legend.

    Attributes:
        group: Number of the colour and shape.
        name: What it stands for.
    """

    group: int
    name: str


@dataclass(frozen=True)
class BundleView:
    """One bundle.

    Attributes:
        name: Unique on the page.
        findings: What is known.
        verdict: What to take from it.
        facts: What the model is.
        panels: Drawings of quality against cost.
        legend: Of these.
        bars: Artifact file -> its error by layer.
        commands: How to reproduce it.
        missing: Parts that were left out, and how to get them.
        resources: Artifacts with what they need of a machine, where any is known.
    """

    name: str
    findings: Findings
    verdict: Verdict
    facts: tuple[tuple[str, str], ...]
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...]
    bars: dict[str, tuple[Bars, ...]]
    commands: tuple[tuple[str, str], ...]
    missing: dict[str, str]
    resources: tuple[tuple[Case, Any], ...]

    @property
    def limits(self) -> bool:
        """Whether it is known what the machine could reach."""
        return any(case.timing is not None and case.timing.roofline for case in self.findings.cases)

    def has(self, section: str) -> bool:
        """Whether the page has a section: all but two are always there."""
        return bool({"tradeoff": self.panels, "resources": self.resources}.get(section, True))

    def key(self, case: Case) -> str:
        """What marks an artifact in all drawings and tables."""
        return f"{self.name}-{case.artifact.file}"


@dataclass(frozen=True)
class PlanView:
    """One plan.

    Attributes:
        name: Unique on the page.
        plan: What was found.
        headline: Its result.
        reasons: The rest of the sentence.
        panels: Drawings of quality against cost.
        legend: Of these.
    """

    name: str
    plan: Plan
    headline: str
    reasons: str
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...]

    def key(self, variant: Variant) -> str:
        """What marks a variant in all drawings and tables."""
        return f"{self.name}-{variant.name}"


def bundle_view(number: int, findings: Findings, *, data: str | None = None) -> BundleView:
    """Prepare a bundle for the template.

    Args:
        number: Of the bundle on the page, from 0.
        findings: What is known.
        data: Name of the data given for changed answers.
    """
    name, verdict = f"b{number}", judged(findings)
    formats = list(dict.fromkeys(case.artifact.format for case in findings.cases))
    panels = tuple(_panel(name, quality, findings, verdict, formats) for quality in _qualities(name, findings.cases))
    view = BundleView(
        name=name,
        findings=findings,
        verdict=verdict,
        facts=tuple(words.facts(findings.manifest)),
        panels=panels,
        legend=tuple(Key(group, FORMATS.get(kind, kind)) for group, kind in enumerate(formats)),
        bars={
            case.artifact.file: layer_drawings(f"{name}-l{place}", case.layers)
            for place, case in enumerate(findings.cases)
            if case.layers
        },
        commands=tuple(commands(findings.folder, findings.manifest, data=data)),
        missing=_missing(findings),
        resources=_resources(findings),
    )
    return view


def _resources(findings: Findings) -> tuple[tuple[Case, Any], ...]:
    """Older bundles do not say what their artifacts need."""
    found = tuple((case, case.artifact.resources) for case in findings.cases)
    known = any(needs is not None or (case.timing and case.timing.roofline) for case, needs in found)
    return found if known else ()


def _missing(findings: Findings) -> dict[str, str]:
    """Section -> the sentence that stands in its place."""
    folder = findings.folder
    found = {}
    if not any(case.layers and case.layers.layers for case in findings.cases):
        found["layers"] = f"edgekit report {folder} shows it for bundles that hold an fp32 artifact beside the others."
    if findings.benched is None:
        found["operators"] = f"edgekit report {folder} measures it here, with --on DEVICE on a board."
    if not any(case.changes for case in findings.cases):
        found["changes"] = f"edgekit report {folder} --data PHOTOS shows them."
    return found


def _qualities(name: str, cases: Sequence[Case]) -> list[Quality]:
    parities = [case.artifact.parity for case in cases]
    if not parities:
        return []
    found = []
    metric, original = parities[0].metric, parities[0].reference_metric
    if metric is not None and original is not None and all(parity.metric for parity in parities):
        found.append(Quality(f"{name}-metric", metric.name, metric.share, original=original.value))
    agreement = parities[0].agreement
    if agreement is not None and all(parity.agreement for parity in parities):
        found.append(Quality(f"{name}-agreement", agreement.name, agreement.share))
    return found or [Quality(f"{name}-error", "relative L2", share=False, logarithmic=True)]


def _panel(name: str, quality: Quality, findings: Findings, verdict: Verdict, formats: Sequence[str]) -> Panel:
    def data(cost: Cost) -> list[Datum]:
        found = []
        for case in findings.cases:
            mark = "missed" if case.artifact.degraded else "best" if case is verdict.case else ""
            key, group = f"{name}-{case.artifact.file}", formats.index(case.artifact.format)
            found.append(_datum(key, group, quality, case, cost=cost, mark=mark))
        return found

    charts = (drawn(f"{quality.name}-{axis.name}", quality, axis, data(axis)) for axis in (SIZE, LATENCY))
    return Panel(quality, tuple(charts))


def _datum(key: str, group: int, quality: Quality, case: Case, *, cost: Cost, mark: str) -> Datum:
    x = case.artifact.bytes if cost == SIZE else case.latency_ms
    value, low, high = _value(quality, case.artifact.parity)
    shown = words.percent(value) if quality.share else words.error(value)
    lines = (
        case.title,
        f"{quality.label} {shown}" + (f" ({_range(quality, low, high)})" if low < high else ""),
        f"{words.size(case.artifact.bytes)}, {words.milliseconds(case.latency_ms)}",
    )
    return Datum(key, case.artifact.recipe, group, x, value, low, high, lines, mark)


def _range(quality: Quality, low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %" if quality.share else f"{low:.3g} to {high:.3g}"


def _value(quality: Quality, parity: Parity) -> tuple[float, float, float]:
    metric = parity.metric if quality.original is not None else parity.agreement
    if metric is None or quality.logarithmic:
        error = parity.worst.relative_l2
        return error, error, error
    return (metric.value, *metric.interval())


def compared(views: Sequence[BundleView]) -> Panel | None:
    """All artifacts of several bundles in the same drawings; ``None`` where they have no measure in common."""
    cases = [(group, view, case) for group, view in enumerate(views) for case in view.findings.cases]
    parities = [case.artifact.parity for _, _, case in cases]
    if not parities:
        return None
    names = {parity.agreement.name if parity.agreement else None for parity in parities}
    if len(names) > 1:
        return None
    label = names.pop()
    quality = Quality("all", label) if label else Quality("all", "relative L2", share=False, logarithmic=True)

    def data(cost: Cost) -> list[Datum]:
        return [
            _datum(view.key(case), group, quality, case, cost=cost, mark="best" * (case is view.verdict.case))
            for group, view, case in cases
        ]

    return Panel(quality, tuple(drawn(f"all-{axis.name}", quality, axis, data(axis)) for axis in (SIZE, LATENCY)))


def plan_view(number: int, plan: Plan) -> PlanView:
    """Prepare a plan for the template."""
    name, quality = f"p{number}", _plan_quality(f"p{number}", _made(plan))
    charts: tuple[Scatter, ...] = ()
    if quality is not None:
        data = {axis: list(_plan_data(name, plan, quality, axis)) for axis in (LATENCY, SIZE)}
        charts = tuple(
            drawn(f"{quality.name}-{axis.name}", quality, axis, found, front=True)
            for axis, found in data.items()
            if found
        )
    headline, reasons = _plan_verdict(plan)
    legend = tuple(Key(group, FORMATS.get(kind, kind)) for group, kind in enumerate(_formats(plan)))
    return PlanView(name, plan, headline, reasons, (Panel(quality, charts),) if quality and charts else (), legend)


def _made(plan: Plan) -> list[Variant]:
    return [variant for variant in plan.variants if variant.size_bytes is not None]


def _formats(plan: Plan) -> list[str]:
    return list(dict.fromkeys(variant.format for variant in _made(plan)))


def _plan_data(name: str, plan: Plan, quality: Quality, cost: Cost) -> Iterator[Datum]:
    """Points of what is known; of one artifact the size is drawn once, whatever runs it."""
    formats, drawn_files = _formats(plan), set()
    telling = (plan.chosen, plan.baseline)
    for variant in sorted(_made(plan), key=lambda one: [one.name != each for each in telling]):
        value = _rating(quality, variant)
        x = variant.latency_ms if cost == LATENCY else variant.size_bytes
        if value is None or x is None or (cost == SIZE and variant.bundle in drawn_files):
            continue
        drawn_files.add(variant.bundle)
        group, detail = (
            formats.index(variant.format),
            words.run_by(variant.engine, variant.threads) if cost == LATENCY else "",
        )
        yield _variant_datum(name, plan, quality, variant, x=x, value=value, group=group, detail=detail)


def _plan_quality(name: str, variants: Sequence[Variant]) -> Quality | None:
    metrics = [variant.metric for variant in variants if variant.metric is not None]
    if metrics and len(metrics) == len(variants):
        label, _, original = metrics[0]
        return Quality(f"{name}-metric", label, all(0 <= value <= 1 for _, value, _ in metrics), original=original)
    if any(variant.agreement is not None for variant in variants):
        return Quality(f"{name}-agreement", "agreement")
    return None


def _rating(quality: Quality, variant: Variant) -> float | None:
    if quality.name.endswith("metric"):
        return variant.metric[1] if variant.metric else None
    return variant.agreement


def _variant_datum(
    name: str, plan: Plan, quality: Quality, variant: Variant, *, x: float, value: float, group: int, detail: str
) -> Datum:
    mark = "best" if variant.name == plan.chosen else "baseline" if variant.name == plan.baseline else ""
    shown = words.percent(value) if quality.share else f"{value:.4g}"
    lines = (variant.name, f"{quality.label} {shown}", ", ".join(_needs(variant)), variant.why)
    mark = mark or ("" if variant.fits else "missed")
    artifact = variant.name.partition("/")[0]
    return Datum(f"{name}-{variant.name}", artifact, group, x, value, value, value, lines, mark, detail)


def _plan_verdict(plan: Plan) -> tuple[str, str]:
    chosen, base = plan.variant(plan.chosen), plan.variant(plan.baseline)
    more = "" if plan.finished else " The plan is not finished: the same command goes on with it."
    if chosen is None:
        return "No variant fits the budget", f"; {len(plan.variants)} were looked at.{more}"
    parts = _costs(chosen)
    if base is not None and base.name == chosen.name:
        parts.append("it is also the int8 that one would pick by hand")
    elif base is not None:
        gives = f" gives {', '.join(_costs(base))}" if _costs(base) else ""
        parts.append(f"the int8 that one would pick by hand{gives}{'' if base.fits else f' and loses: {base.why}'}")
    return f"{chosen.name} fits best", f"{': ' * bool(parts)}{'; '.join(parts)}.{more}"


def _costs(variant: Variant) -> list[str]:
    return _needs(variant) + ([] if variant.agreement is None else [f"{words.percent(variant.agreement)} agreement"])


def _needs(variant: Variant) -> list[str]:
    found = [] if variant.latency_ms is None else [words.milliseconds(variant.latency_ms)]
    return found + ([] if variant.size_bytes is None else [words.size(variant.size_bytes)])


def shown_name(given: str | None) -> str | None:
    """The last part of what the user gave as data, which may hold folders."""
    return Path(given).name if given else None
