"""From a trained model to a published bundle.

source model → reference outputs on the user's data → float artifact, checked against the reference → recipes →
each artifact checked, then loaded and run in a child process → parity on held-out data → bundle, put in place
by one rename and only if everything passed.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import distributions, version
from pathlib import Path

from edgekit.atomic import atomic_folder
from edgekit.bundle import MANIFEST, Artifact, Bundle, Manifest, write_golden, write_manifest
from edgekit.engine import FORMAT_SUFFIXES
from edgekit.errors import DataRefused, QualityError, UsageError
from edgekit.parity import INTEGER_COSINE, Gate, Parity
from edgekit.spec import Spec
from edgekit.tasks import Task, task_for
from edgekit_converters.compare.mismatch import note_mismatch
from edgekit_converters.compare.subject import BoundFile
from edgekit_converters.input_size import fitted, own_size, photo_size, sides
from edgekit_converters.inspection.inspector import resources_of
from edgekit_converters.judge import CalibrationJudge
from edgekit_converters.measure import Measurement, measure, slower_than
from edgekit_converters.original import Original, about, open_original
from edgekit_converters.prepare import (
    CalibrationFeeds,
    Prepared,
    answered_as,
    datasets,
    golden_of,
    judged_on,
    prepare,
    with_reference,
)
from edgekit_converters.progress import Reporter, Silent, Stages
from edgekit_converters.quantize import check_artifact, quantize
from edgekit_converters.quantize.recipes import Recipe
from edgekit_converters.report.page import PAGE, manifest_page
from edgekit_converters.report.reproduce import conversion_words, inputs_said
from edgekit_converters.request import Request
from edgekit_converters.sources import Source, open_source
from edgekit_converters.specs import wished_layouts, written_spec
from edgekit_converters.store import stack
from edgekit_converters.targets import Exported, ExportOptions, export
from edgekit_converters.targets.quiet import quiet
from edgekit_converters.targets.tflite_attachment import carry
from edgekit_converters.targets.tflite_metadata import with_metadata

_TOOLS = ("ai-edge-litert", "ai-edge-quantizer", "keras", "litert-torch", "numpy", "onnx", "onnxruntime",
          "opencv-python-headless", "tensorflow", "tf2onnx", "torch", "transformers")  # fmt: skip
_REMEDY = "more or better calibration data, another recipe, a larger --max-drop, or --allow-degraded"


class GateMissed(QualityError):
    """An artifact did not reach its gate; nothing was published.

    Attributes:
        manifest: What was measured of all artifacts.
    """

    def __init__(self, received: str, manifest: Manifest) -> None:
        super().__init__(received, remedy=_REMEDY)
        self.manifest = manifest


def convert(request: Request, reporter: Reporter | None = None) -> tuple[Bundle, Stages]:
    """Convert a model and publish the bundle.

    Args:
        request: What to do.
        reporter: What the user sees meanwhile.

    Returns:
        The bundle, and the stages with their seconds and notes.

    Raises:
        EdgeKitError: With the documented exit code; what was at ``request.output`` is unchanged.
    """
    _refuse_foreign_output(request.output)
    stages = Stages(reporter or Silent())
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch, atomic_folder(request.output) as folder:
        with stages.stage("open the model"):
            source = open_source(request.model, request.source)
        with source, _judge(request, source, stages) as judge:
            manifest = Conversion(request, source, stages, Path(scratch), folder, judge=judge).run()
        with stages.stage("write the bundle"):
            (folder / PAGE).write_text(manifest_page(request.output.name, manifest), encoding="utf-8")
            write_manifest(folder, manifest)
    return Bundle(request.output, check=False), stages


def _judge(request: Request, source: Source, stages: Stages) -> Source:
    """Who says what is right: the source itself, or the original that it was made from."""
    if request.original is None:
        return source
    with stages.stage("open the original"):
        return open_original(request.original, request.original_source, source)


def _refuse_foreign_output(output: Path) -> None:
    """Only an older bundle or an empty folder may be replaced."""
    if output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file():
        raise UsageError(
            f"-o {output}: a folder that is not a bundle and not empty",
            expected="a new folder, or an older bundle, which is replaced in one step",
        )
    if output.exists() and not output.is_dir():
        raise UsageError(f"-o {output}: a file", expected="a folder")


@dataclass(frozen=True)
class FloatArtifact:
    """The float artifact of one format, which the recipes start from.

    Attributes:
        path: The file.
        target: Its format.
        exported: Names and layouts of its tensors.
        measured: Against the original.
    """

    path: Path
    target: str
    exported: Exported
    measured: Measurement


class Conversion:
    """One conversion: fills ``folder``; `run` does all of it, the other methods a step each.

    Args:
        request: What to do.
        source: The open model.
        stages: Progress.
        scratch: An empty folder for what is not published.
        folder: An empty folder for what is.
        judge: Who says what is right; the source itself by default.

    Attributes:
        photos_for: Photo size that the user's spec is meant for, where the source takes smaller photos.
        said: What the user said, for photos of the source's size.
    """

    def __init__(
        self,
        request: Request,
        source: Source,
        stages: Stages,
        scratch: Path,
        folder: Path,
        *,
        judge: Source | None = None,
    ) -> None:
        self.request = request
        self.source = source
        self.judge = source if judge is None else judge
        self.photos_for = judge.photo_size if isinstance(judge, Original) else source.original_size
        self.said = fitted(request.spec, source, self.photos_for)
        self.stages = stages
        self.scratch = scratch
        self.folder = folder
        self.name = request.name or source.name
        self.missed: list[str] = []

    def run(self) -> Manifest:
        """Make every artifact that was asked for. Raises GateMissed when one did not reach its gate."""
        spec = self.open_data()
        artifacts = tuple(artifact for target in self.request.targets for artifact in self._target(target))
        manifest = self.manifest(spec, artifacts)
        if self.missed:
            raise GateMissed("\n".join(self.missed), manifest)
        return manifest

    def open_data(self) -> Spec:
        """Complete the spec, encode the data, ask the original, write the golden samples and the spec's files."""
        for note in self.source.notes:
            self.stages.note(note)
        spec = self._spec()
        if self.photos_for is not None and self.judge is not self.source:
            self.own = prepare(self.request, self.source, self.task, self.stages, self.scratch)
            self.data: Prepared = self._answered_at_the_size_of(self.judge)
        else:
            self.data = prepare(self.request, self.judge, self.task, self.stages, self.scratch)
            self.own = self.data if self.judge is self.source else self._answered_by_source()
        golden = self.data.golden
        write_golden(self.folder, stack(item.feeds for item in golden), stack(item.outputs for item in golden))
        return spec

    def _spec(self) -> Spec:
        """What the user said, for photos of the source's size, completed."""
        request, own, meant = self.request, photo_size(self.source.inputs), self.photos_for
        if request.spec is not None and meant is not None and own is not None:
            self.stages.note(f"photos of {sides(own)} for a network made for {sides(meant)}: resized in proportion")
        self.task: Task = task_of(self.said, self.source, request, self.folder)
        return self.task.spec

    def _answered_at_the_size_of(self, judge: Source) -> Prepared:
        """The source's inputs with the answers of an original that gets the photos at its own size."""
        request, folder = self.request, self.scratch / "original"
        folder.mkdir()
        task = task_of(fitted(request.spec, judge), judge, request, folder)
        if own_size(task.spec) is None:
            own = photo_size(self.source.inputs) or (0, 0)
            raise UsageError(
                f"--original for pictures of {sides(self.photos_for or own)}, the model for {sides(own)}",
                expected="the same size: only what a classifier answers means the same at another",
            )
        self.stages.note(f"artifacts are judged against {judge.name}, the original of {self.source.name}")
        _, evaluation, _ = datasets(request, task.spec, self.stages)
        theirs = judged_on(evaluation, judge, task, self.stages, folder)
        answered = answered_as(self.own.evaluation, theirs, self.scratch / "answered-by-original")
        return replace(self.own, evaluation=answered, golden=golden_of(answered))

    def _answered_by_source(self) -> Prepared:
        """The data with the source's own answers, which a float artifact must give whatever the original answers."""
        self.stages.note(f"artifacts are judged against {self.judge.name}, the original of {self.source.name}")
        title, folder = "run the model", self.scratch / "own"
        own = with_reference(self.data.evaluation, self.source, self.stages, folder, title=title)
        return replace(self.data, evaluation=own, golden=golden_of(own))

    def _target(self, target: str) -> Iterator[Artifact]:
        """All recipes of one target, upon a float artifact that answers as the original does."""
        made = self.float_artifact(target)
        for recipe in self.request.resolved_recipes():
            yield self.artifact(made, recipe)

    def float_artifact(self, target: str) -> FloatArtifact:
        """Convert to one format. Raises QualityError when the file does not answer as the original does."""
        wishes = wished_layouts(self.request.spec, self.source)
        path = self.scratch / f"{self.name}.fp32{FORMAT_SUFFIXES[target]}"
        with self.stages.stage(f"{target}: convert"):
            exported = export(self.source, target, path, ExportOptions(wishes))
            if target == "tflite":
                exported = with_metadata(path, self.task, exported, name=self.name)
        for note in exported.notes:
            self.stages.note(f"{target}: {note}")
        measured = own = self.measured(path, target, "fp32", exported)
        if self.own is not self.data:
            own = measure(
                path, self.task, exported=exported, data=self.own, stages=self.stages, title=f"{target}: fp32"
            )
        if target == self.request.targets[0]:
            float_file = BoundFile(path, measured.inputs, measured.outputs)
            data = self.request.calibration if self.request.evaluation is None else self.request.evaluation
            accuracy = measured.parity.reference_metric
            note_mismatch(float_file, self.task, self.data.evaluation, accuracy, data=data, stages=self.stages)
        reason = Gate.for_recipe("fp32").failure(own.parity)
        if reason is not None and not (self.request.allow_degraded and _finite(own.parity)):
            raise QualityError(
                f"{path.name}: {reason}",
                expected="the original model's answers from the float artifact",
                remedy="the conversion changed the model, whatever the data: try the other target and report the model",
            )
        return FloatArtifact(path, target, exported, measured)

    def artifact(self, made: FloatArtifact, recipe: Recipe) -> Artifact:
        """Write the artifact of a recipe into ``folder``, checked and compared with the original."""
        if recipe.name != "fp32":
            return self._quantized(made.path, made.target, recipe, made.exported, made.measured)
        path = made.path
        for part in (path, *path.parent.glob(f"{path.name}.data")):  # ONNX keeps large weights beside
            shutil.copyfile(part, self.folder / part.name)
        check_artifact(path, recipe, "float")
        return self._artifact(self.folder / path.name, made.target, recipe, made.measured, made.exported.notes)

    def _quantized(
        self, float_path: Path, target: str, recipe: Recipe, exported: Exported, measured: Measurement
    ) -> Artifact:
        path = self.folder / f"{self.name}.{recipe.name}{FORMAT_SUFFIXES[target]}"
        io = self.request.io if recipe.name == "int8" else "float"
        samples = None
        if recipe.weight_bits == 8 and self.data.calibration is not None:  # it also guides the rounding of weights
            samples = CalibrationFeeds(self.data.calibration, self.task.spec, measured.inputs)
        accept = None
        if recipe.name == "mixed" and self.data.calibration is not None:
            original = BoundFile(float_path, measured.inputs, measured.outputs)
            judge = CalibrationJudge(original, self.task, self.data, self.scratch / f"{target}-answered")
            accept = partial(judge.accepts, exported=exported, max_drop=self.request.max_drop)
        with self.stages.stage(f"{target}: {recipe.name}"), quiet():
            effort = self.request.effort
            report = quantize(float_path, path, recipe, samples, io=io, effort=effort, accept=accept)
            if target == "tflite":
                carry(float_path, path)
            check = check_artifact(path, recipe, io)
        found = self.measured(path, target, recipe.name, exported)
        files = (path, found), (float_path, measured)
        slower = slower_than(*files, task=self.task, sample=self.data.golden[0])
        notes = (*exported.notes, *report.notes, *check.notes, *slower)
        return self._artifact(path, target, recipe, found, notes)

    def measured(self, path: Path, target: str, recipe: str, exported: Exported) -> Measurement:
        """Compare a file with the original on the evaluation data."""
        title = f"{target}: {recipe} against the original"
        return measure(path, self.task, exported=exported, data=self.data, stages=self.stages, title=title)

    def gate(self, recipe: str) -> Gate:
        """What an artifact of a recipe must reach."""
        if self.judge is not self.source:  # a smaller model is never numerically equal
            return Gate(max_drop=self.request.max_drop, min_cosine=INTEGER_COSINE)
        return Gate.for_recipe(recipe, max_drop=self.request.max_drop)

    def _artifact(
        self, path: Path, target: str, recipe: Recipe, measured: Measurement, notes: tuple[str, ...]
    ) -> Artifact:
        reason = self.gate(recipe.name).failure(measured.parity)
        if reason is not None:
            self._miss(path.name, reason, measured.parity)
        return Artifact(
            file=path.name,
            format=target,
            recipe=recipe.name,
            bytes=path.stat().st_size,
            inputs=measured.inputs,
            outputs=measured.outputs,
            parity=measured.parity,
            golden=measured.golden,
            latency_ms=measured.latency_ms,
            degraded=reason,
            notes=tuple(dict.fromkeys(notes)),
            resources=resources_of(path),
        )

    def _miss(self, file: str, reason: str, parity: Parity) -> None:
        """Remember a missed gate; outputs that are not finite are never published."""
        if self.request.allow_degraded and _finite(parity):
            self.stages.note(f"{file}: {reason}; published all the same (--allow-degraded)")
        else:
            worst = parity.worst
            self.missed.append(f"{file}: {reason}; worst output {worst.name!r}, relative L2 {worst.relative_l2:.3g}")

    def manifest(self, spec: Spec, artifacts: tuple[Artifact, ...]) -> Manifest:
        """Return the manifest of a bundle that holds some of the artifacts."""
        source, summary = self.source, self.data.summary
        metric = artifacts[0].parity.reference_metric
        calibration = None if summary is None else {"samples": summary.samples, "fingerprint": summary.fingerprint}
        return Manifest(
            name=self.name,
            spec=spec,
            artifacts=artifacts,
            source={
                **about(source),
                **({"original": self.judge.about()} if isinstance(self.judge, Original) else {}),
                "command": conversion_words(self.request),
                "inputs_said": inputs_said(self.request),
                **({} if self.photos_for is None else {"photos_for": list(self.photos_for)}),
            },
            calibration=calibration or {},
            evaluation={
                "samples": len(self.data.evaluation),
                "origin": self.data.origin,
                "metric": None if metric is None else metric.name,
                "original": None if metric is None else metric.value,
            },
            tools=tool_versions(),
            notes=tuple(self.stages.notes),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            edgekit_version=version("edgekit-ai"),
        )


def task_of(said: Spec | None, source: Source, request: Request, folder: Path) -> Task:
    """The task of a source, its spec completed; the files that it names are written into a folder.

    Args:
        said: What the user said, for photos of the source's size.
        source: The open model.
        request: Labels, tokenizer, and the folder of the files that options name.
        folder: Where the files go.

    Raises:
        EdgeKitError: As `written_spec` and `option_files`.
    """
    written = written_spec(said, source, request.labels, request.tokenizer, folder)
    return task_for(option_files(written, request.folder, folder), folder)


def option_files(spec: Spec, folder: Path, bundle: Path) -> Spec:
    """Copy the files that options name into the bundle, where they have plain names.

    Args:
        spec: With options whose names end in ``_file``.
        folder: Where the files lie.
        bundle: Where they go.

    Raises:
        DataRefused: One is not there.
    """
    named = {key: value for key, value in spec.options.items() if key.endswith("_file") and value}
    for key, value in named.items():
        path = folder / str(value)
        if not path.is_file():
            raise DataRefused(f"options.{key} = {value!r}: no such file", expected="a path relative to the spec")
        shutil.copyfile(path, bundle / path.name)
    return spec.replace(options={**spec.options, **{key: Path(str(value)).name for key, value in named.items()}})


def _finite(parity: Parity) -> bool:
    return math.isfinite(parity.worst.relative_l2)


def tool_versions() -> dict[str, str]:
    """Return the installed versions of the tools that decide what an artifact becomes."""
    installed = {distribution.name.lower(): distribution.version for distribution in distributions()}
    return {tool: installed[tool] for tool in _TOOLS if tool in installed}
