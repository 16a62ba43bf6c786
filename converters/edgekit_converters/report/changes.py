"""Inputs that an artifact answers otherwise than the original, with their photos."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.bundle import Artifact, Bundle
from edgekit.engine import Array
from edgekit.errors import DataRefused
from edgekit.metrics import Proportion
from edgekit.parity import Scorer
from edgekit.tasks import Task, context_of, task_for
from edgekit.tasks.base import Drawable
from edgekit.tasks.classification import Classification
from edgekit.tasks.picture import PictureTask
from edgekit_converters.compare.subject import BoundFile
from edgekit_converters.data import open_dataset
from edgekit_converters.data.dataset import Item
from edgekit_converters.progress import Stages
from edgekit_converters.report.findings import Changes, Example, Swap
from edgekit_converters.store import stack

_SIDE, _DRAWN_SIDE = 240, 340
_QUALITY = 74
_TEXT = 220
_SWAPS = 8


def find_changes(bundle: Bundle, data: Any, stages: Stages, examples: int) -> dict[str, Changes]:
    """Compare every artifact with the float artifact, input by input.

    Memory stays that of one input and the examples that are kept.

    Args:
        bundle: With an fp32 artifact, which answers in the original's place.
        data: As `edgekit convert --eval` takes it.
        stages: Progress.
        examples: Most examples of each artifact.

    Returns:
        Artifact file -> changes; of artifacts other than fp32.

    Raises:
        DataRefused: The bundle has no fp32 artifact, or an input cannot be read.
    """
    reference = next((artifact for artifact in bundle.artifacts if artifact.recipe == "fp32"), None)
    if reference is None:
        raise DataRefused(
            f"{bundle.path} holds the original's answers to its golden samples only",
            expected="a bundle with an fp32 artifact, which can answer other data in the original's place",
            remedy="convert with --recipe fp32 too",
        )
    others = [artifact for artifact in bundle.artifacts if artifact.recipe != "fp32"]
    task = task_for(bundle.spec, bundle.path)
    dataset = open_dataset(data, bundle.spec)
    tallies = {artifact.file: _Tally(task, examples) for artifact in others}
    with ExitStack() as opened, stages.stage("look for changed answers", len(dataset)):
        original = opened.enter_context(_bound(bundle, reference).opened(bundle.spec))
        engines = [(item.file, opened.enter_context(_bound(bundle, item).opened(bundle.spec))) for item in others]
        for item in stages.each(dataset):
            feeds = task.samples(item.value, original.run)
            want = _answered(original.run, feeds)
            for file, engine in engines:
                tallies[file].add(item, context_of(feeds), want, _answered(engine.run, feeds))
    return {file: tally.result(file, reference.file, dataset.origin) for file, tally in tallies.items()}


def _bound(bundle: Bundle, artifact: Artifact) -> BoundFile:
    return BoundFile(bundle.file(artifact.file), artifact.inputs, artifact.outputs)


def _answered(run: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run the windows of an input one by one, as artifacts with a fixed batch need it."""
    count = len(next(iter(feeds.values())))
    windows = ({name: array[at : at + 1] for name, array in feeds.items()} for at in range(count))
    return stack(run(window) for window in windows)


@dataclass
class _Differing:
    """An input whose answers differ, before it is written for people."""

    agreement: float
    item: Item
    original: Any
    artifact: Any


@dataclass
class _Tally:
    """Counts the changes of one artifact."""

    task: Task
    limit: int
    samples: int = 0
    changed: int = 0
    known: int = 0
    lost: int = 0
    gained: int = 0
    swaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: list[_Differing] = field(default_factory=list)

    def add(self, item: Item, context: Any, want: Mapping[str, Array], got: Mapping[str, Array]) -> None:
        scorer = self.task.scorer()
        if scorer is None:
            return
        scorer.update(want, got, [item.label], [context])
        agreement = scorer.agreement()
        if agreement is None or not agreement.total:
            return
        self.samples += 1
        self._count_right(scorer)
        if agreement.value > 1 - 1e-9:
            return
        self.changed += 1
        original, artifact = (_decoded(self.task, outputs, context) for outputs in (want, got))
        if isinstance(original, Classification) and isinstance(artifact, Classification):
            self.swaps[original.best.name, artifact.best.name] += 1
        self.kept.append(_Differing(agreement.value, item, original, artifact))
        self.kept.sort(key=lambda one: (one.agreement, -_certainty(one.original)))
        del self.kept[self.limit :]

    def _count_right(self, scorer: Scorer) -> None:
        found = scorer.metrics()
        if found is None or not all(isinstance(metric, Proportion) and metric.total for metric in found):
            return
        self.known += 1
        self.lost += found[0].value > found[1].value
        self.gained += found[0].value < found[1].value

    def result(self, file: str, reference: str, origin: str) -> Changes:
        swaps = tuple(Swap(*pair, count) for pair, count in self.swaps.most_common(_SWAPS))
        lost, gained = (self.lost, self.gained) if self.known else (None, None)
        examples = tuple(_example(self.task, one) for one in self.kept)
        return Changes(file, reference, origin, self.samples, self.changed, lost, gained, swaps, examples)


def _decoded(task: Task, outputs: Mapping[str, Array], context: Any) -> Any:
    try:
        return task.decode(outputs, [context])[0]
    except DataRefused:
        return None


def _certainty(answer: Any) -> float:
    return answer.best.score if isinstance(answer, Classification) else 0.0


def _example(task: Task, one: _Differing) -> Example:
    photos: tuple[str, ...] = ()
    size = (0, 0)
    if isinstance(task, PictureTask):
        pictures = _pictures(task.read(one.item.value), one.original, one.artifact)
        photos = tuple(map(_data_address, pictures))
        size = (pictures[0].shape[1], pictures[0].shape[0])
    text = _cut(one.item.value) if task.takes == "text" and isinstance(one.item.value, str) else None
    truth = _truth(task, one.item.label)
    return Example(one.item.name, truth, _said(one.original), _said(one.artifact), one.agreement, text, photos, size)


def _truth(task: Task, label: Any) -> str | None:
    if task.decides is None or not isinstance(label, (int, np.integer)):
        return None
    labels = task.spec.labels
    return labels[int(label)] if labels and 0 <= label < len(labels) else str(label)


def _said(answer: Any) -> str:
    if answer is None:
        return "no answer"
    if isinstance(answer, Classification):
        return f"{answer.best.name} {100 * answer.best.score:.0f} %"
    return _cut(str(answer)) or "nothing"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"


def _pictures(photo: NDArray[np.uint8], original: Any, artifact: Any) -> Sequence[NDArray[np.uint8]]:
    """The photo made small; where answers can be drawn, once with each of them."""
    answers = [answer for answer in (original, artifact) if isinstance(answer, Drawable)]
    if len(answers) < 2:
        return [_small(photo, _SIDE)]
    return [answer.draw(_small(photo, _DRAWN_SIDE)) for answer in answers]


def _small(photo: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    import cv2

    factor = longest / max(photo.shape[:2])
    height, width = (max(1, round(side * factor)) for side in photo.shape[:2])
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(photo, (width, height), interpolation=smooth), np.uint8)


def _data_address(picture: NDArray[np.uint8]) -> str:
    import cv2

    fine, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not fine:
        raise DataRefused(f"a picture of shape {list(picture.shape)} cannot be written as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
