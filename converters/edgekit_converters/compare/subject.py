"""What is compared with what: the original's answers, the artifact, and the float artifact between the two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.binding import Binding, BoundEngine
from edgekit.bundle import MANIFEST, Artifact, Bundle
from edgekit.engine import format_of
from edgekit.errors import DataRefused, EdgeKitError, ModelRefused, UsageError
from edgekit.isolate import EngineProcess
from edgekit.parity import Parity
from edgekit.spec import Spec
from edgekit.tasks import Task, task_for
from edgekit_converters.compare.binding import bind_inputs, bind_outputs
from edgekit_converters.compare.samples import Answer, answered, golden_samples, read_samples
from edgekit_converters.input_size import fitted
from edgekit_converters.measure import bindings
from edgekit_converters.progress import Stages
from edgekit_converters.sources import Source, SourceOptions, open_source
from edgekit_converters.specs import wished_layouts, written_spec
from edgekit_converters.store import SampleStore
from edgekit_converters.targets import ExportOptions, export

_FORMATS = ("tflite", "onnx")


@dataclass(frozen=True)
class CompareRequest:
    """A comparison.

    Attributes:
        original: Trained model as `edgekit convert` takes it, or the folder of a bundle.
        artifact: A ``.tflite`` or ``.onnx`` file; for a bundle also a file or a recipe in it.
        data: Samples, as for `edgekit convert`; ``None`` for the golden samples of a bundle or made-up inputs.
        spec: What the user said about a trained model's inputs, preprocessing and task.
        source: How to open it.
        labels: Class names.
        tokenizer: ``tokenizer.json`` or its folder.
        format: ``tflite`` or ``onnx`` where a bundle has the recipe in both.
        threshold: Relative L2 from which on a layer counts as wrong.
        layer_samples: Samples, evenly spread, on which the layers are compared; the outputs are on all.
        diagnose: Whether to look for a mismatch of the inputs; ``None`` does so when the answers are far off.
    """

    original: Any
    artifact: str | Path
    data: Any = None
    spec: Spec | None = None
    source: SourceOptions = field(default_factory=SourceOptions)
    labels: tuple[str, ...] | None = None
    tokenizer: Path | None = None
    format: str | None = None
    threshold: float = 0.1
    layer_samples: int = 32
    diagnose: bool | None = None

    def __post_init__(self) -> None:
        if self.threshold <= 0:
            raise UsageError(f"--threshold {self.threshold:g}", expected="a relative L2 above 0, such as 0.1")
        if self.layer_samples < 1:
            raise UsageError(f"--layer-samples {self.layer_samples}", expected="at least 1")


@dataclass(frozen=True)
class BoundFile:
    """An artifact with what its tensors stand for.

    Attributes:
        path: The file.
        inputs: Bindings of the spec's inputs.
        outputs: Bindings of the spec's outputs.
    """

    path: Path
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]

    @contextmanager
    def opened(self, spec: Spec) -> Iterator[BoundEngine]:
        """Run it in a child process."""
        with EngineProcess(self.path) as engine:
            yield BoundEngine(engine, spec, self.inputs, self.outputs)


@dataclass(frozen=True)
class Subject:
    """Everything that a comparison needs.

    Attributes:
        title: What the original is called.
        task: Encodes and decides.
        samples: With the original's answers.
        origin: Where the samples come from.
        answer: Runs the original on a batch of feeds; ``None`` when only its recorded answers are at hand.
        artifact: What is compared.
        reference: The float artifact of the same format; ``None`` where there is none, see ``notes``.
        data: What the user gave as data.
        recorded: What `convert` measured of the reference, where that answers in the original's place.
    """

    title: str
    task: Task
    samples: SampleStore
    origin: str
    answer: Answer | None
    artifact: BoundFile
    reference: BoundFile | None
    data: Any
    recorded: Parity | None = None


def is_bundle(original: Any) -> bool:
    """Whether the original is the folder of a bundle."""
    return isinstance(original, (str, Path)) and (Path(original) / MANIFEST).is_file()


@contextmanager
def opened_subject(request: CompareRequest, stages: Stages, scratch: Path) -> Iterator[Subject]:
    """Open both sides and get the original's answers.

    Raises:
        UsageError: There is no such artifact.
        InputRefused: The original, the artifact or the data is not accepted, or they do not belong together.
    """
    with ExitStack() as stack:
        if is_bundle(request.original):
            yield _of_bundle(request, stages, scratch, stack)
            return
        with stages.stage("open the original"):
            source = stack.enter_context(open_source(request.original, request.source))
        yield _of_model(request, source, stages, scratch)


def _of_model(request: CompareRequest, source: Source, stages: Stages, scratch: Path) -> Subject:
    path = existing_artifact(request.artifact)
    said = fitted(request.spec, source, source.original_size)
    spec = written_spec(said, source, request.labels, request.tokenizer, scratch)
    task = task_for(spec, scratch)
    with EngineProcess(path) as engine:  # before the work: a file of another model is refused at once
        bind_inputs(spec, engine.inputs, path.name)
    samples, origin = read_samples(request.data, task, stages, scratch / "samples", source.run)
    batch = all(tensor.shape and tensor.shape[0] is None for tensor in source.inputs)
    samples = answered(samples, source.run, batch=batch, stages=stages, folder=scratch / "answered")
    reference = _converted(request, source, task, format_of(path), stages=stages, scratch=scratch)
    title = source.path.name if source.path else source.name
    artifact = foreign(path, task, samples)
    return Subject(title, task, samples, origin, source.run, artifact, reference, request.data)


def _converted(
    request: CompareRequest, source: Source, task: Task, kind: str, *, stages: Stages, scratch: Path
) -> BoundFile | None:
    """The original as a float artifact of the format, written for the layers alone."""
    if source.framework in _FORMATS and source.framework != kind:
        stages.note(f"the original is {source.framework}, the artifact {kind}: their layers cannot be aligned")
        return None
    path = scratch / f"original.{kind}"
    try:
        with stages.stage(f"convert the original to {kind}"):
            exported = export(source, kind, path, ExportOptions(wished_layouts(request.spec, source)))
    except EdgeKitError as error:
        stages.note(f"layers are not compared: the original cannot be converted to {kind}: {error.received}")
        return None
    with EngineProcess(path) as engine:
        return BoundFile(path, *bindings(task.spec, exported, engine.inputs, engine.outputs))


def _of_bundle(request: CompareRequest, stages: Stages, scratch: Path, stack: ExitStack) -> Subject:
    bundle = Bundle(request.original)
    task = task_for(bundle.spec, bundle.path)
    chosen = _in_bundle(bundle, request)
    path = bundle.file(chosen.file) if chosen else existing_artifact(request.artifact)
    kind = format_of(path)
    floats = {artifact.format: artifact for artifact in bundle.artifacts if artifact.recipe == "fp32"}
    recorded = None
    title, answer = f"the original, {bundle.manifest.source.get('file') or bundle.manifest.name}", None
    if request.data is None:
        samples, origin = golden_samples(*bundle.golden(), scratch / "samples"), "golden samples of the bundle"
    else:
        stand_in = floats.get(kind) or next(iter(floats.values()), None)
        if stand_in is None:
            raise DataRefused(
                f"--data with {bundle.path}, which holds the original's answers to its golden samples only",
                expected="a bundle with an fp32 artifact, which can answer in the original's place",
                remedy="leave --data out, convert with --recipe fp32 too, or give the trained model as ORIGINAL",
            )
        answer = stack.enter_context(_bound(bundle, stand_in).opened(task.spec)).run
        recorded = stand_in.parity if stand_in is floats.get(kind) else None
        title = f"{stand_in.file} in the original's place"
        samples, origin = read_samples(request.data, task, stages, scratch / "samples", answer)
        samples = answered(samples, answer, batch=True, stages=stages, folder=scratch / "answered")
    if kind not in floats:
        stages.note(f"layers are not compared: the bundle has no fp32 {kind} file; convert with --recipe fp32 too")
    reference = _bound(bundle, floats[kind]) if kind in floats else None
    artifact = _bound(bundle, chosen) if chosen else foreign(path, task, samples)
    return Subject(title, task, samples, origin, answer, artifact, reference, request.data, recorded)


def _in_bundle(bundle: Bundle, request: CompareRequest) -> Artifact | None:
    """The artifact that is meant, by file or recipe; ``None`` for a file elsewhere."""
    wanted = str(request.artifact)
    here = {artifact.file: artifact for artifact in bundle.artifacts}
    path = Path(wanted)
    if wanted in here:
        return here[wanted]
    if path.name in here and path.is_file() and path.resolve() == (bundle.path / path.name).resolve():
        return here[path.name]
    named = [a for a in bundle.artifacts if wanted == a.recipe and request.format in (None, a.format)]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(
            f"{bundle.path} has {wanted} as {' and '.join(a.format for a in named)}",
            expected="one of them",
            remedy=f"add --to {named[0].format}, or name the file: {named[0].file}",
        )
    if not path.exists():
        raise UsageError(f"no artifact {wanted!r} in {bundle.path}", expected=f"a file, or one of {', '.join(here)}")
    return None


def _bound(bundle: Bundle, artifact: Artifact) -> BoundFile:
    return BoundFile(bundle.file(artifact.file), artifact.inputs, artifact.outputs)


def existing_artifact(artifact: str | Path) -> Path:
    """Path of an artifact that is no part of a bundle. Raises UsageError or ModelRefused when it is none."""
    path = Path(artifact)
    if not path.is_file():
        raise UsageError(f"{artifact}: no such file", expected="a .tflite or .onnx file, or a recipe of a bundle")
    format_of(path)
    return path


def foreign(path: Path, task: Task, samples: SampleStore) -> BoundFile:
    """Bind a file by names, shapes and its answer to the first sample."""
    first = samples[0]
    with EngineProcess(path) as engine:
        inputs = bind_inputs(task.spec, engine.inputs, path.name)
        try:
            return BoundFile(path, inputs, bind_outputs(task.spec, inputs, engine, first.feeds, first.outputs))
        except DataRefused as error:
            raise ModelRefused(
                f"{path.name} cannot run {first.name}: {error.received}", expected=error.expected
            ) from error
