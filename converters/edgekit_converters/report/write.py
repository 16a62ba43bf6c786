"""From bundles and plans to the written page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.atomic import atomic_file
from edgekit.bundle import MANIFEST, Bundle
from edgekit.errors import EdgeKitError, UsageError
from edgekit_converters.compare import CompareRequest, Comparison, compare
from edgekit_converters.compare.samples import spread
from edgekit_converters.data import open_dataset
from edgekit_converters.progress import Stages
from edgekit_converters.report import words
from edgekit_converters.report.changes import find_changes
from edgekit_converters.report.findings import Benched, Case, Changes, Findings
from edgekit_converters.report.page import render
from edgekit_converters.report.plans import Plan, is_plan, read_plan
from edgekit_converters.report.timing import Way, bench

_LAYER_SAMPLES = 8
_FLOATS = ("fp32", "fp16")


@dataclass(frozen=True)
class ReportRequest:
    """What to write.

    Attributes:
        sources: Folders of bundles and plans.
        output: The page.
        data: Inputs for changed answers, as `edgekit convert --eval` takes them.
        device: Name of a board that measures; ``None`` for this machine.
        seconds: Timed of each artifact; ``None`` measures nothing.
        examples: Most inputs with a changed answer of each artifact.
    """

    sources: tuple[Path, ...]
    output: Path
    data: str | None = None
    device: str | None = None
    seconds: float | None = None
    examples: int = 8


def write_report(request: ReportRequest, stages: Stages) -> int:
    """Look at everything and write the page; returns its size in bytes.

    Raises:
        UsageError: The page would lie in a bundle.
        InputRefused: A bundle or a plan is damaged, or the data cannot be read.
        EnvironmentFault: A board that was named cannot measure, or the disk is full.
    """
    _refuse_inside(request.output)
    plans = [read_plan(folder) for folder in request.sources if is_plan(folder)]
    wanted: list[tuple[Path, Way | None]] = [(folder, None) for folder in request.sources if not is_plan(folder)]
    wanted += [(folder, _way(plan)) for plan in plans if (folder := plan.chosen_bundle) is not None]
    bundles = [(Bundle(folder), way) for folder, way in wanted]
    found = [_look(bundle, request, stages, way) for bundle, way in bundles]
    with stages.stage("write the page"), atomic_file(request.output) as temporary:
        text = render(found, plans, data=request.data)
        temporary.write_text(text, encoding="utf-8")
    return request.output.stat().st_size


def _refuse_inside(output: Path) -> None:
    if output.is_dir():
        raise UsageError(f"-o {output}: a folder", expected="a file, such as report.html")
    if (output.absolute().parent / MANIFEST).is_file():
        raise UsageError(
            f"-o {output} lies inside a bundle, whose checksums would not fit any more",
            expected="a file elsewhere",
            remedy=f"-o {output.name}",
        )


def _way(plan: Plan) -> Way | None:
    """How the plan runs what it chose."""
    chosen = plan.variant(plan.chosen)
    if chosen is None or not chosen.engine:
        return None
    return Way(chosen.engine, chosen.threads, chosen.latency_ms, plan.device)


def _look(bundle: Bundle, request: ReportRequest, stages: Stages, way: Way | None) -> Findings:
    """Everything that is asked for of one bundle."""
    notes: list[str] = []
    benched = _benched(bundle, request, way, stages, notes)
    if benched is None and way is not None and way.latency_ms is not None:
        where = f" on {way.where}" if way.where else ""
        notes.append(f"The plan measured {words.milliseconds(way.latency_ms)}{where} with {way}, which it chose.")
    layers: dict[str, Comparison] = {}
    if request.seconds is not None or request.data is not None:
        layers = dict(_layers(bundle, request.data, stages, notes))
    changes: dict[str, Changes] = {}
    if request.data is not None:
        changes = find_changes(bundle, request.data, stages, request.examples)
    timings = benched.timings if benched else {}
    cases = tuple(
        Case(artifact, timings.get(artifact.file), layers.get(artifact.file), changes.get(artifact.file))
        for artifact in bundle.artifacts
    )
    return Findings(bundle.path.resolve().name, bundle.manifest, cases, benched, tuple(dict.fromkeys(notes)))


def _benched(
    bundle: Bundle, request: ReportRequest, way: Way | None, stages: Stages, notes: list[str]
) -> Benched | None:
    """Times; a machine that cannot measure is no reason for no page, unless it was named."""
    if request.seconds is None:
        return None
    with stages.stage(f"{bundle.path.name}: measure the artifacts"):
        try:
            found = bench(bundle.path, request.seconds, request.device, way)
        except EdgeKitError as error:
            if request.device is not None:
                raise
            notes.append(f"The times are those of the conversion: {error.received}.")
            stages.note(notes[-1])
            return None
    notes.extend(f"{line[:1].upper()}{line[1:]}." for line in found.notes)
    return found


def _layers(bundle: Bundle, data: str | None, stages: Stages, notes: list[str]) -> Iterator[tuple[str, Comparison]]:
    """The error by layer of each quantized artifact that has its float artifact beside it."""
    floats = {artifact.format for artifact in bundle.artifacts if artifact.recipe == "fp32"}
    quantized = [a for a in bundle.artifacts if a.format in floats and a.recipe not in _FLOATS]
    if not quantized:
        return
    samples = None if data is None else _spread(bundle, data)
    with stages.stage("compare the layers", len(quantized)):
        for artifact in stages.each(quantized):
            request = CompareRequest(
                original=bundle.path, artifact=artifact.file, data=samples, layer_samples=_LAYER_SAMPLES, diagnose=False
            )
            try:
                yield artifact.file, compare(request)
            except EdgeKitError as error:
                notes.append(f"The layers of {artifact.file} were not compared: {error.received}.")
                stages.note(notes[-1])


def _spread(bundle: Bundle, data: Any) -> list[Any]:
    """A few inputs, evenly spread; the layers need no more."""
    dataset = open_dataset(data, bundle.spec)
    wanted = set(spread(len(dataset), _LAYER_SAMPLES))
    return [item.value for place, item in enumerate(dataset) if place in wanted]
