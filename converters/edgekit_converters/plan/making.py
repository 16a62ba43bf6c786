"""Making the artifacts of a plan, each in a bundle of its own that is kept as soon as it is there.

A model is opened once for each resolution, its data are encoded once, and its float artifact is converted once for each
format; what is finished from an earlier run opens nothing at all.
"""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from edgekit.atomic import atomic_folder
from edgekit.bundle import Artifact, Bundle, write_manifest
from edgekit.errors import DataRefused, EdgeKitError, QualityError
from edgekit.parity import Gate, Parity, ParityMeter
from edgekit.spec import Spec
from edgekit.tasks import Task
from edgekit_converters.convert import Conversion, FloatArtifact
from edgekit_converters.input_size import Size, open_at, own_size, scaled, sides
from edgekit_converters.plan.quality import quality_gate
from edgekit_converters.plan.stock import Stock
from edgekit_converters.plan.variants import Piece
from edgekit_converters.prepare import Prepared, answered_as
from edgekit_converters.progress import Stages
from edgekit_converters.quantize.recipes import recipe_named
from edgekit_converters.report.page import PAGE, manifest_page
from edgekit_converters.report.reproduce import conversion_words
from edgekit_converters.request import Request
from edgekit_converters.sources import Source, open_source


class Maker:
    """Makes artifacts; use as a context manager.

    Args:
        request: What to convert, with the drop that is allowed.
        stock: Where artifacts go.
        stages: Progress.
        scratch: An empty folder.
    """

    def __init__(self, request: Request, stock: Stock, stages: Stages, scratch: Path) -> None:
        self._request = replace(request, allow_degraded=True)
        self._stock, self._stages, self._scratch = stock, stages, scratch
        self._stack = ExitStack()
        self._open: dict[Size | None, _Opened] = {}
        self._floats: dict[tuple[Size | None, str], FloatArtifact | EdgeKitError] = {}

    def __enter__(self) -> Maker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, resolution: Size | None) -> None:
        """Open the model and read the data, once. Raises EdgeKitError when they are refused."""
        self._opened(resolution)

    def make(self, piece: Piece) -> Bundle:
        """Convert. Raises EdgeKitError when the artifact cannot be made."""
        opened = self._opened(piece.resolution)
        made = self._float(piece)
        conversion, stages = opened.conversion, self._stages
        notes = list(stages.notes)
        stages.notes[:] = [*opened.notes, *(f"{piece.format}: {note}" for note in made.exported.notes)]
        try:
            conversion.missed.clear()
            artifact = conversion.artifact(made, recipe_named(piece.recipe))
            if conversion.missed:
                raise QualityError(conversion.missed[0])
            return self._publish(piece, opened, artifact)
        finally:
            stages.notes[:] = [*notes, *(note for note in stages.notes if note not in notes)]

    def own_size(self) -> Size | None:
        """Input size of the original; ``None`` where it is not to be varied."""
        return own_size(self._opened(None).spec)

    def resized(self, size: Size) -> Parity:
        """Say how another input size alone changes the answers: those of the resized network against the original's.

        Raises:
            ModelRefused: The network takes no photos of this size.
        """
        opened = self._opened(size)
        assert opened.resized is not None  # noqa: S101  it has a size
        return opened.resized

    def _publish(self, piece: Piece, opened: _Opened, artifact: Artifact) -> Bundle:
        """Put one artifact into a bundle with what the task needs."""
        path = self._stock.bundle_of(piece)
        folder = opened.conversion.folder
        artifact = replace(artifact, degraded=quality_gate(piece, self._request.max_drop).failure(artifact.parity))
        with atomic_folder(path) as temporary:
            for file in (*(folder / name for name in opened.files), *folder.glob(f"{artifact.file}*")):
                shutil.copyfile(file, temporary / file.name)
            manifest = opened.conversion.manifest(opened.spec, (artifact,))
            write_manifest(temporary, replace(manifest, source={**manifest.source, "command": self._command(piece)}))
        return Bundle(path, check=False)

    def _command(self, piece: Piece) -> list[str] | None:
        """What to type for this artifact alone; no command opens a network at another size than its own."""
        if piece.resolution is not None:
            return None
        return conversion_words(
            replace(self._request, targets=(piece.format,), recipes=(piece.recipe,), allow_degraded=False)
        )

    def _float(self, piece: Piece) -> FloatArtifact:
        """The float artifact of a format, converted once; a failure is remembered too."""
        at = (piece.resolution, piece.format)
        if at not in self._floats:
            try:
                self._floats[at] = self._opened(piece.resolution).float_artifact(piece.format)
            except EdgeKitError as error:
                self._floats[at] = error
        found = self._floats[at]
        if isinstance(found, EdgeKitError):
            raise found
        return found

    def _opened(self, size: Size | None) -> _Opened:
        if size not in self._open:
            self._open[size] = self._open_native() if size is None else self._open_resized(size)
        return self._open[size]

    def _open_native(self) -> _Opened:
        with self._stages.stage("open the model"):
            source = self._stack.enter_context(open_source(self._request.model, self._request.source))
        return _Opened(self._conversion(self._request, source, "native"))

    def _open_resized(self, size: Size) -> _Opened:
        native = self._opened(None)
        shown = sides(size)
        original, own = native.conversion.source, own_size(native.spec)
        said = native.conversion.said
        if said is None or own is None:
            raise DataRefused(f"--resolution {shown} for this model", expected="a classifier of photos, with --preset")
        with self._stages.stage(f"open the model for {shown}"):
            source = self._stack.enter_context(open_at(self._request, original, size))
        request = replace(self._request, spec=scaled(said, own, size), name=f"{native.conversion.name}-{shown}")
        opened = _Opened(self._conversion(request, source, shown), native.conversion.data)
        self._stages.note(f"{shown}: judged against the original, with photos of {sides(own)}")
        opened.notes = (*opened.notes, f"{shown}: judged against the original, with photos of {sides(own)}")
        return opened

    def _conversion(self, request: Request, source: Source, word: str) -> _Piecewise:
        scratch, folder = self._scratch / word / "scratch", self._scratch / word / "files"
        for path in (scratch, folder):
            path.mkdir(parents=True)
        return _Piecewise(request, source, self._stages, scratch, folder)


class _Piecewise(Conversion):
    """A conversion whose artifacts are all kept: the budget decides later which of them may be chosen."""

    against_original = False
    """Whether the data hold the answers of another network than the one that is converted."""

    def gate(self, recipe: str) -> Gate:
        """A smaller input loses by itself what a float artifact must not lose."""
        return super().gate("int8" if self.against_original else recipe)

    def _miss(self, file: str, reason: str, parity: Parity) -> None:
        """Only what is not finite can be of no use."""
        if not math.isfinite(parity.worst.relative_l2):
            self.missed.append(f"{file}: {reason}")


class _Opened:
    """An open model with its data encoded and answered.

    Args:
        conversion: Of the model.
        original: Data of the original, when this is a resized one.

    Attributes:
        spec: Complete.
        notes: So far, for every bundle.
        files: Names of the files that every bundle holds.
        resized: Parity of the resized network; ``None`` for the original.
    """

    def __init__(self, conversion: _Piecewise, original: Prepared | None = None) -> None:
        before = len(conversion.stages.notes)
        self.conversion = conversion
        self.spec: Spec = conversion.open_data()
        self.notes: tuple[str, ...] = tuple(conversion.stages.notes[before:])
        self.files = sorted(item.name for item in conversion.folder.iterdir())
        self._own: Prepared = conversion.data
        self._judging: Prepared | None = None
        self.resized: Parity | None = None
        if original is not None:
            store = answered_as(self._own.evaluation, original.evaluation, conversion.scratch / "against-the-original")
            self._judging = replace(self._own, evaluation=store)
            self.resized = _parity(conversion.task, original, self._own)

    def float_artifact(self, target: str) -> FloatArtifact:
        """Convert to a format, checked against this network, then measured against the original.

        Raises:
            QualityError: The file does not answer as this network does.
        """
        conversion = self.conversion
        conversion.data, conversion.against_original = self._own, False
        made = conversion.float_artifact(target)
        Gate.for_recipe("fp32").check(made.measured.parity, made.path.name)
        if self._judging is None:
            return made
        conversion.data, conversion.against_original = self._judging, True
        return replace(made, measured=conversion.measured(made.path, target, "fp32", made.exported))


def _parity(task: Task, original: Prepared, resized: Prepared) -> Parity:
    meter = ParityMeter(task.scorer())
    for theirs, own in zip(original.evaluation, resized.evaluation, strict=True):
        meter.update(theirs.outputs, own.outputs, [theirs.truth], [theirs.context])
    return meter.result()


def copy_as_chosen(bundle: Bundle, target: Path) -> None:
    """Copy a bundle whose artifact meets the budget; it is not marked degraded by what an earlier budget asked for."""
    artifacts = tuple(replace(artifact, degraded=None) for artifact in bundle.artifacts)
    manifest = replace(bundle.manifest, artifacts=artifacts)
    with atomic_folder(target) as temporary:
        for item in bundle.path.iterdir():
            shutil.copyfile(item, temporary / item.name)
        (temporary / PAGE).write_text(manifest_page(target.name, manifest), encoding="utf-8")
        write_manifest(temporary, manifest)
    Bundle(target)
